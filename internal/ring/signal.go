package ring

// Signal leaves a token in a channel of capacity 1, for whoever waits for it next. If there is one already,
// that is enough.
func Signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

package rig

import "github.com/postrider/postrider"

// OnEvent is a Trace that hears of one kind of events.
func OnEvent(kind postrider.EventKind, f func(postrider.Event)) *postrider.Trace {
	return &postrider.Trace{Event: func(e postrider.Event) {
		if e.Kind == kind {
			f(e)
		}
	}}
}

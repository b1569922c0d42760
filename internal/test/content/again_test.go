package content_test

import (
	"testing"
	"time"

	"github.com/postrider/postrider/smtptest"
)

// A Reader of which no more than its beginning was read can be sent again as soon as its Send has returned, also if
// that was given up: nothing of it is in use then.
func TestAReaderCanBeSentAgainAtOnce(t *testing.T) {
	throughEachDoor(t, nil, func(t *testing.T, r *rig) {
		text := lines(200_000)
		for range 20 {
			m := mail("bart@example.com", once(text))
			r.server.Inject(smtptest.Fault{Command: "MAIL", Delay: time.Hour})
			r.gaveUp(r.send(time.Second, m), time.Second)
			r.server.ClearFaults()
			if a := r.send(time.Minute, m); a.err != nil {
				t.Fatal(a.err)
			}
			if n, got := r.taken("bart@example.com"); n != 1 || got != text {
				t.Fatalf("%d octets arrived, %d times", len(got), n)
			}
			r.server.Clear()
		}
	})
}

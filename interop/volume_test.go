//go:build linux

package interop_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/mtatest"
)

// Thousands of messages through servers with the limits that Debian gives them, by
// a Connection with the settings that we give it.

// refusing are the lines by which each kind refuses refused@example.com.
var refusing = map[string][]string{
	"Postfix": {"smtpd_recipient_restrictions = check_recipient_access inline:{refused@example.com=REJECT}, " +
		"permit_mynetworks, reject_unauth_destination"},
	"Exim":      {"acl_smtp_rcpt = ${if eq{$local_part}{refused}{deny message = nobody here}{accept hosts = *}}"},
	"OpenSMTPD": {`match from any for rcpt-to "refused@example.com" reject`},
}

func volumeKinds(t *testing.T, test func(t *testing.T, kind mtatest.Kind)) {
	for _, kind := range mtatest.Kinds() {
		if refusing[kind.Name] != nil {
			t.Run(kind.Name, func(t *testing.T) { test(t, kind) })
		}
	}
}

// volume is how many messages go through each server.
const volume = 5000

// pour sends messages 0 to n-1, each for one recipient that the function names, and
// gives how many had which state.
func pour(t *testing.T, conn *postrider.Connection, n int, to func(i int) string) map[postrider.State]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	states := map[postrider.State]int{}
	i := 0
	for r, err := range conn.SendAll(ctx, func(yield func(*postrider.Message) bool) {
		for i := range n {
			if !yield(&postrider.Message{From: "anne@example.com", To: []string{to(i)},
				Content: postrider.Bytes([]byte(header(i) + "\r\nbody\r\n"))}) {
				return
			}
		}
	}) {
		o := r.Outcomes[0]
		states[o.State]++
		if want := to(i) != "refused@example.com"; (o.State == postrider.Accepted) != want && states[o.State] < 5 {
			t.Errorf("message %d: %v (%v)", i, o, err)
		}
		i++
	}
	if err := conn.Quit(ctx); err != nil {
		t.Error(err)
	}
	return states
}

// checkQueue reads the server's queue: each accepted message once, no other.
func checkQueue(t *testing.T, server *mtatest.Server, n int, accepted func(i int) bool) {
	t.Helper()
	found := map[string]int{}
	for _, m := range server.Messages(t) {
		found[string(m.Content)]++
	}
	for i := range n {
		text := header(i) + "\r\nbody\r\n"
		want := 0
		if accepted(i) {
			want = 1
		}
		if found[text] != want {
			t.Errorf("message %d is %d times in the queue, want %d", i, found[text], want)
		}
		delete(found, text)
	}
	if len(found) > 0 {
		t.Errorf("%d messages in the queue that nobody sent", len(found))
	}
}

func TestThousandsOfMessages(t *testing.T) {
	skipUnderRace(t)
	volumeKinds(t, func(t *testing.T, kind mtatest.Kind) {
		server := kind.Start(t, mtatest.Options{})
		conn := connect(t, server, nil)
		states := pour(t, conn, volume, func(i int) string { return fmt.Sprintf("member%d@example.com", i) })
		if states[postrider.Accepted] != volume {
			t.Errorf("%v", states)
		}
		checkQueue(t, server, volume, func(int) bool { return true })
		t.Logf("%v %+v", states, conn.Stats())
	})
}

// One in twenty is refused: Exim allows ten commands that are no mail, Postfix
// counts errors and RSETs, and slows down or hangs up.
func TestThousandsOfMessagesWithRefusals(t *testing.T) {
	skipUnderRace(t)
	refused := func(i int) bool { return i%20 == 7 }
	volumeKinds(t, func(t *testing.T, kind mtatest.Kind) {
		server := kind.Start(t, mtatest.Options{Extra: refusing[kind.Name]})
		conn := connect(t, server, nil)
		states := pour(t, conn, volume, func(i int) string {
			if refused(i) {
				return "refused@example.com"
			}
			return fmt.Sprintf("member%d@example.com", i)
		})
		if states[postrider.Accepted] != volume*19/20 || states[postrider.Refused] != volume/20 {
			t.Errorf("%v", states)
		}
		checkQueue(t, server, volume, func(i int) bool { return !refused(i) })
		t.Logf("%v %+v", states, conn.Stats())
	})
}

// Thirty refused transactions in a row, and then one that is not.
func TestThirtyRefusalsInARow(t *testing.T) {
	volumeKinds(t, func(t *testing.T, kind mtatest.Kind) {
		server := kind.Start(t, mtatest.Options{Extra: refusing[kind.Name]})
		conn := connect(t, server, nil)
		states := pour(t, conn, 31, func(i int) string {
			if i < 30 {
				return "refused@example.com"
			}
			return "member@example.com"
		})
		if states[postrider.Accepted] != 1 || states[postrider.Refused] != 30 {
			t.Errorf("%v", states)
		}
		t.Logf("%v %+v", states, conn.Stats())
	})
}

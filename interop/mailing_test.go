//go:build linux

package interop_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/mtatest"
	"github.com/postrider/postrider/mailing"
)

// discarding lets Postfix deliver what it takes, to nowhere.
var discarding = []string{"smtpd_client_restrictions =", "default_transport = discard:", "in_flow_delay = 0"}

// sent finds senders in the lines of the queue manager, and recipients in those of
// the delivery agent.
var (
	queuedFrom  = regexp.MustCompile(`(?m)qmgr\[\d+\]: \w+: from=<([^>]*)>, .* nrcpt=1 \(queue active\)`)
	deliveredTo = regexp.MustCompile(`(?m)discard\[\d+\]: \w+: to=<([^>]*)>, .* status=sent`)
)

// TestVERPThroughPostfix: individual messages, each with its own sender, go through a
// real queue to its other end; they are counted there.
func TestVERPThroughPostfix(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		t.Setenv("TMPDIR", "/dev/shm") // it is not the disk that is tried here
	}
	n := 10000
	if raceDetector {
		n = 500
	}
	server := mtatest.Postfix(t, mtatest.Options{Extra: discarding})
	pool, err := postrider.NewPool(postrider.PoolConfig{}, configFor(t, server))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Shutdown(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	m := &postrider.Message{From: "bounces@example.com", Content: postrider.Bytes([]byte("From: News " +
		"<news@example.com>\r\nSubject: News\r\n\r\nhello\r\n"))}
	for i := range n {
		m.To = append(m.To, fmt.Sprintf("member%d@example.org", i))
	}
	d := mailing.Delivery{Plan: mailing.Individual(nil, mailing.VERP{}.Edit(), mailing.PersonalTo())}
	report, err := d.Deliver(ctx, pool, m)
	if err != nil || report.Count(postrider.Accepted) != n {
		t.Fatalf("%d of %d accepted: %v", report.Count(postrider.Accepted), n, err)
	}
	t.Logf("%d messages in %v, %.0f a second", n, report.Took, float64(n)/report.Took.Seconds())
	log := awaitDelivered(ctx, server, n)
	senders, recipients := counted(queuedFrom, log), counted(deliveredTo, log)
	verp := mailing.VERP{}
	for i, to := range m.To {
		sender := verp.Encode(m.From, to)
		if senders[sender] != 1 || recipients[to] != 1 {
			t.Errorf("%d: %d messages from <%s> in the queue, %d to <%s> delivered", i, senders[sender], sender,
				recipients[to], to)
		}
	}
	if len(senders) != n || len(recipients) != n {
		t.Errorf("%d senders, %d recipients; want %d", len(senders), len(recipients), n)
	}
}

// awaitDelivered waits until the log tells of n deliveries, or ctx is done.
func awaitDelivered(ctx context.Context, server *mtatest.Server, n int) string {
	for ctx.Err() == nil {
		log := server.WholeLog()
		if len(deliveredTo.FindAllStringIndex(log, -1)) >= n {
			return log
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return server.WholeLog()
}

func counted(p *regexp.Regexp, log string) map[string]int {
	found := map[string]int{}
	for _, m := range p.FindAllStringSubmatch(log, -1) {
		found[m[1]]++
	}
	return found
}

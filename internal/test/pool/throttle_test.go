package pool_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/ci"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// Servers that take a few messages at a time, refuse what is more, and leave the connections open. A message takes such
// a server 30 ms at the stage at which it looks, and one that is refused takes as long: as long as more are underway
// than it takes, nearly all of them are refused.

const (
	takes   = 3
	service = 30 * time.Millisecond
	most    = int(time.Second/service) * takes // messages a second
)

// counter is how a server of that kind looks at its messages.
type counter struct {
	stage, reply string

	mu       sync.Mutex
	began    time.Time
	now      int
	peak     map[int]int // the most that were underway, by the second
	accepted map[int]int
	refused  map[int]int
}

func (c *counter) judge(cmd smtptest.Command) string {
	if stage := strings.Replace(cmd.Verb, "BDAT", ".", 1); stage != c.stage {
		return ""
	}
	c.mu.Lock()
	c.now++
	n, second := c.now, int(time.Since(c.began)/time.Second)
	c.peak[second] = max(c.peak[second], n)
	c.mu.Unlock()
	time.Sleep(service)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
	if n <= takes {
		c.accepted[second]++
		return ""
	}
	c.refused[second]++
	return c.reply
}

// between sums up the seconds from one to another.
func between(counts map[int]int, from, to int) (n int) {
	for second := from; second < to; second++ {
		n += counts[second]
	}
	return n
}

// press sends to such a server for a time.
func press(t *testing.T, c *counter, d time.Duration, change func(*smtptest.Server)) *traffic {
	t.Helper()
	c.began = time.Now()
	c.peak, c.accepted, c.refused = map[int]int{}, map[int]int{}, map[int]int{}
	s := startServer(t, "mx:25", func(s *smtptest.Server) {
		s.Policy = c.judge
		change(s)
	})
	p := startPool(t, postrider.PoolConfig{MaxConnections: 9}, s.Config())
	tr := newTraffic(p)
	tr.send(t, 64, d)
	tr.check(t, s)
	return tr
}

// check holds what the server saw in a minute against what it can do.
//
// Of the first two seconds: the 64 that were seated at once, and a few on each connection for each of the five falls
// from nine connections to three. Later only attempts to use one connection more are refused: each costs what is on
// four connections then. There are six in a minute where the reply is about what is underway (after 2, 4, 8, 16, 32 s),
// and one every two seconds where it may be about the rate. No more than these four are in use at a time, and nobody
// waits much longer than it takes to serve everybody once.
func (c *counter) check(t *testing.T, tr *traffic) {
	t.Helper()
	accepted, early, late := between(c.accepted, 2, 60), between(c.refused, 0, 2), between(c.refused, 2, 60)
	t.Logf("accepted %d, refused %d and %d, longest %v", accepted, early, late, tr.longest)
	if least := 58 * most * 85 / 100; accepted < least {
		t.Errorf("%d were accepted in 58 s; the server can take %d", accepted, 58*most)
	}
	if early > 64+5*9 {
		t.Errorf("%d were refused in the first two seconds", early)
	}
	share := 3
	if strings.Contains(c.reply, "4.7.") {
		share = 13 // 29 attempts of up to 24 messages, beside 5,400
	}
	if late > accepted*share/100 {
		t.Errorf("%d were refused after two seconds, beside %d that were accepted", late, accepted)
	}
	for second := 5; second < 60; second++ {
		if c.peak[second] > takes+1 {
			t.Errorf("second %d: %d connections were in use", second, c.peak[second])
		}
	}
	if tr.longest > 5*time.Second {
		t.Errorf("a Send took %v", tr.longest)
	}
}

func TestThrottledPool(t *testing.T) {
	for _, how := range []string{"plain", "pipelining", "chunking"} {
		for _, stage := range []string{"MAIL", "RCPT", "DATA", "."} {
			if how == "chunking" && stage == "DATA" {
				continue
			}
			replies := []string{"421 4.3.2", "432 4.3.2", "450 4.7.0", "451 4.7.1", "452 4.3.1", "454 4.7.0"}
			if rig.Raced || !ci.On() {
				replies = replies[1:3] // it is the same code; all of it takes minutes
			}
			for _, reply := range replies {
				t.Run(fmt.Sprint(how, " ", stage, " ", reply), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := &counter{stage: stage, reply: reply + " not so many"}
						tr := press(t, c, time.Minute, func(s *smtptest.Server) {
							s.Extensions.Pipelining, s.Extensions.Chunking = how != "plain", how == "chunking"
						})
						c.check(t, tr)
					})
				})
			}
		}
	}
}

// A server that takes nothing for a while is asked ever less, and gets everything when it takes mail again.
func TestPoolOfAServerThatTakesNothingForAWhile(t *testing.T) {
	replies := []string{"450 4.7.0 later", "432 4.3.2 later", "452 4.3.1 later"}
	if !ci.On() {
		replies = replies[:1]
	}
	for _, reply := range replies {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			asked := map[int]int{}
			var mu sync.Mutex
			s := startServer(t, "mx:25", func(s *smtptest.Server) {
				s.Policy = func(c smtptest.Command) string {
					if c.Verb != "MAIL" {
						return ""
					}
					time.Sleep(time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					second := int(time.Since(began) / time.Second)
					if asked[second]++; second < 20 {
						return reply
					}
					return ""
				}
			})
			tr := newTraffic(startPool(t, postrider.PoolConfig{}, s.Config()))
			tr.send(t, 64, 90*time.Second)
			tr.check(t, s)
			t.Logf("asked %v", asked)
			if n := between(asked, 10, 20); n > 50 {
				t.Errorf("%s: asked %d times in ten seconds, after ten", reply, n)
			}
			if n := asked[80]; n < 500 {
				t.Errorf("%s: %d were sent in a second, a minute after it took mail again", reply, n)
			}
		})
	}
}

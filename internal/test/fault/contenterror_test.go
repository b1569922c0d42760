package fault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// A content that breaks off, for whatever reason, is never a shorter message. The
// server says what it took; the client must not have said a dot or a QUIT behind
// what it did not finish.

// neverEnded checks that nothing was taken, and that nothing was said behind half a
// content.
func neverEnded(r *rig.Pair) {
	r.T.Helper()
	if n := len(r.Server.Messages()); n > 0 {
		r.T.Errorf("the server took %d messages, the first of %d octets", n, len(r.Server.Messages()[0].Content))
	}
	for i := range int(r.Conn.Stats().Dials) {
		if said := r.Said(i + 1); strings.Contains(said, "…") && !strings.HasSuffix(said, "DATA …") {
			r.T.Errorf("behind half a content the client said more: %s", said)
		}
	}
}

func TestAContentThatFails(t *testing.T) {
	for _, after := range []int64{
		0, 1, 63, 64, 65, 65535, 65536, 65537, 131071, 131072, 131073, 262143, 262144, 262145, 1 << 20,
	} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{
					Faults: []smtptest.Fault{{Command: "RCPT", Address: "no@example.com", Reply: "550 5.1.1 no"}},
				})
				m := rig.Mail("bart@example.com", "no@example.com")
				m.Content = failing(after, errGenerator)
				result, err := r.Deliver(m)
				if !errors.Is(err, errGenerator) {
					t.Errorf("error %v", err)
				}
				want := "untried content 0, refused rcpt 550"
				if r.Server.ConnectionCount() == 0 { // it was read before anything was dialled
					want = "untried local 0, untried local 0"
				}
				r.Equal("outcomes", rig.Fates(result), want)
				if local := want[8] == 'l'; after < 65536 && !local || after >= 1<<20 && local {
					t.Errorf("up to 64 KiB are held in memory; this was %d: %s", after, want)
				}
				neverEnded(r)
				r.Accepted("bart@example.com")
			})
		})
	}
}

func TestAContentThatCannotBeOpened(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		gone := rig.Mail("bart@example.com")
		gone.Content = postrider.File(filepath.Join(t.TempDir(), "gone"))
		result, err := r.Deliver(gone)
		r.Equal("outcomes", rig.Fates(result), "untried local 0")
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
}

// The content was read in part when the wire was lost, and cannot be had again.
func TestAContentThatCannotBeOpenedAgain(t *testing.T) {
	rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{Faults: []smtptest.Fault{{AfterRead: 300_000, Nth: 1, Then: smtptest.ThenAbort}}})
		r.Accepted("bart@example.com")
		r.Server.Clear()
		opened := 0
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Func(func() (io.ReadCloser, error) {
			if opened++; opened > 1 {
				return nil, errGenerator
			}
			return io.NopCloser(io.LimitReader(rig.Zeros{}, 1<<20)), nil
		})
		if result, err := r.Deliver(m); result.Count(postrider.Untried) != 1 || !errors.Is(err, errGenerator) ||
			opened != 2 {
			t.Errorf("%v, %v", result.Outcomes, err)
		}
		neverEnded(r)
	})
}

// A reader that was cut short itself says so by io.ErrUnexpectedEOF; that is no end
// of the message.
func TestAContentThatWasCutShortItself(t *testing.T) {
	for _, after := range []int64{100, 64 << 10, 1 << 20} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{})
				m := rig.Mail("bart@example.com")
				m.Content = failing(after, io.ErrUnexpectedEOF)
				if result, err := r.Deliver(m); result.Count(postrider.Untried) != 1 ||
					!errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%v, %v", result.Outcomes, err)
				}
				neverEnded(r)
			})
		})
	}
}

// tracked is a content that counts its readers.
type tracked struct {
	open, closed, reading atomic.Int64
	late                  atomic.Bool // a Read after Send had returned
	returned              atomic.Bool
	before                func(octets int64) // called before each Read
	size                  int64
}

func (c *tracked) content() postrider.Content {
	return postrider.Func(func() (io.ReadCloser, error) {
		c.open.Add(1)
		return &trackedReader{c: c}, nil
	})
}

type trackedReader struct {
	c    *tracked
	read int64
}

func (r *trackedReader) Read(p []byte) (int, error) {
	r.c.reading.Add(1)
	defer r.c.reading.Add(-1)
	if r.c.returned.Load() {
		r.c.late.Store(true)
	}
	if r.c.before != nil {
		r.c.before(r.read)
	}
	if r.read >= r.c.size {
		return 0, io.EOF
	}
	n, err := rig.Zeros{}.Read(p[:min(int64(len(p)), r.c.size-r.read)])
	r.read += int64(n)
	return n, err
}

func (r *trackedReader) Close() error {
	r.c.closed.Add(1)
	return nil
}

// check demands that every reader was closed, and that none was read after Send.
func (c *tracked) check(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if c.open.Load() != c.closed.Load() || c.reading.Load() != 0 || c.late.Load() {
		t.Errorf("opened %d, closed %d, being read %d, read after Send: %v", c.open.Load(), c.closed.Load(),
			c.reading.Load(), c.late.Load())
	}
}

// The context ends in the middle of a content: between two Reads, in a Read, or
// while a block is being written. Send waits for nothing, and what is underway is the
// last that is done with the content but for its Close.
func TestAContextThatEndsInTheMiddleOfAContent(t *testing.T) {
	for name, c := range map[string]struct {
		pause time.Duration // in each Read
		stuck bool          // the server stops reading
	}{
		"in a Read":            {time.Second, false},
		"in a long Read":       {10 * time.Second, false},
		"while it is written":  {0, true},
		"slow, and then stuck": {100 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				var faults []smtptest.Fault
				if c.stuck {
					faults = append(faults, smtptest.Fault{AfterRead: 200_000, Nth: 1, Then: smtptest.ThenHang})
				}
				r := s.Start(t, rig.Options{Faults: faults})
				content := &tracked{size: 4 << 20, before: func(at int64) {
					if at >= 128<<10 {
						time.Sleep(c.pause)
					}
				}}
				m := rig.Mail("bart@example.com")
				m.Content = content.content()
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				defer cancel()
				var result *postrider.Result
				var err error
				took := rig.Within(func() { result, err = r.Conn.Send(ctx, m) })
				content.returned.Store(true)
				if took != 1500*time.Millisecond {
					t.Errorf("Send returned after %v", took)
				}
				r.Equal("outcomes", rig.Fates(result), "untried content 0")
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				time.Sleep(time.Hour)
				content.check(t)
				neverEnded(r)
			})
		})
	}
}

// Whatever becomes of a message, each reader of its content is closed once.
func TestEveryReaderIsClosedOnce(t *testing.T) {
	faults := map[string][]smtptest.Fault{"nothing wrong": nil, "lost in the middle": {{AfterRead: 300_000, Nth: 1}}}
	for _, command := range []string{smtptest.Greeting, "MAIL", "RCPT", "DATA", "."} {
		faults["refused at "+command] = []smtptest.Fault{{Command: command, Reply: "554 no"}}
		faults["lost at "+command] = []smtptest.Fault{
			{Command: command, Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
		}
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
				r := s.Start(t, rig.Options{Faults: f, Client: func(cfg *postrider.Config) { cfg.MaxRecipients = 1 }})
				for _, size := range []int64{100, 1 << 20} {
					content := &tracked{size: size}
					m := rig.Mail("bart@example.com", "cate@example.com")
					m.Content = content.content()
					r.Deliver(m)
					content.returned.Store(true)
					content.check(t)
				}
			})
		})
	}
}

// Before the message that breaks off, others ride the same wire: they get what the
// server said of them; what comes behind takes another wire.
func TestAContentThatFailsBetweenOthers(t *testing.T) {
	for _, chunking := range []bool{false, true} {
		rig.InBubble(t, fmt.Sprint("chunking ", chunking), func(t *testing.T) {
			r := rig.Setting{Pipelining: true}.Start(t,
				rig.Options{Server: func(s *smtptest.Server) { s.Extensions.Chunking = chunking }})
			for range 15 {
				r.Accepted("anne@example.com") // the window grows
			}
			r.Server.Clear()
			r.Server.Inject(smtptest.Fault{Command: ".", Nth: 1, Delay: time.Minute})
			came := []<-chan string{r.After(0, "a@example.com"), r.After(time.Second, "b@example.com"),
				r.After(3*time.Second, "d@example.com")}
			time.Sleep(2 * time.Second)
			m := rig.Mail("c@example.com")
			m.Content = failing(500_000, errGenerator)
			result, err := r.Deliver(m)
			if result.Count(postrider.Untried) != 1 || !errors.Is(err, errGenerator) {
				t.Errorf("%v, %v", result.Outcomes, err)
			}
			for _, c := range came {
				r.Equal("a neighbour", <-c, "accepted content 250")
			}
			for _, got := range r.Server.Messages() {
				if got.To[0] == m.To[0] || !bytes.Equal(got.Content, []byte(rig.Content)) {
					t.Errorf("the server took %q for %s", got.Content, got.To)
				}
			}
		})
	}
}

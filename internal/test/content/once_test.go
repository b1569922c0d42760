package content_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// A message whose content is a Reader, and of which nothing is left Unknown, may be sent again: it goes out whole, or
// not at all.

func TestAReaderThatWasReadIsNotSentAgain(t *testing.T) {
	for size, again := range map[int]string{0: "whole", 1000: "whole", 60_000: "whole", 700_014: "refused"} {
		throughEachDoor(t, nil, func(t *testing.T, r *rig) {
			text := lines(size)
			m := mail("bart@example.com", once(text))
			// The server stops reading in the middle of a large content, and does not answer the end of a small one's
			// DATA.
			r.server.Inject(
				smtptest.Fault{Command: "DATA", Connection: 1, Nth: 1, Delay: time.Hour, Then: smtptest.ThenClose},
			)
			if size > 100_000 {
				r.server.ClearFaults()
				r.server.Inject(smtptest.Fault{AfterRead: 300_000, Nth: 1, Then: smtptest.ThenHang})
			}
			r.gaveUp(r.send(time.Minute, m), time.Minute)
			a := r.send(time.Minute, m)
			n, got := r.taken("bart@example.com")
			switch {
			case again == "whole" && (a.err != nil || n != 1 || got != text):
				t.Errorf("of %d octets %d arrived, %d times: %v", len(text), len(got), n, a.err)
			case again == "refused":
				checkUsed(t, a)
				if n > 0 {
					t.Errorf("of %d octets %d arrived, %d times", len(text), len(got), n)
				}
			}
			r.accepted("cate@example.com")
		})
	}
}

// checkUsed wants a verdict of our own, which time does not mend, and that nothing was said.
func checkUsed(t *testing.T, a answer) {
	t.Helper()
	var e *postrider.Error
	o := a.result.Outcomes[0]
	if !errors.As(a.err, &e) || !errors.Is(a.err, postrider.ErrContentUsed) || e.Temporary() {
		t.Errorf("error %v", a.err)
	}
	if o.State != postrider.Untried || o.Stage != postrider.StageLocal || !errors.Is(o.Err, postrider.ErrContentUsed) {
		t.Errorf("outcome %v", o)
	}
}

// All copies of a Content share what was read, and it is the content that knows, not the Connection.
func TestCopiesOfAReaderShareWhatWasRead(t *testing.T) {
	throughEachDoor(t, nil, func(t *testing.T, r *rig) {
		text := lines(200_000)
		c := once(text)
		copied := c
		if a := r.send(time.Minute, mail("bart@example.com", c)); a.err != nil {
			t.Fatal(a.err)
		}
		before := r.server.Commands("MAIL")
		checkUsed(t, r.send(time.Minute, mail("cate@example.com", copied)))
		if r.server.Commands("MAIL") != before {
			t.Error("MAIL was said")
		}
	})
}

// What nobody has read beyond its beginning is not used up: a server that could not be reached, or refused the
// envelope, costs nothing.
func TestAReaderWhoseBeginningWasReadCanBeSent(t *testing.T) {
	throughEachDoor(t, nil, func(t *testing.T, r *rig) {
		text := lines(200_000)
		c := once(text)
		r.server.Inject(smtptest.Fault{Command: "MAIL", Nth: 1, Reply: "550 5.7.1 no"},
			smtptest.Fault{Command: "RCPT", Nth: 1, Reply: "450 4.2.0 later"})
		for range 5 {
			a := r.send(time.Minute, mail("bart@example.com", c))
			if a.err == nil {
				if n, got := r.taken("bart@example.com"); n != 1 || got != text {
					t.Errorf("%d octets arrived, %d times", len(got), n)
				}
				return
			}
			if errors.Is(a.err, postrider.ErrContentUsed) {
				t.Fatal(a.err)
			}
		}
		t.Error("it was never sent")
	})
}

// A second Send at the same time finds it being read.
func TestAReaderIsSentByOneAtATime(t *testing.T) {
	throughEachDoor(t, nil, func(t *testing.T, r *rig) {
		text := lines(200_000)
		m := mail("bart@example.com", once(text))
		r.server.Inject(smtptest.Fault{Command: "DATA", Nth: 1, Delay: time.Minute})
		first := r.begin(time.Hour, m)
		checkUsed(t, r.send(time.Hour, m))
		if a := <-first; a.err != nil {
			t.Error(a.err)
		}
		if n, got := r.taken("bart@example.com"); n != 1 || got != text {
			t.Errorf("%d octets arrived, %d times", len(got), n)
		}
	})
}

// A reader that can be read at any place is sent from where it stood, as often as one likes.
func TestAReplayableReaderIsSentAgain(t *testing.T) {
	throughEachDoor(t, nil, func(t *testing.T, r *rig) {
		text := lines(200_000)
		reader := strings.NewReader("skipped" + text)
		reader.Seek(7, 0)
		c := postrider.Reader(reader)
		for _, to := range []string{"bart@example.com", "cate@example.com"} {
			if a := r.send(time.Minute, mail(to, c)); a.err != nil {
				t.Error(a.err)
			}
			if n, got := r.taken(to); n != 1 || got != text {
				t.Errorf("%d octets arrived, %d times", len(got), n)
			}
		}
	})
}

// What Prepare made is sent whole, every time, with its SIZE; line ends and dots as they have to be.
func TestAPreparedContent(t *testing.T) {
	for name, c := range map[string]struct{ given, arrives string }{
		"empty":        {"", ""},
		"small":        {"Subject: x\r\n\r\ntext\r\n", "Subject: x\r\n\r\ntext\r\n"},
		"to be mended": {"Subject: x\n\n.dot\rtext", "Subject: x\r\n\r\n.dot\r\ntext\r\n"},
		"large":        {lines(3 << 20), lines(3 << 20)},
		"large, dots": {
			"Subject: x\r\n\r\n" + strings.Repeat(".\r\n", 1<<19),
			"Subject: x\r\n\r\n" + strings.Repeat(".\r\n", 1<<19),
		},
		"large, mended": {
			"Subject: x\n\n" + strings.Repeat(".\n", 1<<19), "Subject: x\r\n\r\n" + strings.Repeat(".\r\n", 1<<19),
		},
	} {
		t.Run(name, func(t *testing.T) {
			throughEachDoor(t, nil, func(t *testing.T, r *rig) {
				for _, given := range []postrider.Content{once(c.given), postrider.Bytes([]byte(c.given))} {
					ready, err := postrider.Prepare(given)
					if err != nil {
						t.Fatal(err)
					}
					for range 2 {
						r.server.Clear()
						if a := r.send(time.Hour, mail("bart@example.com", ready)); a.err != nil {
							t.Fatal(a.err)
						}
						m := r.server.Messages()[0]
						if string(m.Content) != c.arrives {
							t.Errorf("%d octets arrived, want %d", len(m.Content), len(c.arrives))
						}
					}
				}
			})
		})
	}
}

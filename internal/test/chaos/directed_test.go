package chaos

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/ci"
)

const (
	isAccepted = postrider.Accepted
	isDeferred = postrider.Deferred
	isRefused  = postrider.Refused
	isUntried  = postrider.Untried
	isUnknown  = postrider.Unknown
)

// The server loses the content's reply; the one to QUIT, which left behind the dot, is none.
func TestQuitIsNoAnswerToContent(t *testing.T) {
	for _, k := range []kind{swallow, ignore} {
		play(t, sound(), func(s *scene) {
			s.cfg.MaxTransactions = 1
			s.m.script = on(".", 1, fault{kind: k})
			s.connect()
			l := s.mail(100, 2)
			s.sendOne(l)
			s.want(l, isUnknown)
		})
	}
}

// Codes that cannot be a content's answer accept nothing (RFC 5321 §4.3.2).
func TestMisplacedCodeToContent(t *testing.T) {
	for _, code := range misplaced {
		for verb, p := range map[string]plan{".": sound(), "BDAT": chunking()} {
			t.Run(verb+" "+code, func(t *testing.T) {
				play(t, busy(p), func(s *scene) {
					s.m.script = func(_ *session, v, line string) (fault, bool) {
						return fault{kind: map[bool]kind{true: nonsense}[v == "." || v == "BDAT"], code: code}, true
					}
					s.connect()
					var all []*letter
					for range 4 {
						all = append(all, s.mail(100, 1))
					}
					s.together(all)
					s.none(isAccepted, isRefused, isDeferred)
				})
			})
		}
	}
}

// The same before the content: nothing was begun, so that nothing is in doubt.
func TestMisplacedCodeBeforeContent(t *testing.T) {
	for _, verb := range []string{"", "EHLO", "MAIL", "RCPT", "DATA"} {
		for _, code := range append([]string{"250 2.0.0 ok"}, misplaced...) {
			if number := 0; verb != "" || !strings.HasPrefix(code, "220") {
				fmt.Sscan(code, &number)
				if inStep(verb, number) {
					continue
				}
			} else {
				continue
			}
			for name, p := range map[string]plan{"plain": {}, "pipelined": sound()} {
				t.Run(verb+" "+code+" "+name, func(t *testing.T) {
					play(t, p, func(s *scene) {
						s.m.script = on(verb, 1, fault{kind: nonsense, code: code, done: true})
						s.connect()
						l := s.mail(100, 1)
						s.sendOne(l)
						s.want(l, isUntried)
					})
				})
			}
		}
	}
}

// A RSET whose answer is not 250 leaves the wire in an unknown state: what stands behind it is not believed.
func TestMisplacedCodeToReset(t *testing.T) {
	for _, code := range []string{"220 ready", "221 2.0.0 bye", "251 will forward", "354 go ahead"} {
		t.Run(code, func(t *testing.T) {
			play(t, busy(chunking()), func(s *scene) {
				s.m.script = on("RSET", 1, fault{kind: nonsense, code: code, done: true})
				s.connect()
				var all []*letter
				for range 12 {
					all = append(all, s.mail(100, 1))
				}
				s.together(all)
				s.none(isRefused, isDeferred)
			})
		})
	}
}

// A server says 250 when it has seen a part of the content, and takes nothing.
func TestAcceptedBeforeTheEnd(t *testing.T) {
	for name, p := range map[string]plan{"DATA": sound(), "BDAT": chunking()} {
		for size, label := range map[int]string{200_000: "200 kB", 1_500_000: "1.5 MB"} {
			t.Run(name+" "+label, func(t *testing.T) {
				play(t, p, func(s *scene) {
					s.m.script = on("DATA", 1, fault{kind: amid, code: "250 2.0.0 taken", at: 5000, pause: time.Second})
					s.m.earlyChunk = func(wire, n int) string {
						if n == 1 {
							return "250 2.0.0 taken"
						}
						return ""
					}
					s.connect()
					l := s.mail(size, 1)
					s.sendOne(l)
					s.none(isAccepted, isRefused, isDeferred)
				})
			})
		}
	}
}

// A 4yz or 5yz between 354 and the dot is the content's answer, and the wire is not merely idle.
func TestRefusedBeforeTheEnd(t *testing.T) {
	for code, want := range map[string]postrider.State{"552 5.3.4 too large": isRefused, "452 4.3.1 full": isDeferred,
		"554 5.7.1 no":      isRefused,
		"421 4.3.2 closing": isUntried, "530 5.7.0 no": isUntried} {
		t.Run(code, func(t *testing.T) {
			play(t, sound(), func(s *scene) {
				s.m.script = on("DATA", 1, fault{kind: amid, code: code, at: 5000, pause: time.Second})
				s.connect()
				l := s.mail(1_500_000, 1)
				one := s.sendOne(l)
				s.want(l, want)
				if got := one.result.Outcomes[0].Reply.Code; want != isUntried && fmt.Sprint(got) != code[:3] {
					t.Errorf("the outcome's reply is %v", one.result.Outcomes[0].Reply)
				}
			})
		})
	}
}

// A server that does not throw away the octets of a refused BDAT reads them as commands.
func TestRefusedChunkIsExecuted(t *testing.T) {
	forgery := "RSET\r\nMAIL FROM:<forged@evil.example>\r\nRCPT TO:<victim@evil.example>\r\nDATA\r\nSubject: " +
		"forged\r\n\r\nforged\r\n.\r\n" +
		"MAIL FROM:<forged@evil.example>\r\nRCPT TO:<victim@evil.example>\r\nBDAT 8 LAST\r\nforged\r\nRSET\r\n"
	for _, discards := range []bool{false, true} {
		t.Run(fmt.Sprintf("discards=%v", discards), func(t *testing.T) {
			play(t, busy(chunking()), func(s *scene) {
				s.m.discards = discards
				s.m.refuses = func(to string) string {
					var id, r int
					fmt.Sscanf(to, "r%d.%d@", &id, &r)
					return map[bool]string{true: "550 5.1.1 nobody"}[id%7 == 3 || r == 1]
				}
				s.connect()
				var all []*letter
				for range 60 {
					all = append(all, s.letterOf([]byte(forgery), 1))
				}
				s.together(all)
				for _, l := range all {
					s.want(l, map[bool]postrider.State{true: isRefused, false: isAccepted}[l.id%7 == 3])
				}
			})
		})
	}
}

// A server says 421 to one command amid a window, takes what stands behind it, and dies without a word.
func TestTakesBehind421AndDies(t *testing.T) {
	for _, verb := range []string{"MAIL", "RCPT", "BDAT", "RSET"} {
		for _, abort := range []bool{false, true} {
			for _, code := range []string{"421 4.3.2 closing", "451 4.4.2 timeout"} {
				for _, nth := range []int{6, 9, 14} {
					t.Run(fmt.Sprintf("%s %d %s abort=%v", verb, nth, code[:3], abort), func(t *testing.T) {
						play(t, busy(chunking()), func(s *scene) {
							s.m.script = on(verb, nth, fault{kind: bye, code: code, after: takeAndDie, abort: abort})
							s.connect()
							s.warm(20)
						})
					})
				}
			}
		}
	}
}

// warm sends letters one after the other, so that the window grows, and then as many together.
func (s *scene) warm(n int) {
	for range 2 {
		s.sendOne(s.mail(100, 2))
	}
	var all []*letter
	for range n {
		all = append(all, s.mail(100, 2))
	}
	s.together(all)
}

// 421 to the last of several RCPTs: those before it follow the terminator, which is not answered.
func Test421ToTheLastRecipient(t *testing.T) {
	for _, abort := range []bool{false, true} {
		play(t, busy(chunking()), func(s *scene) {
			s.m.script = on("RCPT", 12, fault{kind: bye, code: "421 4.3.2 closing", after: takeAndDie, abort: abort})
			s.connect()
			s.sendOne(s.mail(100, 3))
			s.sendOne(s.mail(100, 3))
			var all []*letter
			for range 6 {
				all = append(all, s.mail(100, 3))
			}
			s.together(all)
		})
	}
}

// Exim at smtp_accept_max_per_connection, thousands of messages: nothing is in doubt.
func TestEximLimit(t *testing.T) {
	for _, pause := range []time.Duration{0, 60 * time.Millisecond} {
		t.Run(fmt.Sprint(pause), func(t *testing.T) {
			p := chunking()
			p.cap, p.capStyle, p.capPause = 100, capExim, pause
			n := 1000
			if ci.On() {
				n = 5000
			}
			play(t, p, func(s *scene) { s.many(n); s.none(isUnknown, isUntried, isDeferred, isRefused) })
		})
	}
}

// OpenSMTPD at its limit.
func TestOpenSMTPDLimit(t *testing.T) {
	p := sound()
	p.cap, p.capStyle = 100, capOpenSMTPD
	play(t, p, func(s *scene) { s.many(1000); s.none(isUnknown, isUntried, isDeferred, isRefused) })
}

// many sends so many small letters from 64 goroutines.
func (s *scene) many(n int) {
	s.connect()
	for range n {
		s.mail(64, 1)
	}
	var all sync.WaitGroup
	for c := range 64 {
		all.Go(func() {
			for i := c; i < n; i += 64 {
				s.send(s.letters[i], 3*time.Hour)
			}
		})
	}
	all.Wait()
}

// A full mailbox says nothing of how many recipients a server takes at a time.
func TestFullMailboxIsNoLimit(t *testing.T) {
	for _, code := range []string{"552 5.2.2 full", "552 full", "452 4.2.2 full", "452 full"} {
		for _, at := range []int{1, 9} {
			t.Run(fmt.Sprintf("%s at %d", code, at), func(t *testing.T) {
				play(t, sound(), func(s *scene) {
					s.m.refuses = func(to string) string {
						return map[bool]string{true: code}[strings.HasPrefix(to, fmt.Sprintf("r0.%d@", at))]
					}
					s.connect()
					s.sendOne(s.mail(100, 10))
					first := s.said("MAIL")
					for range 20 {
						l := s.mail(100, 10)
						s.sendOne(l)
						s.want(l, isAccepted)
					}
					if n := s.said("MAIL"); first > 2 || n-first != 20 {
						t.Errorf("%d MAILs for the first message, %d for the 20 behind it", first, n-first)
					}
				})
			})
		}
	}
}

// 503 is about the session: it decides nobody, and no login.
func TestSequenceErrorDecidesNobody(t *testing.T) {
	for _, verb := range []string{"MAIL", "RCPT", "DATA", ".", "BDAT"} {
		for name, p := range map[string]plan{"plain": {}, "pipelined": sound(), "chunking": chunking()} {
			t.Run(verb+" "+name, func(t *testing.T) {
				play(t, p, func(s *scene) {
					s.m.script = func(_ *session, v, line string) (fault, bool) {
						return fault{kind: map[bool]kind{true: refuse}[v == verb], code: "503 5.5.1 bad sequence"}, true
					}
					s.connect()
					var all []*letter
					for range 3 {
						all = append(all, s.mail(100, 1))
					}
					s.together(all)
					s.none(isRefused, isDeferred, isUnknown)
				})
			})
		}
	}
}

// 503 to AUTH is no login: nothing is sent as somebody who may not.
func TestSequenceErrorIsNoLogin(t *testing.T) {
	p := sound()
	p.auth = true
	play(t, p, func(s *scene) {
		s.m.script = func(_ *session, v, line string) (fault, bool) {
			return fault{kind: map[bool]kind{true: refuse}[v == "AUTH"], code: "503 5.5.1 no AUTH now"}, true
		}
		s.cfg.User, s.cfg.Password, s.cfg.AllowPlaintextAuth = "app", postrider.NewSecret("secret"), true
		s.connect()
		l := s.mail(100, 1)
		s.sendOne(l)
		s.want(l, isUntried)
		if s.said("AUTH") == 0 || s.said("MAIL") > 0 {
			t.Error("it was taken for a login")
		}
	})
}

// A Reader that was read once is not sent from where it stands.
func TestReaderIsUsedOnce(t *testing.T) {
	for _, size := range []int{500, 60_000, 70_000, 700_000, 3_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			play(t, sound(), func(s *scene) {
				s.m.script = on("MAIL", 1, fault{kind: late, pause: time.Minute})
				s.connect()
				l := s.mail(size, 3)
				l.kind = "reader"
				l.message.Content = postrider.Reader(&pieces{b: l.content, n: 4000})
				s.send(l, 10*time.Second)
				s.want(l, isUntried)
				time.Sleep(time.Hour)
				s.sendOne(l)
				if size < 64<<10 {
					s.want(l, isAccepted)
				} else {
					s.none(isUnknown, isRefused, isDeferred)
				}
			})
		})
	}
}

// A file that shrinks while it is sent is not sent short.
func TestFileThatShrinks(t *testing.T) {
	for name, p := range map[string]plan{"DATA": sound(), "BDAT": chunking()} {
		for _, size := range []int{200_000, 700_000, 3_000_000} {
			t.Run(fmt.Sprint(name, size), func(t *testing.T) {
				play(t, p, func(s *scene) {
					s.connect()
					l := s.mail(size, 1)
					l.kind = "shrinking file"
					name := l.file(l.content, s.dir)
					l.message.Content = postrider.File(name)
					l.onMail = func() { os.Truncate(name, int64(size/2)) }
					s.sendOne(l)
					s.none(isUnknown, isRefused, isDeferred)
				})
			})
		}
	}
}

// A reader that blocks at its first octet holds up neither its caller nor its neighbours.
func TestReaderThatBlocks(t *testing.T) {
	for _, ending := range []string{"context", "close", "quit"} {
		t.Run(ending, func(t *testing.T) {
			play(t, sound(), func(s *scene) {
				s.connect()
				l := s.mail(100, 1)
				l.broken, l.kind, l.block = true, "blocking reader", make(chan struct{})
				l.message.Content = postrider.Func(func() (io.ReadCloser, error) {
					return io.NopCloser(blocking{l.block}), nil
				})
				var all sync.WaitGroup
				all.Go(func() { s.send(l, time.Minute) })
				synctest.Wait()
				neighbour := s.mail(100, 1)
				all.Go(func() { s.send(neighbour, 30*time.Second) })
				time.Sleep(31 * time.Second)
				switch ending {
				case "close":
					s.end(time.Minute)
				case "quit":
					s.quit(10 * time.Second)
				}
				time.Sleep(2 * time.Minute)
				close(l.block)
				all.Wait()
				s.want(neighbour, isAccepted)
				s.want(l, isUntried)
			})
		})
	}
}

// A panic that the caller recovers leaves a Pool that can be closed. (Not in a bubble: a call that
// hangs for ever would end the whole test there.)
func TestRecoveredPanic(t *testing.T) {
	s := newScene(t, sound())
	defer s.finish()
	pool, err := postrider.NewPool(postrider.PoolConfig{}, s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		var none context.Context
		pool.Send(none, s.mail(100, 1).message)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	closed := make(chan struct{})
	go func() {
		pool.Shutdown(ctx)
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("Close does not return")
	}
}

// A reply that was read before its command was handed over answers nothing: with the 354 comes
// a 250, before an octet of the content has left; and behind the answer to EHLO a refusal of the
// MAIL that was not yet said.
func TestAnswerBeforeItsCommand(t *testing.T) {
	for _, verb := range []string{"", "DATA", "EHLO", "."} { // "" is the greeting
		for _, code := range []string{"250 2.0.0 again", "450 4.2.1 busy", "550 5.7.1 no"} {
			t.Run(verb+" "+code, func(t *testing.T) {
				play(t, sound(), func(s *scene) {
					s.m.script = on(verb, 1, fault{kind: double, code: code})
					s.connect()
					s.sendOne(s.mail(100, 1))
					s.sendOne(s.mail(100, 1))
				})
			})
		}
	}
}

// The same with a content of one flight, most of which the kernel has not taken yet.
// (Of one up to 4 KiB it could not be told, and no kernel has so small a buffer.)
func TestAcceptedWhileWriting(t *testing.T) {
	for name, p := range map[string]plan{"DATA": sound(), "BDAT": chunking()} {
		for _, size := range []int{20_000, 60_000} {
			t.Run(fmt.Sprint(name, size), func(t *testing.T) {
				play(t, p, func(s *scene) {
					s.nets[0].Buffer = 64
					s.m.script = on("DATA", 1, fault{kind: amid, code: "250 2.0.0 taken", at: 20, pause: time.Second})
					s.m.earlyChunk = func(wire, n int) string {
						return map[bool]string{true: "250 2.0.0 taken"}[n == 1]
					}
					s.connect()
					l := s.mail(size, 1)
					s.sendOne(l)
					s.none(isAccepted, isRefused, isDeferred)
				})
			})
		}
	}
}

// A yes that comes while the last octets are being written, on a wire that is left behind this message, and without
// PIPELINING, where reader and writer take turns at reading: whatever it is taken for, the Send ends, and so does the
// wire.
func TestAcceptedWhileWritingTheLastOfAWire(t *testing.T) {
	play(t, plan{enhanced: true, eightBit: true}, func(s *scene) {
		s.nets[0].Buffer = 64
		s.m.script = on("DATA", 1, fault{kind: amid, code: "250 2.0.0 taken", at: 20, pause: time.Second})
		s.cfg.MaxTransactions = 1
		s.connect()
		s.sendOne(s.mail(500, 1))
		s.sendOne(s.mail(500, 1))
	})
}

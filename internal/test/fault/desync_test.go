package fault_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// A wire that cannot be trusted any more: nothing is written to it, what was
// written is still listened for, and nobody is called accepted or refused by a
// reply that may be another's.

// poisons are what a server may say to a command, apart from refusing it.
var poisons = []struct {
	name string
	make func(command, own string) smtptest.Fault
	told bool // the command's own reply came first, and counts
}{
	{"a surplus 250", func(c, own string) smtptest.Fault {
		return smtptest.Fault{Command: c, Reply: own + " ok\n250 2.0.0 ok"}
	}, true},
	{"a surplus 550", func(c, own string) smtptest.Fault {
		return smtptest.Fault{Command: c, Reply: own + " ok\n550 5.1.1 no"}
	}, true},
	{"words", func(c, own string) smtptest.Fault { return smtptest.Fault{Command: c, Reply: "hello there"} }, false},
	{"a code alone, of four digits",
		func(c, own string) smtptest.Fault { return smtptest.Fault{Command: c, Reply: own + "0 ok"} }, false},
	{"NULs", func(c, own string) smtptest.Fault { return smtptest.Fault{Command: c, Reply: "\x00\x00\x00 ok"} }, false},
	{"an empty line",
		func(c, own string) smtptest.Fault { return smtptest.Fault{Command: c, Reply: "\n" + own + " ok"} }, false},
	{"two codes in one reply",
		func(c, own string) smtptest.Fault { return smtptest.Fault{Command: c, Reply: own + "-a\n251 b"} }, false},
	{"an endless line", func(c, own string) smtptest.Fault {
		return smtptest.Fault{Command: c, Reply: own + " " + strings.Repeat("a", 1<<17)}
	}, false},
	{"endless lines", func(c, own string) smtptest.Fault {
		return smtptest.Fault{Command: c, Reply: strings.Repeat(own+"-a\n", 1<<14) + own + " a"}
	}, false},
	{"half a reply", func(c, own string) smtptest.Fault {
		return smtptest.Fault{Command: c, Answer: smtptest.AnswerHalf, Then: smtptest.ThenClose}
	}, false},
	{"half a reply and silence", func(c, own string) smtptest.Fault {
		return smtptest.Fault{Command: c, Answer: smtptest.AnswerHalf, Then: smtptest.ThenHang}
	}, false},
	{"the beginning of a long reply", func(c, own string) smtptest.Fault {
		return smtptest.Fault{Command: c, Reply: own + "-a\n" + own + "-b", Then: smtptest.ThenClose}
	}, false},
	{"the wrong kind", func(c, own string) smtptest.Fault {
		wrong := map[string]string{"DATA": "250 ok"}[c]
		if wrong == "" {
			wrong = "354 go on"
		}
		return smtptest.Fault{Command: c, Reply: wrong}
	}, false},
}

func TestAPoisonedWireGetsNothingMore(t *testing.T) {
	for _, poison := range poisons {
		for command, own := range map[string]string{"MAIL": "250", "RCPT": "250", "DATA": "354", ".": "250"} {
			t.Run(poison.name+" to "+command, func(t *testing.T) {
				rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
					r := s.Start(t, rig.Options{Faults: rig.OnFirstWire([]smtptest.Fault{poison.make(command, own)})})
					result, err := r.Send("bart@example.com", "cate@example.com")
					want := "untried"
					if command == "." {
						want = "unknown"
						if poison.told {
							want = "accepted"
						}
					}
					if command == "DATA" && poison.name == "a surplus 550" {
						want = "refused" // said before the content had ended, it is about that
					}
					if got := rig.Fates(result); strings.Count(got, want) != 2 {
						t.Errorf("outcomes %s, %v", got, err)
					}
					said := r.Said(1)
					if strings.Contains(said, "QUIT") || strings.Contains(said, "RSET") ||
						strings.Contains(said, ".") != (command == ".") {
						t.Errorf("the client said more than it may: %s", said)
					}
					taken := len(r.Server.Messages())
					if command != "." && taken > 0 || poison.told && command == "." && taken != 1 {
						t.Errorf("the server took %d", taken)
					}
					r.Accepted("dirk@example.com")
					r.Accepted("dirk@example.com")
				})
			})
		}
	}
}

// A reply that is late by no more than two seconds counts, whatever it says, for
// the wire is listened to that long; nothing more is written to it, though.
func TestALateReplyCountsForTwoSeconds(t *testing.T) {
	for _, c := range []struct {
		command, reply, inTime, tooLate string
		limit                           time.Duration
	}{
		{"MAIL", "250 ok", "untried 0", "untried 0", 5 * time.Minute},
		{"MAIL", "550 no", "refused 550", "untried 0", 5 * time.Minute},
		{"RCPT", "250 ok", "untried 0", "untried 0", 5 * time.Minute},
		{"RCPT", "450 later", "deferred 450", "untried 0", 5 * time.Minute},
		{"RCPT", "550 no", "refused 550", "untried 0", 5 * time.Minute},
		{"DATA", "354 go", "untried 0", "untried 0", 2 * time.Minute},
		{"DATA", "554 no", "refused 554", "untried 0", 2 * time.Minute},
		{".", "250 ok", "accepted 250", "unknown 0", 10 * time.Minute},
		{".", "451 later", "deferred 451", "unknown 0", 10 * time.Minute},
		{".", "554 no", "refused 554", "unknown 0", 10 * time.Minute},
		{".", "421 bye", "deferred 421", "unknown 0", 10 * time.Minute},
	} {
		for late, want := range map[time.Duration]string{
			time.Millisecond: c.inTime, lingering - time.Millisecond: c.inTime, lingering + time.Millisecond: c.tooLate,
			time.Hour: c.tooLate,
		} {
			t.Run(fmt.Sprint(c.command, " ", c.reply, " ", late), func(t *testing.T) {
				rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
					r := s.Start(t, rig.Options{
						Faults: []smtptest.Fault{{Command: c.command, Nth: 1, Reply: c.reply, Delay: c.limit + late}},
					})
					start := time.Now()
					result, _ := r.Send("bart@example.com")
					o := result.Outcomes[0]
					r.Equal("outcome", fmt.Sprint(o.State, " ", o.Reply.Code), want)
					if took := time.Since(start); took > c.limit+lingering {
						t.Errorf("it took %v", took)
					}
					r.Accepted("cate@example.com")
					taken := 1
					if c.command == "." && c.reply[0] == '2' {
						taken = 2
					}
					time.Sleep(2 * time.Hour)
					if n := len(r.Server.Messages()); n != taken {
						t.Errorf("the server took %d messages", n)
					}
				})
			})
		}
	}
}

// Behind a 421 the replies to what was written before it are still counted. What the
// server did without them nobody knows, though it hung up.
func TestRepliesBehindA421AreCounted(t *testing.T) {
	for name, c := range map[string]struct {
		behind       []smtptest.Fault
		then         smtptest.Then
		second       string
		wires, taken int
	}{
		"and come": {nil, smtptest.ThenKeepOpen, "accepted content 250", 1, 1},
		"and come soon": {[]smtptest.Fault{{Command: "MAIL", Nth: 1, Delay: lingering - time.Millisecond}},
			smtptest.ThenKeepOpen, "accepted content 250", 1, 1},
		"and are late": {[]smtptest.Fault{{Command: "MAIL", Nth: 1, Delay: lingering + time.Millisecond}},
			smtptest.ThenKeepOpen, "unknown content 421", 1, 1},
		"and refuse": {
			[]smtptest.Fault{{Command: "RCPT", Nth: 1, Reply: "550 no"}}, smtptest.ThenKeepOpen,
			"refused rcpt 550", 1, 0,
		},
		"and are none": {nil, smtptest.ThenProceed, "unknown content 421", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rig.Setting{Pipelining: true}.Start(t,
					rig.Options{Server: func(s *smtptest.Server) { s.Extensions.Chunking = true }})
				for range 3 {
					r.Accepted("anne@example.com") // the window grows
				}
				r.Server.Clear()
				r.Server.Inject(smtptest.Fault{
					Command: ".", Nth: 1, Reply: "421 4.3.2 going down", Delay: time.Minute, Then: c.then,
				})
				first := r.After(0, "first@example.com")
				synctest.Wait()
				second := r.After(time.Second, "second@example.com")
				time.Sleep(2 * time.Second)
				r.Server.Inject(c.behind...)
				r.Equal("the first", <-first, "deferred content 421")
				r.Equal("the second", <-second, c.second)
				time.Sleep(time.Hour)
				if n := r.Server.ConnectionCount(); n != c.wires {
					t.Errorf("%d wires", n)
				}
				if n := len(r.Server.Messages()); n != c.taken {
					t.Errorf("the server took %d", n)
				}
			})
		})
	}
}

// A server's words behind its 421 answer no command that has not left.
func TestWordsBehindA421DecideNobody(t *testing.T) {
	for _, chunking := range []bool{false, true} {
		t.Run(fmt.Sprint("chunking ", chunking), func(t *testing.T) {
			for range 30 { // whether the next command has left is not given
				rig.InEverySetting(t, func(t *testing.T, s rig.Setting) {
					r := s.Start(t, rig.Options{
						Server: func(s *smtptest.Server) { s.Extensions.Chunking = chunking },
						Faults: []smtptest.Fault{{
							Command: ".", Nth: 4, Connection: 1, Reply: "421 4.3.2 going down\n554 5.3.2 I said, down",
							Then: smtptest.ThenClose,
						}},
					})
					for range 3 {
						r.Accepted("anne@example.com")
					}
					r.Server.Clear()
					first, second := r.After(0, "first@example.com"), r.After(0, "second@example.com")
					got, other := <-first, <-second
					if got > other {
						got, other = other, got
					}
					r.Equal("the two", got+", "+other, "accepted content 250, deferred content 421")
				})
			}
		})
	}
}

// A recipient cannot be accepted behind a sender who was refused: whose would he
// be? No content goes there.
func TestARecipientWithoutASenderShowsThatRepliesAreOutOfStep(t *testing.T) {
	for name, replies := range map[string]string{
		"one": "550 5.7.1 no\n250 ok\n503 no\n354 go", "all": "550 5.7.1 no\n250 ok\n250 ok\n354 go",
		"content only": "550 5.7.1 no\n503 no\n503 no\n354 go",
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			p := rig.PlayServer(t, func(p *rig.Peer) {
				p.Hello("PIPELINING")
				p.Hear("MAIL", "RCPT", "RCPT", "DATA")
				p.Say(replies)
				if line, err := p.In.ReadString('\n'); err == nil {
					p.T.Errorf("the client went on with %q", line)
				}
			})
			result, _ := p.Send("bart@example.com", "cate@example.com")
			// Nor is the 550 believed: the next try goes command by command, and settles it.
			if result.Count(postrider.Untried) != 2 || p.Conn.Stats().Fallbacks != 1 {
				t.Errorf("outcomes %v, %+v", rig.Fates(result), p.Conn.Stats())
			}
			p.Conn.Close()
		})
	}
}

// What a server says behind the last reply of the opening is not the answer to the
// first MAIL.
func TestWordsBehindTheOpeningDecideNobody(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			p := rig.PlayServer(t, func(p *rig.Peer) {
				p.Say("220 x ESMTP")
				p.Hear("EHLO")
				p.Say("250-x\n250 PIPELINING\n250 surplus") // in one segment
				for {
					line, err := p.In.ReadString('\n')
					if err != nil {
						return
					}
					p.Say(map[bool]string{true: "354 go", false: "550 5.1.1 no"}[strings.HasPrefix(line, "DATA")])
				}
			})
			result, _ := p.Send("bart@example.com", "cate@example.com")
			if result.Count(postrider.Untried) != 2 {
				t.Errorf("outcomes %v", rig.Fates(result))
			}
		})
	}
}

// A server that says 421 in the middle of a content, and reads no more, does not
// hold the writer until its own time is over.
func TestA421InTheMiddleOfAContentFreesTheWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := rig.PlayServer(t, func(p *rig.Peer) {
			p.Hello("PIPELINING")
			p.Hear("MAIL", "RCPT", "DATA")
			p.Say("250 ok\n250 ok\n354 go")
			time.Sleep(time.Second)
			p.Say("421 4.3.2 enough")
			time.Sleep(time.Hour)
		})
		m := rig.Mail("bart@example.com")
		m.Content = postrider.Bytes(make([]byte, 1<<20))
		var result *postrider.Result
		if took := rig.Within(func() { result, _ = p.Conn.Send(t.Context(), m) }); took > time.Second+lingering {
			t.Errorf("it took %v", took)
		}
		if got := rig.Fates(result); got != "untried content 421" {
			t.Errorf("outcome %s", got)
		}
		p.Conn.Close()
		time.Sleep(time.Hour)
	})
}

// A yes that came with the greeting is no answer to EHLO: each reply that follows would
// be the one to the command before, and a refusal that of another recipient.
func TestWordsBehindTheGreetingAnswerNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := rig.PlayServer(t, func(p *rig.Peer) {
			p.Say("220 x ESMTP\n250 surplus") // in one segment
			replies := map[string]string{"EHLO": "250 x", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go"}
			for {
				line, err := p.In.ReadString('\n')
				if err != nil {
					return
				}
				if strings.Contains(line, "<bart@") {
					p.Say("550 5.1.1 no bart")
				} else if reply := replies[line[:4]]; reply != "" {
					p.Say(reply)
				}
			}
		})
		result, err := p.Send("bart@example.com", "cate@example.com", "dirk@example.com")
		if result.Count(postrider.Untried) != 3 || err == nil || !strings.Contains(err.Error(), "out of step") {
			t.Errorf("outcomes %v, %v", rig.Fates(result), err)
		}
	})
}

// A 250 that is read while the last octet of the message is still being handed over counts from when that has left. If
// it never does, nobody knows what the 250 was about. One that is read before its turn answers something else.
func TestAYesWhileTheLastOctetIsLeaving(t *testing.T) {
	for name, c := range map[string]struct {
		octets int    // of the content; up to 4 KiB its end is in one write with the rest
		behind string // when the server says it
		leaves bool   // the server reads on then, after a second
		want   postrider.State
	}{
		"it leaves":                   {100, "\n.\r", true, postrider.Accepted},
		"it does not":                 {100, "\n.\r", false, postrider.Unknown},
		"it has not begun to":         {8000, "\n.", true, postrider.Unknown},
		"it has not, and never will":  {8000, "\n.", false, postrider.Unknown},
		"the terminator is not begun": {8000, "\r\n", true, postrider.Untried},
	} {
		rig.InBubble(t, name, func(t *testing.T) {
			cfg := postrider.Config{LocalName: "localhost"}
			cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe() // a Write returns when all of it was read
				go sayYesBehind(theirs, c.behind, c.leaves)
				return ours, nil
			}
			conn, err := postrider.NewConnection(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			m := rig.Mail("bart@example.com")
			m.Content = postrider.Bytes(rig.Clean(c.octets))
			start := time.Now()
			r, err := conn.Send(t.Context(), m)
			took := time.Since(start)
			if got := r.Outcomes[0].State; got != c.want || got == postrider.Accepted && took != time.Second {
				t.Errorf("%v after %v: %v", got, took, err)
			}
			time.Sleep(time.Minute) // the server has ended then
		})
	}
}

// sayYesBehind is a server that accepts a message when it has read the octets of behind, and not one more.
func sayYesBehind(nc net.Conn, behind string, readsOn bool) {
	defer nc.Close()
	in, octet := bufio.NewReader(nc), make([]byte, 1)
	fmt.Fprint(nc, "220 mx\r\n")
	for _, reply := range []string{"250-mx\r\n250 PIPELINING", "250 ok", "250 ok", "354 go"} {
		in.ReadString('\n')
		fmt.Fprint(nc, reply+"\r\n")
	}
	for last := ""; !strings.HasSuffix(last, behind); { // not through the buffer: what that has read has left
		nc.Read(octet)
		last = last[max(0, len(last)-2):] + string(octet)
	}
	fmt.Fprint(nc, "250 taken\r\n")
	if readsOn {
		time.Sleep(time.Second)
		io.Copy(io.Discard, nc)
	}
}

package chaos

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/postrider/postrider"
)

// What is made of CHUNKING, and of a server's answers to the question whether it discards.

// crowd sends two letters one after the other, and so many together that the question is worth it.
func (s *scene) crowd(recipients int) (all []*letter) {
	s.connect()
	for range 2 {
		s.sendOne(s.mail(100, recipients))
	}
	for range 30 {
		all = append(all, s.mail(100, recipients))
	}
	s.together(all)
	return all
}

// UseOff is never: neither for a message nor to ask. The others do say BDAT in the same company.
func TestChunkingIsUsedAsTheConfigurationSays(t *testing.T) {
	for _, use := range []postrider.ExtensionUse{postrider.UseAuto, postrider.UseOff, postrider.UseTrusted} {
		t.Run(fmt.Sprint(use), func(t *testing.T) {
			play(t, busy(chunking()), func(s *scene) {
				s.cfg.Chunking = use
				for _, l := range s.crowd(1) {
					s.want(l, isAccepted)
				}
				if n := s.said("BDAT"); n > 0 != (use != postrider.UseOff) {
					t.Errorf("BDAT was said %d times", n)
				}
			})
		})
	}
}

// A server that executes what it should discard answers HELP too, and does so by a code that RSET could have been
// answered with: every reply behind it belongs to the command before. Where the last RCPT is refused, that refusal
// stands in DATA's place, and is none of the message.
func TestRefusalBehindTheQuestionIsNotMisread(t *testing.T) {
	for _, help := range []string{"250 2.0.0 help yourself", "214 2.0.0 help yourself", "502 5.5.1 no"} {
		for _, refusal := range []string{"550 5.1.1 nobody", "450 4.2.0 later"} {
			t.Run(help[:3]+" "+refusal[:3], func(t *testing.T) {
				play(t, busy(chunking()), func(s *scene) {
					s.m.discards = false
					s.m.script = func(_ *session, verb, _ string) (fault, bool) {
						if verb == "HELP" {
							return fault{kind: refuse, code: help}, true
						}
						return fault{}, true
					}
					s.m.refuses = func(to string) string {
						var id, r int
						fmt.Sscanf(to, "r%d.%d@", &id, &r)
						return map[bool]string{true: refusal}[r == 1]
					}
					last := map[string]postrider.State{"5": isRefused, "4": isDeferred}[refusal[:1]]
					for _, l := range s.crowd(2) {
						s.want(l, isAccepted, last)
					}
				})
			})
		}
	}
}

// A server in step that refuses DATA behind the question cannot be told from one that is not: the message is tried once
// more on another wire, where nobody asks, and then the refusal counts.
func TestRefusedDataBehindTheQuestion(t *testing.T) {
	play(t, busy(chunking()), func(s *scene) {
		asked := "" // the sender behind the first question
		s.m.script = func(one *session, verb, _ string) (fault, bool) {
			if verb == "DATA" && one.bdats == 1 && asked == "" {
				asked = *one.from
			}
			if verb == "DATA" && *one.from == asked {
				return fault{kind: refuse, code: "451 4.7.1 not yet"}, true
			}
			return fault{}, true
		}
		for _, l := range s.crowd(2) {
			s.want(l, map[bool]postrider.State{true: isDeferred, false: isAccepted}[l.message.From == asked])
		}
		if asked == "" {
			t.Error("nobody asked")
		}
	})
}

// nameless is a connection that does not tell where it leads, as those of some proxies.
type nameless struct{ net.Conn }

func (nameless) RemoteAddr() net.Addr { return nil }

func TestConnectionWithoutAnAddress(t *testing.T) {
	play(t, busy(chunking()), func(s *scene) {
		dial := s.cfg.Dial
		s.cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return nameless{conn}, err
		}
		for _, l := range s.crowd(1) {
			s.want(l, isAccepted)
		}
	})
}

package ending_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// Shutdown lets what was given to Send before it finish, says QUIT, and is the end.
func TestShutdownFinishesWhatIsUnderway(t *testing.T) {
	throughEachDoor(t, func(t *testing.T, open func(postrider.Config) ender) {
		server := startServer(t, smtptest.Fault{Command: ".", Delay: time.Minute})
		s := open(server.Config())
		var came []<-chan answer
		for range 3 {
			came = append(came, begin(s, mail("bart@example.com")))
		}
		synctest.Wait()
		var all sync.WaitGroup
		for range 2 { // together
			all.Go(func() {
				if err := s.Shutdown(t.Context()); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				if n := len(server.Messages()); n != 3 {
					t.Errorf("Shutdown returned after %d messages", n)
				}
			})
		}
		synctest.Wait()
		late := <-begin(s, mail("late@example.com"))
		if late.state != postrider.Untried || !errors.Is(late.err, postrider.ErrClosed) || late.took != 0 {
			t.Errorf("a Send behind Shutdown: %+v", late)
		}
		all.Wait()
		for _, c := range came {
			if a := <-c; a.state != postrider.Accepted || a.err != nil {
				t.Errorf("%+v", a)
			}
		}
		if n := server.Commands("QUIT"); n == 0 || n != server.ConnectionCount() {
			t.Errorf("%d QUITs on %d wires", n, server.ConnectionCount())
		}
		if err := s.Shutdown(t.Context()); err != nil { // again
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// slow is a reader that takes a minute for each Read.
type slow struct{ io.Reader }

func (s slow) Read(b []byte) (int, error) {
	time.Sleep(time.Minute)
	return s.Reader.Read(b)
}

func (slow) Close() error { return nil }

// A Send whose content is read when Shutdown is called was called before it: it is finished, or broken off with the
// rest.
func TestShutdownFinishesASendThatReadsItsContent(t *testing.T) {
	for _, late := range []bool{false, true} {
		throughEachDoor(t, func(t *testing.T, open func(postrider.Config) ender) {
			s := open(startServer(t).Config())
			m := mail("bart@example.com")
			read := func() (io.ReadCloser, error) { return slow{strings.NewReader("x")}, nil }
			m.Content = postrider.FuncSize(1, read)
			came := begin(s, m)
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if late {
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			}
			defer cancel()
			err := s.Shutdown(ctx)
			a := <-came
			if !late && (err != nil || a.err != nil || a.state != postrider.Accepted) {
				t.Errorf("Shutdown: %v; %+v", err, a)
			}
			if late && (err == nil || !strings.Contains(err.Error(), "1 Sends were broken off") ||
				a.state != postrider.Untried || !errors.Is(a.err, postrider.ErrClosed)) {
				t.Errorf("Shutdown out of time: %v; %+v", err, a)
			}
			time.Sleep(time.Hour) // a Read that was left behind has returned then
		})
	}
}

// A SendAll that is left while it reads a content holds no Shutdown up; neither does a content that panics.
func TestShutdownWaitsForNoContentThatIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := postrider.NewConnection(startServer(t).Config())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		one := mail("bart@example.com")
		two := mail("cate@example.com")
		two.Content = postrider.FuncSize(1, func() (io.ReadCloser, error) { return slow{strings.NewReader("x")}, nil })
		both := func(yield func(*postrider.Message) bool) { _ = yield(one) && yield(two) }
		for range c.SendAll(t.Context(), both) {
			break
		}
		three := mail("dirk@example.com")
		three.Content = postrider.Func(func() (io.ReadCloser, error) { panic("mine") })
		func() {
			defer func() { recover() }()
			c.Send(t.Context(), three)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if took := within(func() { err = c.Shutdown(ctx) }); err != nil || took > 2*time.Minute {
			t.Errorf("Shutdown took %v: %v", took, err)
		}
	})
}

// A Shutdown whose context ends does what Close does, at that moment, and says why.
func TestShutdownEndsWithItsContext(t *testing.T) {
	for _, at := range []string{smtptest.Greeting, "EHLO", "MAIL", ".", "QUIT"} {
		throughEachDoor(t, func(t *testing.T, open func(postrider.Config) ender) {
			server := startServer(t, smtptest.Fault{Command: at, Answer: smtptest.AnswerNone, Then: smtptest.ThenHang})
			s := open(server.Config())
			came := begin(s, mail("bart@example.com"))
			synctest.Wait()
			cause := errors.New("the cause")
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
			defer cancel()
			var err error
			if took := within(func() { err = s.Shutdown(ctx) }); took != time.Second || !errors.Is(err, cause) {
				t.Errorf("at %s: Shutdown took %v and returned %v", at, took, err)
			}
			a := <-came
			if broken := at != "QUIT"; errors.Is(a.err, postrider.ErrClosed) != broken {
				t.Errorf("at %s: %+v", at, a)
			}
		})
	}
}

// Without anything to wait for, a context that has ended is no failure.
func TestShutdownOfWhatIsIdle(t *testing.T) {
	throughEachDoor(t, func(t *testing.T, open func(postrider.Config) ender) {
		s := open(startServer(t).Config())
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Shutdown(ended); err != nil {
			t.Error(err)
		}
	})
}

// A Close ends a Shutdown that waits; it tells that it did not finish what it should.
func TestCloseEndsAShutdown(t *testing.T) {
	throughEachDoor(t, func(t *testing.T, open func(postrider.Config) ender) {
		server := startServer(t, smtptest.Fault{Command: ".", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang})
		s := open(server.Config())
		came := begin(s, mail("bart@example.com"))
		synctest.Wait()
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		time.Sleep(time.Second)
		if took := within(func() { s.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		if err := <-down; !errors.Is(err, postrider.ErrClosed) {
			t.Errorf("Shutdown: %v", err)
		}
		a := <-came
		if a.state != postrider.Unknown || !errors.Is(a.err, postrider.ErrClosed) || a.took != time.Second {
			t.Errorf("%+v", a)
		}
	})
}

// peer answers on its half of a pipe until it is told QUIT or, as deaf, after one message.
func peer(conn net.Conn, deaf bool) {
	in := bufio.NewReader(conn)
	say := func(reply string) { fmt.Fprintf(conn, "%s\r\n", reply) }
	say("220 mx")
	for content := false; ; {
		line, err := in.ReadString('\n')
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case err != nil:
			conn.Close()
			return
		case content && verb == ".":
			say("250 ok")
			if deaf {
				return // reads nothing any more, and does not close
			}
			content = false
		case content:
		case verb == "DATA":
			say("354 go on")
			content = true
		case verb == "QUIT":
			say("221 bye")
		default:
			say("250 ok")
		}
	}
}

// pipeTo is a Dial to a peer, over a connection without any buffer.
func pipeTo(deaf bool, wrap func(net.Conn) net.Conn) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go peer(theirs, deaf)
		return wrap(ours), nil
	}
}

// quitTimeout is the default of Timeouts.Quit.
const quitTimeout = 5 * time.Second

func unwrapped(c net.Conn) net.Conn { return c }

// An idle wire is left with QUIT, but nobody waits until a peer that does not read takes that.
func TestCloseDoesNotWaitForAPeerThatDoesNotRead(t *testing.T) {
	throughEachDoor(t, func(t *testing.T, open func(postrider.Config) ender) {
		s := open(postrider.Config{LocalName: "localhost", Dial: pipeTo(true, unwrapped)})
		accepted(t, s)
		if took := within(func() { s.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		time.Sleep(quitTimeout) // what tries to say QUIT is gone then, or the bubble does not end
	})
}

// What a server says when Close has returned is nobody's business: no hook is called with it, and nothing is counted.
func TestNoHookIsCalledBehindClose(t *testing.T) {
	throughEachDoor(t, func(t *testing.T, open func(postrider.Config) ender) {
		var theirs net.Conn
		dial := func(context.Context, string, string) (ours net.Conn, err error) {
			ours, theirs = net.Pipe()
			go peer(theirs, true)
			return ours, nil
		}
		var closed atomic.Bool
		hook := func(e postrider.Event) {
			if closed.Load() {
				t.Errorf("%v behind Close: %q %v %v", e.Kind, e.Line, e.Reply, e.Fault)
			}
		}
		trace := &postrider.Trace{Event: hook, Dialogue: hook}
		s := open(postrider.Config{LocalName: "localhost", Dial: dial, Trace: trace})
		accepted(t, s)
		synctest.Wait()
		s.Close()
		closed.Store(true)
		go fmt.Fprint(theirs, "220 I have\r\n421 4.3.2 enough\r\n") // our QUIT was not taken yet
		time.Sleep(quitTimeout)
		synctest.Wait()
	})
}

// A Shutdown that is out of time says how many Sends it has broken off. Those that had returned before, because of
// their own contexts, are not among them, also while the server still has what they sent.
func TestShutdownCountsWhatItBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := startServer(t)
		cfg := server.Config()
		cfg.Chunking = postrider.UseTrusted
		c, err := postrider.NewConnection(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 3 { // so that the window opens
			accepted(t, c)
		}
		server.Inject(smtptest.Fault{Command: ".", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang})
		begun, leave := context.WithCancel(t.Context())
		var sends sync.WaitGroup
		for _, ctx := range []context.Context{t.Context(), begun, t.Context()} {
			sends.Go(func() { c.Send(ctx, mail("bart@example.com")) })
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		if st := c.Stats(); st.InFlight != 3 || st.Unknown != 1 {
			t.Fatalf("%+v", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = c.Shutdown(ctx)
		sends.Wait()
		if err == nil || !strings.Contains(err.Error(), " 2 Sends were broken off") {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// The Close of a connection of the caller's Dial is the caller's code: it may block.
func TestCloseDoesNotWaitForTheCloseOfADial(t *testing.T) {
	for _, when := range []string{"idle", "opening", "underway"} {
		throughEachDoor(t, func(t *testing.T, open func(postrider.Config) ender) {
			leave := make(chan struct{})
			wrap := func(c net.Conn) net.Conn { return &stubborn{c, leave} }
			server := startServer(t)
			cfg := server.Config()
			dial := cfg.Dial
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return wrap(c), nil
			}
			hangs := smtptest.Fault{Answer: smtptest.AnswerNone, Then: smtptest.ThenHang}
			switch when {
			case "opening":
				hangs.Command = smtptest.Greeting
				server.Inject(hangs)
			case "underway":
				hangs.Command = "."
				server.Inject(hangs)
			}
			s := open(cfg)
			came := begin(s, mail("bart@example.com"))
			synctest.Wait()
			if took := within(func() { s.Close(); <-came }); took != 0 {
				t.Errorf("%s: Close took %v", when, took)
			}
			close(leave)
		})
	}
}

// A Send that is in a call into the caller's code does not hold up the end of its Pool.
func TestCloseDoesNotWaitForACallOfTheCallers(t *testing.T) {
	throughEachDoor(t, func(t *testing.T, open func(postrider.Config) ender) {
		leave := make(chan struct{})
		cfg := startServer(t).Config()
		cfg.Redirect = func() (string, bool) { <-leave; return "", false }
		s := open(cfg)
		came := begin(s, mail("bart@example.com"))
		synctest.Wait()
		if took := within(func() { s.Close() }); took != 0 {
			t.Errorf("Close took %v", took)
		}
		close(leave)
		if a := <-came; a.state != postrider.Untried || !errors.Is(a.err, postrider.ErrClosed) {
			t.Errorf("%+v", a)
		}
	})
}

// A Pool's Close breaks off Sends that wait for a place and those underway.
func TestPoolCloseBreaksOffEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := startServer(t, smtptest.Fault{Command: ".", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang})
		p, err := postrider.NewPool(postrider.PoolConfig{MaxConnections: 2}, server.Config())
		if err != nil {
			t.Fatal(err)
		}
		var came []<-chan answer
		for range 10 {
			came = append(came, begin(p, mail("bart@example.com")))
		}
		time.Sleep(time.Second)
		if took := within(func() {
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					if err := p.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}); took != 0 {
			t.Errorf("Close took %v", took)
		}
		var states [5]int
		for _, c := range came {
			a := <-c
			states[a.state]++
			if !errors.Is(a.err, postrider.ErrClosed) || a.took != time.Second {
				t.Errorf("%+v", a)
			}
		}
		if states[postrider.Unknown] != 2 || states[postrider.Untried] != 8 {
			t.Errorf("untried, accepted, deferred, refused, unknown: %v", states)
		}
	})
}

// The context of a Quit may end at the moment at which the wire for the Sends before it opens.
func TestQuitEndsWithItsContextAsAWireOpens(t *testing.T) {
	for range 300 { // the order of the two is not given
		synctest.Test(t, func(t *testing.T) {
			server := startServer(t,
				smtptest.Fault{Command: "EHLO", Delay: time.Second},
				smtptest.Fault{Command: "QUIT", Answer: smtptest.AnswerNone, Then: smtptest.ThenHang})
			conn, err := postrider.NewConnection(server.Config())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			begin(conn, mail("bart@example.com")) // opens the wire
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if took := within(func() { conn.Quit(ctx) }); took > time.Second {
				t.Fatalf("Quit took %v", took)
			}
		})
	}
}

package ending_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// ender is what Connection and Pool have in common.
type ender interface {
	postrider.Sender
	Shutdown(context.Context) error
	Close() error
}

// doors are the two ways to send.
var doors = map[string]func(postrider.Config) (ender, error){
	"Connection": func(cfg postrider.Config) (ender, error) { return postrider.NewConnection(cfg) },
	"Pool":       func(cfg postrider.Config) (ender, error) { return postrider.NewPool(postrider.PoolConfig{}, cfg) },
}

// throughEachDoor runs a test in a bubble, over a Connection and over a Pool.
func throughEachDoor(t *testing.T, run func(t *testing.T, open func(postrider.Config) ender)) {
	for name, door := range doors {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run(t, func(cfg postrider.Config) ender {
					s, err := door(cfg)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { s.Close() })
					return s
				})
			})
		})
	}
}

// startServer starts a server in memory.
func startServer(t *testing.T, faults ...smtptest.Fault) *smtptest.Server {
	t.Helper()
	s := smtptest.NewUnstartedServer()
	s.Listener = smtptest.InMemory("mx:25")
	s.IdleTimeout, s.Log, s.Faults = -1, t.Logf, faults
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func mail(to ...string) *postrider.Message {
	content := postrider.Bytes([]byte("Subject: x\r\n\r\nx\r\n"))
	return &postrider.Message{From: "a@example.com", To: to, Content: content}
}

// answer is what one Send returned.
type answer struct {
	state postrider.State
	err   error
	took  time.Duration
}

// begin calls Send, and returns where its answer comes.
func begin(s postrider.Sender, m *postrider.Message) <-chan answer {
	came := make(chan answer, 1)
	began := time.Now()
	go func() {
		r, err := s.Send(context.Background(), m)
		came <- answer{r.Outcomes[0].State, err, time.Since(began)}
	}()
	return came
}

// within runs f and returns how long it took.
func within(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// accepted sends one message and wants it accepted.
func accepted(t *testing.T, s postrider.Sender) {
	t.Helper()
	if _, err := s.Send(t.Context(), mail("bart@example.com")); err != nil {
		t.Fatal(err)
	}
}

// stubborn is a connection whose Close waits for leave.
type stubborn struct {
	net.Conn
	leave <-chan struct{}
}

func (c *stubborn) Close() error {
	<-c.leave
	return c.Conn.Close()
}

package content_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// A content that breaks off is not taken, its readers are closed, and those who come behind it are served.

func (r *rig) brokenOff(a answer, why string) {
	r.t.Helper()
	if a.err == nil || a.state() != postrider.Untried || !strings.Contains(a.err.Error(), why) {
		r.t.Errorf("%v, %v", a.result.Outcomes, a.err)
	}
	var e *postrider.Error
	if errors.As(a.err, &e) && e.Temporary() {
		r.t.Errorf("time does not mend it: %v", a.err)
	}
	if n, got := r.taken(a.result.Outcomes[0].Recipient); n > 0 {
		r.t.Errorf("%d octets were taken, %d times", len(got), n)
	}
	r.accepted("next@example.com")
}

// The file's size is another when it is opened, when its end is reached, or while it is read.
func TestAFileThatChangesIsNotSent(t *testing.T) {
	for what, change := range map[string]func(f *os.File) error{
		"shrinks":    func(f *os.File) error { return f.Truncate(400_000) },
		"is emptied": func(f *os.File) error { return f.Truncate(0) },
		"grows": func(f *os.File) error {
			_, err := f.WriteAt([]byte("one line more\r\n"), 1<<20)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			var f *os.File
			trace := &postrider.Trace{Content: func(int, []byte) { // the first block is going out
				if f != nil {
					if err := change(f); err != nil {
						t.Error(err)
					}
					f = nil
				}
			}}
			throughEachDoor(t, func(cfg *postrider.Config) { cfg.Trace = trace }, func(t *testing.T, r *rig) {
				for _, kind := range []func(*os.File) postrider.Content{
					func(f *os.File) postrider.Content { return postrider.File(f.Name()) },
					func(f *os.File) postrider.Content { return postrider.Reader(f) },
				} {
					opened, err := os.Create(filepath.Join(t.TempDir(), "content"))
					if err != nil {
						t.Fatal(err)
					}
					defer opened.Close()
					opened.WriteString(lines(1 << 20)[:1<<20])
					opened.Seek(0, io.SeekStart)
					f = opened
					r.brokenOff(r.send(time.Hour, mail("bart@example.com", kind(opened))),
						"the file changed while it was read")
				}
			})
		})
	}
}

// Between two transactions of one message a file becomes another one: those of the second do not get it.
func TestAFileThatIsAnotherForTheNextRecipient(t *testing.T) {
	change := func(cfg *postrider.Config) { cfg.MaxRecipients = 1 }
	throughEachDoor(t, change, func(t *testing.T, r *rig) {
		name := filepath.Join(t.TempDir(), "content")
		if err := os.WriteFile(name, []byte(lines(200_000)), 0o600); err != nil {
			t.Fatal(err)
		}
		r.server.OnMessage = func(*smtptest.Message) { os.WriteFile(name, []byte("Subject: another\r\n\r\n"), 0o600) }
		m := mail("bart@example.com", postrider.File(name))
		m.To = append(m.To, "cate@example.com")
		a := r.send(time.Hour, m)
		if a.state() != postrider.Accepted || a.result.Outcomes[1].State != postrider.Untried {
			t.Errorf("%v, %v", a.result.Outcomes, a.err)
		}
		if n, _ := r.taken("cate@example.com"); n > 0 {
			t.Error("the second got another content than the first")
		}
	})
}

func TestASizeThatIsNotWhatWasPromised(t *testing.T) {
	for _, size := range []int{1000, 200_000} {
		for _, off := range []int{-1, 1, 0} {
			t.Run(fmt.Sprintf("%d, %d more", size, off), func(t *testing.T) {
				throughEachDoor(t, nil, func(t *testing.T, r *rig) {
					s := &script{text: lines(size)}
					a := r.send(time.Hour, mail("bart@example.com", postrider.FuncSize(int64(len(s.text)-off), s.open)))
					switch n, got := r.taken("bart@example.com"); {
					case off != 0:
						r.brokenOff(a, "not as long as was promised")
					case a.err != nil || n != 1 || got != s.text:
						t.Errorf("%d octets arrived, %d times: %v", len(got), n, a.err)
					}
					s.check(t, 1)
				})
			})
		}
	}
}

// A Close that fails tells that what was read is not all, as with a pipe from a command.
func TestACloseThatFails(t *testing.T) {
	for _, size := range []int{1000, 200_000} {
		throughEachDoor(t, nil, func(t *testing.T, r *rig) {
			s := &script{text: lines(size), close: func() error { return errors.New("exit status 1") }}
			r.brokenOff(r.send(time.Hour, mail("bart@example.com", s.content())), "its Close failed: exit status 1")
			s.check(t, 1)
		})
	}
}

// A panic in a Read is the Send's own, wherever the Read was called. The wire is cut, and all goes on.
func TestAReadThatPanics(t *testing.T) {
	for _, at := range []int{0, 1000, 100_000, 200_000} {
		throughEachDoor(t, nil, func(t *testing.T, r *rig) {
			s := &script{text: lines(300_000), at: at, do: func() error { panic("out of paper") }}
			func() {
				defer func() {
					if p := recover(); p != "out of paper" {
						t.Errorf("recovered %v", p)
					}
				}()
				r.send(time.Hour, mail("bart@example.com", s.content()))
			}()
			if n, _ := r.taken("bart@example.com"); n > 0 {
				t.Error("it was taken")
			}
			s.check(t, 1)
			r.accepted("cate@example.com")
			start := time.Now()
			if r.close(); time.Since(start) > 0 {
				t.Errorf("the end took %v", time.Since(start))
			}
		})
	}
}

// Whatever panics on the caller's own goroutine, the Connection is as it was.
func TestAPanicBeforeASend(t *testing.T) {
	redirect := false
	change := func(cfg *postrider.Config) {
		cfg.Redirect = func() (string, bool) {
			if redirect {
				panic("no redirect")
			}
			return "", false
		}
	}
	throughEachDoor(t, change, func(t *testing.T, r *rig) {
		conn, is := r.sender.(*postrider.Connection)
		if !is {
			t.Skip("the Pool's are elsewhere")
		}
		r.accepted("anne@example.com")
		open := postrider.Func(func() (io.ReadCloser, error) { panic("no paper") })
		var none context.Context
		for what, f := range map[string]func(){
			"no context":       func() { conn.Send(none, mail("bart@example.com", postrider.Bytes(nil))) },
			"no context, file": func() { conn.Send(none, mail("bart@example.com", open)) },
			"no message":       func() { conn.Send(t.Context(), nil) },
			"Open":             func() { r.send(time.Hour, mail("bart@example.com", open)) },
			"Redirect": func() {
				redirect = true
				r.send(time.Hour,
					mail("bart@example.com", postrider.Bytes(nil)))
			},
			"Quit": func() { conn.Quit(none) },
		} {
			func() {
				defer func() {
					if redirect = false; recover() == nil {
						t.Errorf("%s: no panic", what)
					}
				}()
				f()
			}()
			r.accepted("cate@example.com")
			if st := conn.Stats(); st.Queued > 0 || st.InFlight > 0 {
				t.Errorf("%s: %+v", what, st)
			}
		}
	})
}

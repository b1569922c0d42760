package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/postrider/postrider"
)

// ours is Postrider: SendAll, or Send called by this many goroutines.
type ours struct {
	cfg         postrider.Config
	message     postrider.Message
	goroutines  int // 0: SendAll
	large       bool
	connections []*postrider.Connection
}

// newOurs checks the configuration; it opens nothing.
func newOurs(j *job, goroutines int, content postrider.Content) (load, error) {
	o := &ours{
		cfg:         postrider.Config{Address: j.Address, LocalName: helloName},
		message:     postrider.Message{From: from, To: j.recipients(), Content: content},
		goroutines:  goroutines,
		large:       j.Size >= mib,
		connections: make([]*postrider.Connection, j.Connections),
	}
	if j.Secure {
		t, err := j.tls()
		if err != nil {
			return nil, err
		}
		o.cfg.Mode, o.cfg.TLS = postrider.StartTLS, t
		o.cfg.User, o.cfg.Password = account, postrider.NewSecret(password)
		o.cfg.MaxTransactions = 1 // a wire for each message
	}
	for i := range o.connections {
		var err error
		if o.connections[i], err = postrider.NewConnection(o.cfg); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// streamed is the content as a reader, not as a slice.
func streamed(b []byte) postrider.Content {
	return postrider.Func(func() (io.ReadCloser, error) {
		// A struct around it, for nothing but Read to be seen.
		return io.NopCloser(struct{ io.Reader }{bytes.NewReader(b)}), nil
	})
}

// open makes every Connection open its wire, as the peers do before their clock
// runs. The window begins with 1 all the same: its slow start is in the figures.
func (o *ours) open() (int, error) {
	if o.cfg.MaxTransactions == 1 {
		return 0, nil
	}
	first := o.message
	first.To = first.To[:1]
	for i, c := range o.connections {
		if err := accepted(c.Send(context.Background(), &first)); err != nil {
			return i, err
		}
	}
	return len(o.connections), nil
}

// accepted is nil if every recipient is.
func accepted(r *postrider.Result, err error) error {
	if n := r.Count(postrider.Accepted); err == nil && n < len(r.Outcomes) {
		return fmt.Errorf("%d of %d recipients accepted", n, len(r.Outcomes))
	}
	return err
}

// run spreads the goroutines over the connections; SendAll needs one for each.
func (o *ours) run(c *clock) error {
	errs := make([]error, max(o.goroutines, len(o.connections)))
	var all sync.WaitGroup
	for i := range errs {
		conn := o.connections[i%len(o.connections)]
		all.Go(func() {
			if o.goroutines == 0 {
				errs[i] = o.sendAll(conn, c)
			} else {
				errs[i] = o.send(conn, c)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// send calls Send in a loop. Each message is a value of its own, as in a program
// that has something to say.
func (o *ours) send(conn *postrider.Connection, c *clock) error {
	for c.more() {
		m := o.message
		if err := accepted(conn.Send(context.Background(), &m)); err != nil {
			return err
		}
	}
	return nil
}

// sendAll sends a sequence that has no end, and leaves the loop when the time is
// over. What was begun by then is finished and counts; what was only taken from
// the sequence does not.
func (o *ours) sendAll(conn *postrider.Connection, c *clock) error {
	before := conn.Stats().Accepted
	results := int64(0)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // for a sequence that still waits
	taken := o.bound()
	for r, err := range conn.SendAll(context.Background(), o.messages(ctx, taken)) {
		if err := accepted(r, err); err != nil {
			return err
		}
		results++
		c.sent.Add(1)
		if c.over() {
			break
		}
		if taken != nil {
			<-taken
		}
	}
	all := (conn.Stats().Accepted - before) / int64(len(o.message.To))
	c.sent.Add(all - results)
	return nil
}

// bound is how far a sequence of large messages may be ahead of the results.
// Otherwise SendAll decides. It looks at messages when it takes them in, which is
// much work for large ones, and no part of sending if their turn never comes.
func (o *ours) bound() chan struct{} {
	if o.large {
		return make(chan struct{}, 2)
	}
	return nil
}

// messages is the sequence without end. It ends with its reader and not with the clock, so
// that SendAll is measured as it is used: by a loop that is left.
func (o *ours) messages(ctx context.Context, taken chan struct{}) iter.Seq[*postrider.Message] {
	return func(yield func(*postrider.Message) bool) {
		for {
			if taken != nil {
				select {
				case taken <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
			if m := o.message; !yield(&m) {
				return
			}
		}
	}
}

func (o *ours) close() {
	for _, c := range o.connections {
		if c != nil {
			c.Close()
		}
	}
}

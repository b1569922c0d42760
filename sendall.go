package postrider

import (
	"context"
	"iter"

	"github.com/postrider/postrider/internal/stream"
)

// SendAll sends a sequence of messages, and returns their results in its order, each with its Message. It is Send in a
// loop, but the messages share the wire's window without a goroutine each, so that a server with PIPELINING or CHUNKING
// is not waited for between them.
//
// The sequence runs on a goroutine of its own, at most four times [Config.Window] messages ahead of the results; it may
// block, and may be fed by the results themselves. Neither that nor a slow loop body delays what is underway.
//
// Leaving the loop stops the intake: messages that were not begun are not sent; those that were are finished, and
// [EventTransaction] reports them, before the loop is left. A sequence that blocks at that moment is not waited for:
// its goroutine ends when it next yields or returns. When ctx is done, the messages that are waiting or underway get
// their results, and the loop ends. A panic of the sequence goes on in the loop.
func (c *Connection) SendAll(ctx context.Context, messages iter.Seq[*Message]) iter.Seq2[*Result, error] {
	return func(yield func(*Result, error) bool) {
		stream.Run(ctx, ownWindow{c}, 4*c.maxWindow(), messages, func(d *delivery) bool { return yield(c.finished(d)) })
	}
}

// SendAll sends a sequence of messages, and returns their results in its order, each with its Message. On the wires
// they have no order: they spread over connections and servers like those of several goroutines that call [Pool.Send].
//
// The sequence runs on a goroutine of its own, at most 2 × MaxConnections × Window messages ahead of the results (512
// by default; with servers of several Windows the largest counts), and each message ahead holds a goroutine and up to
// 64 KiB of its content. All else is as in [Connection.SendAll]: leaving the loop, the context, and panics. A message
// counts as a Send from when it is taken from the sequence: [Pool.Shutdown] lets it finish, and those behind it get
// [ErrClosed].
func (p *Pool) SendAll(ctx context.Context, messages iter.Seq[*Message]) iter.Seq2[*Result, error] {
	return func(yield func(*Result, error) bool) {
		waiting, leave := context.WithCancelCause(ctx) // bounds what was not begun
		defer leave(nil)
		by := stream.Goroutines[*Message, sent]{
			Begin: func(m *Message) func() sent {
				begun := p.begin()
				return func() (s sent) {
					s.result, s.err = p.send(ctx, waiting, m, begun)
					return s
				}
			},
			Leave: func() { leave(errWithdrawn) },
		}
		stream.Run(ctx, by, p.ahead(), messages, func(job *stream.Job[*Message, sent]) bool {
			s := job.Result()
			return yield(s.result, s.err)
		})
	}
}

// sent is what a Send has returned.
type sent struct {
	result *Result
	err    error
}

// ahead is how many messages a sequence may be ahead of the results: twice what all connections can carry.
func (p *Pool) ahead() int {
	window := 1
	for _, s := range p.sources {
		window = max(window, orDefault(s.cfg.Window, DefaultWindow))
	}
	return 2 * p.max * window
}

// ownWindow lets the messages of a stream share the window of one wire.
type ownWindow struct{ c *Connection }

func (o ownWindow) Prepare(ctx context.Context, m *Message, ready chan struct{}) (*delivery, error) {
	d, err := o.c.prepare(ctx, m)
	d.done = ready
	return d, err
}

func (o ownWindow) Start(d *delivery, err error) { o.c.submit(d, err) }
func (o ownWindow) Over(d *delivery) bool        { return d.told.Load() }
func (o ownWindow) Cancel(d *delivery)           { o.c.cancel(d) }
func (o ownWindow) Withdraw(d *delivery)         { o.c.withdraw(d) }

func (o ownWindow) Discard(ctx context.Context, d *delivery) {
	o.c.forget(d)
	d.body.Discard(ctx)
}

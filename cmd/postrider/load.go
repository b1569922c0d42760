package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/postrider/postrider"
)

// size is a number of octets, on a command line: 500, 100k or 10M.
type size int

// The smallest message has room for a header, and the largest is held in memory.
const (
	minSize size = 256
	maxSize size = 1 << 30
)

// UnmarshalText reads the number.
func (s *size) UnmarshalText(word []byte) error {
	digits, unit := string(word), size(1)
	if n := len(digits) - 1; n > 0 {
		switch digits[n] {
		case 'k', 'K':
			digits, unit = digits[:n], 1<<10
		case 'M':
			digits, unit = digits[:n], 1<<20
		}
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return fmt.Errorf("%q is not a size: use octets, like 500, 100k or 10M", word)
	}
	if n := size(n); n > maxSize/unit || n*unit < minSize {
		return fmt.Errorf("%s: use a size from %d octets to %dM", word, minSize, maxSize>>20)
	}
	*s = size(n) * unit
	return nil
}

// String returns the number in the form that UnmarshalText reads.
func (s size) String() string {
	switch {
	case s%(1<<20) == 0:
		return fmt.Sprintf("%dM", int(s>>20))
	case s%(1<<10) == 0:
		return fmt.Sprintf("%dk", int(s>>10))
	}
	return strconv.Itoa(int(s))
}

// content makes a message of exactly that size, in lines of 76 characters that end
// as SMTP wants them, so that nothing about it has to be mended on its way.
func (s size) content(now time.Time) []byte {
	b := make([]byte, 0, s)
	b = append(b, "Date: "+now.Format(time.RFC1123Z)+"\r\n"+
		"From: postrider bench <bench@example.com>\r\n"+
		"Subject: A message to measure with\r\n"+
		"Auto-Submitted: auto-generated\r\n\r\n"...) // RFC 3834 §5: nobody answers
	const line = "the post rider carried the mail from post to post and changed horses at each\r\n"
	body := int(s) - len(b)
	// The short line comes first, and the end is the end of a line. One octet is
	// no room for a CRLF: there the first line is one longer.
	if first := body % len(line); first > 1 {
		b = append(b, line[len(line)-first:]...)
	} else if first == 1 {
		b = append(b, 'x')
	}
	for len(b) < int(s) {
		b = append(b, line...)
	}
	return b
}

// addresses are the recipients of a message.
func (c *benchCmd) addresses() []string {
	if c.Recipients == 1 {
		return []string{c.To}
	}
	at := strings.LastIndexByte(c.To, '@')
	to := make([]string, c.Recipients)
	for i := range to {
		to[i] = c.To[:at] + strconv.Itoa(i+1) + c.To[at:]
	}
	return to
}

// load is a load test underway.
type load struct {
	lane       *lane
	messages   int64
	duration   time.Duration
	goroutines int // 0: SendAll
	ahead      int // by how many messages SendAll may be ahead of the results
	kinds      []*postrider.Message
	limiter    *rate.Limiter

	start time.Time
	begun atomic.Int64
	stop  context.CancelCauseFunc // ends the intake
	meter *meter
}

// ahead is by how many messages SendAll may be ahead of the results. SendAll would take more, but a long queue says
// nothing about the MTA: it makes each message look slow, and has to be sent when the time is over. So it gets what
// fills the wire twice.
func (c *benchCmd) ahead() int {
	return max(2, min(2*cmp.Or(c.Window, postrider.DefaultWindow),
		2*postrider.DefaultWindowOctets/int(slices.Max(c.Size))))
}

func (c *benchCmd) load(via *lane, m *meter) *load {
	l := &load{
		lane: via, messages: int64(c.Messages), duration: c.Duration, goroutines: c.Goroutines,
		ahead: c.ahead(), limiter: rate.NewLimiter(rate.Inf, 0), meter: m,
	}
	if c.pace > 0 {
		// Timers are late by a millisecond or so. What is allowed in ten may be
		// made up for, or no high rate would be reached.
		l.limiter = rate.NewLimiter(rate.Limit(c.pace), max(1, int(c.pace/100)))
	}
	to, from := c.addresses(), strings.TrimPrefix(c.Sender, "<>")
	for _, s := range c.Size {
		kind := &postrider.Message{From: from, To: to, Content: postrider.Bytes(s.content(time.Now()))}
		l.kinds, m.sizes[kind] = append(l.kinds, kind), s
	}
	l.start = time.Now()
	return l
}

// next returns a message when it is time for it, and nil when there is no other, or when ctx is done or would be before
// its time.
func (l *load) next(ctx context.Context) *postrider.Message {
	n := l.begun.Add(1)
	if n > l.messages || l.limiter.Wait(ctx) != nil {
		return nil
	}
	return l.kinds[(n-1)%int64(len(l.kinds))]
}

// Why a load test ended, as the report says it.
const (
	endMessages  = "messages"
	endDuration  = "duration"
	endInterrupt = "interrupt"
	endError     = "error"
)

// grace is how long the MTA may be silent when the time is over and messages are
// still underway. What is left then is Untried or Unknown.
const grace = 10 * time.Second

var errLate = fmt.Errorf("the time is over, and the MTA has not answered for %v: %w", grace, context.DeadlineExceeded)

// run sends until it is enough, and returns what ended it. The error is what ended it early; what became of single
// messages is in the meter.
func (l *load) run(ctx context.Context) (ended string, err error) {
	bounded, cancel := context.WithTimeout(ctx, l.duration)
	defer cancel()
	intake, stop := context.WithCancelCause(bounded)
	l.stop = stop
	if err = l.first(ctx); err == nil {
		sending, cancel := l.outlast(intake)
		defer cancel()
		l.rest(sending, intake)
		if cause := context.Cause(intake); errors.As(cause, new(*postrider.Error)) {
			err = cause
		}
	}
	return l.ended(ctx, err), err
}

// first sends one message, to see whether there is any point in going on.
func (l *load) first(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.duration+grace, errLate)
	defer cancel()
	m := l.next(ctx)
	if m == nil {
		return context.Cause(ctx)
	}
	start := time.Now()
	r, err := l.lane.Send(ctx, m)
	l.record(start, r, err)
	switch {
	case r.Count(postrider.Accepted) > 0:
		return nil
	case r.Count(postrider.Untried)+r.Count(postrider.Unknown) > 0:
		return err
	}
	return fmt.Errorf("the first message was not accepted, and no other was sent: %s", r.Outcomes[0])
}

// rest sends all others. What intake has let begin, sending lets end.
func (l *load) rest(sending, intake context.Context) {
	if l.goroutines == 0 {
		l.stream(sending, intake)
		return
	}
	var all sync.WaitGroup
	for range l.goroutines {
		all.Go(func() { l.loop(sending, intake) })
	}
	all.Wait()
}

// loop is one goroutine that calls Send.
func (l *load) loop(sending, intake context.Context) {
	for m := l.next(intake); m != nil; m = l.next(intake) {
		start := time.Now()
		r, err := l.lane.Send(sending, m)
		l.record(start, r, err)
	}
}

// stream lets SendAll have the messages, as far ahead of the results as makes
// sense.
func (l *load) stream(sending, intake context.Context) {
	// Results come in the order of the messages, and so do their beginnings.
	room, handed := make(chan struct{}, l.ahead), make(chan time.Time, l.ahead)
	var messages iter.Seq[*postrider.Message] = func(yield func(*postrider.Message) bool) {
		for {
			room <- struct{}{}
			m := l.next(intake)
			if m == nil {
				return
			}
			handed <- time.Now()
			if !yield(m) {
				return
			}
		}
	}
	for r, err := range l.lane.sendAll(sending, messages) {
		l.record(<-handed, r, err)
		<-room
	}
}

// record enters a result. A server that cannot be reached any more is not tried a hundred thousand times.
func (l *load) record(start time.Time, r *postrider.Result, err error) {
	l.meter.record(time.Since(start), r, err)
	if e := (*postrider.Error)(nil); errors.As(err, &e) && e.Stage == postrider.StageConnect {
		l.stop(err)
	}
}

func (l *load) ended(ctx context.Context, err error) string {
	switch {
	case ctx.Err() == nil && err != nil:
		return endError
	case l.meter.count() == l.messages:
		return endMessages
	case ctx.Err() != nil:
		return endInterrupt
	}
	return endDuration
}

// outlast returns a context for what was begun before intake is done: it is finished, unless the MTA falls silent.
func (l *load) outlast(intake context.Context) (context.Context, context.CancelFunc) {
	sending, cancel := context.WithCancelCause(context.WithoutCancel(intake))
	stop := context.AfterFunc(intake, func() {
		for n := int64(-1); n != l.meter.count(); {
			n = l.meter.count()
			select {
			case <-time.After(grace):
			case <-sending.Done():
				return
			}
		}
		cancel(errLate)
	})
	return sending, func() { stop(); cancel(nil) }
}

// progress is how far it is.
func (l *load) progress(passed time.Duration) string {
	n := l.meter.count()
	return fmt.Sprintf("%d of %d messages, %v of %v, %.0f a second",
		n, l.messages, passed.Truncate(time.Second), l.duration, float64(n)/passed.Seconds())
}

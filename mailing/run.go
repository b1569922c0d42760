package mailing

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/detach"
)

// patience is after how many failures in a row no other Send begins.
const patience = 3

// run is a Deliver underway. The caller's goroutine owns all of it, and hands jobs to workers that build and send.
type run struct {
	ctx      context.Context // the caller's: no Send begins when it is done
	sending  context.Context // of what is underway
	delivery *Delivery
	sender   postrider.Sender
	report   *Report
	begun    time.Time

	next    func() (Part, bool)
	held    *job     // the next to be begun
	waiting schedule // for another try
	pause   time.Time
	flying  int
	work    chan *job
	done    chan *job

	failures int   // in a row
	era      int   // a failure counts only if it began in this one
	ending   error // why no other Send begins
	fault    error // the last that left a recipient Untried or Unknown
	refusal  error // the last other one
}

// job is a part that is to be sent, or to be tried again for some of its recipients.
type job struct {
	part    Part
	owed    []int // positions in part.Index; nil: all
	number  int
	due     time.Time
	era     int
	attempt *Attempt // made by the worker
	sent    bool     // handed to the Sender: Before did not refuse
	err     error    // why the worker could not send at all: the plan's fault
}

// schedule is a heap of jobs, the first due on top.
type schedule []*job

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push is heap.Interface's.
func (s *schedule) Push(x any) { *s = append(*s, x.(*job)) }

// Pop is heap.Interface's.
func (s *schedule) Pop() any {
	old := *s
	j := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	return j
}

func newRun(ctx context.Context, d *Delivery, s postrider.Sender, report *Report) *run {
	return &run{
		ctx: ctx, delivery: d, sender: s, report: report, begun: time.Now(),
		work: make(chan *job), done: make(chan *job),
	}
}

// deliver runs the plan to its end.
func (r *run) deliver(parts iter.Seq[Part]) {
	var stop func()
	r.next, stop = iter.Pull(parts)
	defer stop()
	var release func()
	r.sending, release = r.drained()
	defer release()

	n := r.delivery.Concurrency
	if n <= 0 {
		n = 64
	}
	var workers sync.WaitGroup
	for range min(n, len(r.report.Outcomes)) {
		workers.Go(func() {
			for j := range r.work {
				r.try(j)
				r.done <- j
			}
		})
	}
	r.loop()
	close(r.work)
	workers.Wait()
	r.leave()
}

// drained is the context of what is underway, which outlives the caller's by Drain.
func (r *run) drained() (context.Context, func()) {
	if r.delivery.Drain <= 0 {
		return r.ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.ctx))
	over := make(chan struct{})
	var timer sync.WaitGroup
	timer.Go(func() {
		select {
		case <-over:
			return
		case <-r.ctx.Done():
		}
		t := time.NewTimer(r.delivery.Drain)
		defer t.Stop()
		select {
		case <-over:
		case <-t.C:
			cancel(context.Cause(r.ctx))
		}
	})
	return ctx, func() { close(over); timer.Wait(); cancel(nil) }
}

// loop hands out jobs and takes them back until there are none.
func (r *run) loop() {
	cancelled := r.ctx.Done()
	for {
		var work chan<- *job
		wait, more := r.prepare()
		switch {
		case !more && r.flying == 0:
			return
		case wait == 0 && r.held != nil:
			work, r.held.era = r.work, r.era
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case work <- r.held:
			r.held = nil
			r.flying++
		case j := <-r.done:
			r.flying--
			r.settle(j)
		case <-timer:
		case <-cancelled:
			cancelled = nil
			r.end(context.Cause(r.ctx))
		}
	}
}

// prepare holds the next job, if there is one that can begin now. If there is one only later, wait is the time until
// then.
func (r *run) prepare() (wait time.Duration, more bool) {
	now := time.Now()
	switch {
	case r.ending != nil:
		return 0, false
	case r.ctx.Err() != nil:
		r.end(context.Cause(r.ctx))
		return 0, false
	case now.Before(r.pause):
		return r.pause.Sub(now), true
	case r.held != nil:
		return 0, true
	case len(r.waiting) > 0 && !now.Before(r.waiting[0].due):
		r.held = heap.Pop(&r.waiting).(*job)
		return 0, true
	}
	if part, ok := r.next(); ok {
		r.held = &job{part: part, number: 1}
		return 0, true
	}
	if len(r.waiting) > 0 {
		return r.waiting[0].due.Sub(now), true
	}
	return 0, false
}

// end keeps other Sends from beginning.
func (r *run) end(why error) {
	if r.ending == nil {
		r.ending, r.held = why, nil
	}
}

// try builds a job's message and sends it, on a worker's goroutine.
func (r *run) try(j *job) {
	m, err := detach.Until(r.sending, j.part.Build, nil) // Build may read the content
	if err != nil && r.sending.Err() != nil && err == context.Cause(r.sending) {
		r.giveUp(j, err)
		return
	}
	if err == nil && len(m.To) != len(j.part.Index) {
		err = fmt.Errorf("the plan made a message for %d recipients from a part of %d", len(m.To), len(j.part.Index))
	}
	if err != nil {
		j.err = err
		return
	}
	a := &Attempt{Index: j.places(), Message: m, Number: j.number}
	if j.owed != nil {
		a.Message = addressed(m, j.owed)
	}
	j.attempt = a
	if before := r.delivery.Before; before != nil {
		if err := before(r.ctx, a); err != nil {
			a.Result, a.Err = undecided(a.Message, err), err
			return
		}
	}
	j.sent = true
	a.Result, a.Err = r.sender.Send(r.sending, a.Message)
	a.Result = r.complete(a)
	if after := r.delivery.After; after != nil {
		after(a)
	}
}

// giveUp ends a job whose message was not made before the context was done.
func (r *run) giveUp(j *job, err error) {
	places := j.places()
	m := addressed(r.report.Message, places)
	j.attempt = &Attempt{Index: places, Message: m, Number: j.number, Result: undecided(m, err), Err: err}
}

// places are those of a job's recipients in the delivered message.
func (j *job) places() []int {
	if j.owed == nil {
		return j.part.Index
	}
	places := make([]int, len(j.owed))
	for i, at := range j.owed {
		places[i] = j.part.Index[at]
	}
	return places
}

// undecided is the Result of a message that was not sent.
func undecided(m *postrider.Message, err error) *postrider.Result {
	result := &postrider.Result{Message: m}
	for _, to := range m.To {
		result.Outcomes = append(result.Outcomes, postrider.Outcome{Recipient: to, State: postrider.Untried, Err: err})
	}
	return result
}

// complete is the Result of a Sender. One that broke its contract leaves every recipient Unknown.
func (r *run) complete(a *Attempt) *postrider.Result {
	if a.Result != nil && len(a.Result.Outcomes) == len(a.Message.To) {
		return a.Result
	}
	a.Err = errors.Join(a.Err, errors.New("the sender did not report what became of each recipient"))
	result := undecided(a.Message, a.Err)
	for i := range result.Outcomes {
		result.Outcomes[i].State = postrider.Unknown
	}
	return result
}

// settle enters what became of a job, and plans another try for the recipients who are worth it.
func (r *run) settle(j *job) {
	if j.err != nil {
		r.refuse(j)
		return
	}
	a := j.attempt
	if j.sent {
		r.report.Sends++
	}
	r.report.transactions = append(r.report.transactions, a.Result.Transactions...)
	untried, again := 0, []int(nil)
	for i := range a.Result.Outcomes {
		o := &a.Result.Outcomes[i]
		r.report.enter(a.Index[i], o)
		if o.State == postrider.Untried {
			untried++
		}
		if r.delivery.Retry.again(o) {
			again = append(again, position(j.owed, i))
		}
	}
	r.note(a)
	r.observe(j, untried == len(a.Result.Outcomes))
	r.retry(j, again)
}

// refuse enters that a job's message cannot be made: for the recipients of this try, and not for those who have it from
// an earlier one.
func (r *run) refuse(j *job) {
	r.refusal = j.err
	n := len(j.owed)
	if j.owed == nil {
		n = len(j.part.Index)
	}
	for i := range n {
		refused := &postrider.Outcome{State: postrider.Refused, Stage: postrider.StageLocal, Err: j.err}
		r.report.enter(j.part.Index[position(j.owed, i)], refused)
	}
}

func position(owed []int, i int) int {
	if owed == nil {
		return i
	}
	return owed[i]
}

// note keeps the error that Deliver may have to return.
func (r *run) note(a *Attempt) {
	switch {
	case a.Err == nil:
	case a.Result.Count(postrider.Untried)+a.Result.Count(postrider.Unknown) > 0:
		r.fault = a.Err
	default:
		r.refusal = a.Err
	}
}

// observe counts failures in a row. Those that were underway together count as one, because they have one cause.
func (r *run) observe(j *job, failed bool) {
	switch {
	case !failed:
		r.failures = 0
		return
	case j.era != r.era || r.ctx.Err() != nil:
		return
	}
	r.era++
	if r.failures++; r.failures < patience {
		return
	}
	until := time.Now().Add(r.delivery.Retry.wait(r.failures-patience+1, rand.Float64()))
	if until.After(r.begun.Add(r.delivery.Retry.For)) {
		r.end(j.attempt.Err)
		return
	}
	r.pause = until
}

// retry schedules another try for some of a job's recipients.
func (r *run) retry(j *job, again []int) {
	if len(again) == 0 {
		return
	}
	due := time.Now().Add(r.delivery.Retry.wait(j.number, rand.Float64()))
	if due.After(r.begun.Add(r.delivery.Retry.For)) {
		return
	}
	heap.Push(&r.waiting, &job{part: j.part, owed: again, number: j.number + 1, due: due})
}

// leave enters the recipients whose turn never came.
func (r *run) leave() {
	why := r.ending
	if why == nil {
		why = errors.New("the plan has no part for this recipient")
	}
	for i, known := range r.report.known {
		if !known {
			r.report.enter(i, &postrider.Outcome{State: postrider.Untried, Stage: postrider.StageLocal, Err: why})
			r.fault = why
		}
	}
}

// err is the error of the delivery as a whole, like a Sender's.
func (r *run) err() error {
	c := r.report
	switch {
	case c.Count(postrider.Untried)+c.Count(postrider.Unknown) > 0 && r.fault != nil:
		return r.fault
	case c.Count(postrider.Untried)+c.Count(postrider.Unknown) > 0:
		return errors.New("the sender left recipients undecided without an error")
	case c.Count(postrider.Accepted) > 0:
		return nil
	case r.refusal == nil:
		return errors.New("no recipient was accepted")
	}
	return r.refusal
}

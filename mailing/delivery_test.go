package mailing_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mailing"
	"github.com/postrider/postrider/smtptest"
)

func connect(t *testing.T, server *smtptest.Server) *postrider.Connection {
	t.Helper()
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Fact 99
func TestNobodyIsNothing(t *testing.T) {
	sender := &fake{}
	var log strings.Builder
	d := mailing.Delivery{Plan: mailing.Bulk(0), Log: mailing.Log{Writer: &log}}
	report, err := d.Deliver(t.Context(), sender, message())
	if err != nil || len(report.Outcomes) != 0 || sender.count() != 0 || log.Len() != 0 {
		t.Errorf("%v, %v, %d messages, %q", report, err, sender.count(), &log)
	}
	if _, err := d.Sender(sender).Send(t.Context(), message()); err == nil {
		t.Error("as a Sender it has to be an error")
	}
}

// Fact 101: Mailman makes a connection for each message of a list.
//
// Facts 100, 101
func TestChunksOfSeveralMessagesShareAConnection(t *testing.T) {
	server := smtptest.NewServer()
	t.Cleanup(server.Close)
	conn := connect(t, server)
	for range 2 {
		for _, plan := range []mailing.Plan{mailing.Bulk(2), mailing.Individual(nil, mailing.VERP{}.Edit())} {
			report, err := (&mailing.Delivery{Plan: plan}).Deliver(t.Context(), conn,
				message("a@x.com", "b@x.com", "c@x.com"))
			if err != nil || states(report) != "accepted accepted accepted" {
				t.Fatal(states(report), err)
			}
		}
	}
	if n := server.Transactions(); n != 2*(2+3) {
		t.Errorf("%d transactions", n)
	}
	if server.ConnectionCount() != 1 {
		t.Errorf("%d connections", server.ConnectionCount())
	}
}

// The join is exact: each of 1,000 recipients, a tenth of them twice, has the outcome
// of its own address at its own place.
func TestOutcomesStandWhereTheCallersRecipientsDo(t *testing.T) {
	var to []string
	for i := range 1000 {
		to = append(to, fmt.Sprintf("p%d@%s", i-i%10/9, []string{"x.com", "y.net", "z.de"}[i%3]))
	}
	sender := &fake{verdict: func(_ *postrider.Message, to string) postrider.Outcome {
		o := refused(postrider.StageRcpt, 550, to)
		if strings.HasPrefix(to, "p1") {
			o.State, o.Reply.Code = postrider.Accepted, 250
		}
		return o
	}}
	for name, plan := range map[string]mailing.Plan{
		"bulk": mailing.Bulk(7), "by domain": mailing.ByDomain(7), "individual": mailing.Individual(nil),
		"whole": mailing.Whole,
	} {
		report, err := (&mailing.Delivery{Plan: plan}).Deliver(t.Context(), sender, message(to...))
		if err != nil || len(report.Outcomes) != len(to) {
			t.Fatal(name, err, len(report.Outcomes))
		}
		for i, o := range report.Outcomes {
			if o.Recipient != to[i] || o.Reply.Text != to[i] {
				t.Fatalf("%s: outcome %d is %v; want that of %s", name, i, o, to[i])
			}
		}
	}
}

// Fact 103
func TestTheSplit(t *testing.T) {
	for _, c := range []struct {
		o         postrider.Outcome
		temporary bool
		permanent bool
	}{
		{refused(postrider.StageRcpt, 550, ""), false, true},
		{refused(postrider.StageMail, 500, ""), false, true},
		{refused(postrider.StageRcpt, 450, ""), true, false},
		{refused(postrider.StageContent, 499, ""), true, false},
		{refused(postrider.StageRcpt, 552, "5.2.2 mailbox full"), true, false},
		{refused(postrider.StageMail, 552, "5.3.4 too big"), false, true},
		{refused(postrider.StageContent, 552, "5.3.4 too big"), false, true},
		{postrider.Outcome{State: postrider.Refused, Stage: postrider.StageLocal, Err: errors.New("no address")},
			false, true},
		{untried(), true, false},
		{postrider.Outcome{State: postrider.Unknown, Stage: postrider.StageContent}, false, false},
		{accepted, false, false},
	} {
		if mailing.Temporary(c.o) != c.temporary || mailing.Permanent(c.o) != c.permanent {
			t.Errorf("%v: temporary %v, permanent %v", c.o, mailing.Temporary(c.o), mailing.Permanent(c.o))
		}
	}
}

// Mailman sorts recipients, and takes the list's bounces address for the sender.
//
// Fact 104
func TestSenderAndOrderAreTheCallers(t *testing.T) {
	sender := &fake{}
	m := message("z@x.com", "a@x.com", "m@x.com", "a@x.com")
	if _, err := (&mailing.Delivery{Plan: mailing.Bulk(10)}).Deliver(t.Context(), sender, m); err != nil {
		t.Error(err)
	}
	equal(t, "recipients", sender.sent[0].To, []string{"z@x.com", "a@x.com", "m@x.com", "a@x.com"})
	if sender.sent[0].From != m.From {
		t.Errorf("the sender is <%s>", sender.sent[0].From)
	}
}

// Mailman shunts a message that it cannot make, whoever has got it by then.
//
// Fact 107
func TestAMessageThatCannotBeMadeIsNobodysElses(t *testing.T) {
	odd := mailing.Edit{Apply: func(c *mailing.Draft) error {
		if c.Recipient.Address == "b@x.com" {
			return errors.New("odd")
		}
		return nil
	}}
	sender := &fake{}
	report, err := (&mailing.Delivery{Plan: mailing.Individual(nil, odd)}).Deliver(t.Context(), sender,
		message("a@x.com", "b@x.com", "c@x.com"))
	if states(report) != "accepted refused accepted" || err != nil || sender.count() != 2 ||
		report.Outcomes[1].Stage != postrider.StageLocal {
		t.Errorf("%s, %v", states(report), err)
	}
}

// The examples of Mailman's bulk.rst, where any failure is everybody's and made up of
// the text of an exception.
//
// Facts 105, 106
func TestFailuresOfTheDocuments(t *testing.T) {
	for _, c := range []struct {
		command string
		code    int
		nth     int
		want    string
	}{
		{"RCPT", 500, 3, "refused"}, {"MAIL", 450, 1, "deferred"}, {"MAIL", 500, 1, "refused"},
	} {
		server := smtptest.NewServer()
		conn := connect(t, server)
		for range c.nth {
			server.QueueError(c.command, c.code)
		}
		report, err := (&mailing.Delivery{Plan: mailing.Bulk(0)}).Deliver(t.Context(), conn,
			message("a@x.com", "b@x.com", "c@x.com"))
		if want := strings.Join([]string{c.want, c.want, c.want}, " "); states(report) != want || err == nil ||
			len(server.Messages()) != 0 {
			t.Errorf("%+v: %s, %v", c, states(report), err)
		}
		for _, o := range report.Outcomes {
			if o.Reply.Code != c.code {
				t.Errorf("%+v: %v", c, o)
			}
		}
		conn.Close()
		server.Close()
	}
}

// Mailman: 444 for everybody.
//
// Fact 105
func TestADeadServerDecidesNobody(t *testing.T) {
	server := smtptest.NewServer()
	conn := connect(t, server)
	server.Close()
	report, err := (&mailing.Delivery{Plan: mailing.Individual(nil)}).Deliver(t.Context(), conn,
		message("a@x.com", "b@x.com"))
	var e *postrider.Error
	if states(report) != "untried untried" || !errors.As(err, &e) || e.Stage != postrider.StageConnect {
		t.Errorf("%s, %v", states(report), err)
	}
}

// Mailman loses the whole chunk.
//
// Fact 85
func TestAnInternationalRecipientLosesNobodyElse(t *testing.T) {
	server := smtptest.NewUnstartedServer()
	server.Extensions.SMTPUTF8 = false
	server.Start()
	t.Cleanup(server.Close)
	conn := connect(t, server)
	m := message("a@x.com", "grüße@x.com", "b@bücher.example", "not an address", "c@x.com")
	report, err := (&mailing.Delivery{Plan: mailing.Bulk(0)}).Deliver(t.Context(), conn, m)
	if states(report) != "accepted refused accepted refused accepted" || err != nil {
		t.Errorf("%s, %v", states(report), err)
	}
}

// Fact 110
func TestAFailingChunkDoesNotStopTheRest(t *testing.T) {
	server := smtptest.NewServer()
	t.Cleanup(server.Close)
	conn := connect(t, server)
	server.Inject(smtptest.Fault{Command: "MAIL", Nth: 1, Reply: "550 no"},
		smtptest.Fault{Command: "MAIL", Nth: 2, Then: smtptest.ThenClose})
	d := mailing.Delivery{Plan: mailing.Bulk(2), Concurrency: 1}
	report, _ := d.Deliver(t.Context(), conn, message(numbered(8, "p%d@x.com")...))
	if got := report.Count(postrider.Accepted); got < 4 || report.Count(postrider.Refused) != 2 {
		t.Errorf("%s", states(report))
	}
}

// A server that is not there is not asked for each of 1,000 messages. The rest is
// Untried, for the same reason.
//
// Fact 110
func TestADeadServerIsNotAskedForEver(t *testing.T) {
	for _, concurrency := range []int{1, 50} {
		sender := &fake{verdict: func(*postrider.Message, string) postrider.Outcome { return untried() }}
		d := mailing.Delivery{Plan: mailing.Individual(nil), Concurrency: concurrency}
		report, err := d.Deliver(t.Context(), sender, message(numbered(1000, "p%d@x.com")...))
		if report.Count(postrider.Untried) != 1000 || !errors.Is(err, errNetwork) ||
			!errors.Is(report.Outcomes[999].Err, errNetwork) {
			t.Errorf("%v, last: %v", err, report.Outcomes[999])
		}
		if n := sender.count(); n < 3 || n > 4*concurrency {
			t.Errorf("%d tries with %d at a time", n, concurrency)
		}
	}
}

// What is underway when the server goes fails together, and is one failure.
//
// Fact 110
func TestAWireThatIsLostDoesNotStopTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost, up := make(chan struct{}), make(chan struct{})
		var n atomic.Int32
		sender := &fake{verdict: func(*postrider.Message, string) postrider.Outcome {
			if n.Add(1) <= 10 {
				<-lost
				return untried()
			}
			<-up
			return accepted
		}}
		go func() {
			synctest.Wait()
			close(lost)
			synctest.Wait()
			close(up)
		}()
		d := mailing.Delivery{Plan: mailing.Individual(nil), Concurrency: 10}
		report, err := d.Deliver(t.Context(), sender, message(numbered(100, "p%d@x.com")...))
		if report.Count(postrider.Accepted) != 90 || report.Count(postrider.Untried) != 10 ||
			!errors.Is(err, errNetwork) {
			t.Errorf("%d accepted, %v", report.Count(postrider.Accepted), err)
		}
	})
}

// Fact 111
func TestRefusalsOfIndividualMessagesAreTheirOwn(t *testing.T) {
	server := smtptest.NewServer()
	t.Cleanup(server.Close)
	server.Inject(smtptest.Fault{Command: "DATA", Nth: 2, Reply: "554 5.7.1 not this one"})
	d := mailing.Delivery{Plan: mailing.Individual(nil, mailing.PersonalTo()), Concurrency: 1}
	report, err := d.Deliver(t.Context(), connect(t, server), message("a@x.com", "b@x.com", "c@x.com"))
	if states(report) != "accepted refused accepted" || err != nil {
		t.Errorf("%s, %v", states(report), err)
	}
}

func TestRetriesAreSpacedAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		tries := map[string][]time.Duration{}
		sender := &fake{verdict: func(m *postrider.Message, to string) postrider.Outcome {
			mu.Lock()
			defer mu.Unlock()
			tries[to] = append(tries[to], time.Since(start))
			switch n := len(tries[to]); {
			case to == "never@x.com", to == "greylisted@x.com" && n < 3, to == "full@x.com" && n < 2:
				if to == "full@x.com" {
					return refused(postrider.StageRcpt, 552, "5.2.2 mailbox full")
				}
				return refused(postrider.StageRcpt, 451, "4.7.1 later")
			case to == "dead@x.com":
				return refused(postrider.StageRcpt, 550, "5.1.1 no such user")
			}
			return accepted
		}}
		d := mailing.Delivery{Plan: mailing.Bulk(0), Retry: mailing.Retry{For: 2 * time.Hour}}
		report, err := d.Deliver(t.Context(), sender, message("ok@x.com", "greylisted@x.com", "never@x.com",
			"dead@x.com", "full@x.com"))
		if states(report) != "accepted accepted deferred refused accepted" || err != nil {
			t.Errorf("%s, %v", states(report), err)
		}
		if len(tries["ok@x.com"]) != 1 || len(tries["dead@x.com"]) != 1 || len(tries["greylisted@x.com"]) != 3 ||
			len(tries["full@x.com"]) != 2 {
			t.Errorf("%v", tries)
		}
		// 1, 2, 4 … 30 minutes, a quarter more or less each.
		never := tries["never@x.com"]
		for i, want := 1, time.Minute; i < len(never); i, want = i+1, min(2*want, 30*time.Minute) {
			if wait := never[i] - never[i-1]; wait < want*3/4 || wait > want*5/4 {
				t.Errorf("wait %d is %v; want about %v", i, wait, want)
			}
		}
		if last := never[len(never)-1]; len(never) < 6 || last > 2*time.Hour || report.Took > 2*time.Hour {
			t.Errorf("%d tries, the last after %v; in all %v", len(never), last, report.Took)
		}
	})
}

// Not everything that failed at one moment comes back at one moment.
func TestRetriesAreJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		times := map[time.Time]bool{}
		sender := &fake{verdict: func(*postrider.Message, string) postrider.Outcome {
			mu.Lock()
			defer mu.Unlock()
			times[time.Now()] = true
			return refused(postrider.StageRcpt, 450, "later")
		}}
		d := mailing.Delivery{Plan: mailing.Individual(nil), Retry: mailing.Retry{For: 80 * time.Second}}
		_, _ = d.Deliver(t.Context(), sender, message(numbered(20, "p%d@x.com")...))
		if len(times) < 15 {
			t.Errorf("20 messages were tried again at %d moments", len(times)-1)
		}
	})
}

func TestAServerThatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		sender := &fake{verdict: func(*postrider.Message, string) postrider.Outcome {
			if time.Since(start) < 20*time.Minute {
				return untried()
			}
			return accepted
		}}
		d := mailing.Delivery{Plan: mailing.Individual(nil), Concurrency: 10, Retry: mailing.Retry{For: time.Hour}}
		report, err := d.Deliver(t.Context(), sender, message(numbered(1000, "p%d@x.com")...))
		if report.Count(postrider.Accepted) != 1000 || err != nil {
			t.Errorf("%d accepted, %v", report.Count(postrider.Accepted), err)
		}
		if failed := report.Sends - 1000; failed > 200 {
			t.Errorf("%d tries while the server was away", failed)
		}
	})
}

func TestUnknownIsSentAgainByPolicyOnly(t *testing.T) {
	for _, resend := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			sender := &fake{verdict: func(*postrider.Message, string) postrider.Outcome {
				if n.Add(1) == 1 {
					return postrider.Outcome{State: postrider.Unknown, Stage: postrider.StageContent, Err: errNetwork}
				}
				return accepted
			}}
			d := mailing.Delivery{Retry: mailing.Retry{For: time.Hour, Unknown: resend}}
			report, err := d.Deliver(t.Context(), sender, message("a@x.com"))
			if want := map[bool]string{false: "unknown", true: "accepted"}[resend]; states(report) != want ||
				(err == nil) != resend {
				t.Errorf("resend %v: %s, %v", resend, states(report), err)
			}
		})
	}
}

// gate is a Sender whose Sends wait.
type gate struct {
	fake
	open    chan struct{}
	now     atomic.Int32
	highest atomic.Int32
}

func (g *gate) Send(ctx context.Context, m *postrider.Message) (*postrider.Result, error) {
	n := g.now.Add(1)
	defer g.now.Add(-1)
	for h := g.highest.Load(); n > h && !g.highest.CompareAndSwap(h, n); h = g.highest.Load() {
	}
	select {
	case <-g.open:
		return g.fake.Send(ctx, m)
	case <-ctx.Done():
		o := postrider.Outcome{Recipient: m.To[0], State: postrider.Unknown, Stage: postrider.StageContent,
			Err: context.Cause(ctx)}
		return &postrider.Result{Message: m, Outcomes: []postrider.Outcome{o}}, context.Cause(ctx)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	for limit, want := range map[int]int32{0: 64, 1: 1, 7: 7, 1000: 200} {
		synctest.Test(t, func(t *testing.T) {
			g := &gate{open: make(chan struct{})}
			go func() {
				synctest.Wait()
				close(g.open)
			}()
			d := mailing.Delivery{Plan: mailing.Individual(nil), Concurrency: limit}
			if _, err := d.Deliver(t.Context(), g, message(numbered(200, "p%d@x.com")...)); err != nil {
				t.Error(err)
			}
			if g.highest.Load() != want {
				t.Errorf("limit %d: %d at a time; want %d", limit, g.highest.Load(), want)
			}
		})
	}
}

// When the context is done nothing more is begun; what is underway has Drain to end.
func TestTheContextEndsADelivery(t *testing.T) {
	for _, c := range []struct {
		drain, need time.Duration
		want        string
	}{
		{0, time.Second, "unknown unknown untried untried"},
		{time.Minute, time.Second, "accepted accepted untried untried"},
		{time.Minute, time.Hour, "unknown unknown untried untried"},
	} {
		synctest.Test(t, func(t *testing.T) {
			why := errors.New("the user has enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			g := &gate{open: make(chan struct{})}
			go func() {
				time.Sleep(time.Second)
				cancel(why)
				time.Sleep(c.need)
				close(g.open)
			}()
			start := time.Now()
			d := mailing.Delivery{Plan: mailing.Individual(nil), Concurrency: 2, Drain: c.drain,
				Retry: mailing.Retry{For: time.Hour}}
			report, err := d.Deliver(ctx, g, message(numbered(4, "p%d@x.com")...))
			if states(report) != c.want || !errors.Is(err, why) || !errors.Is(report.Outcomes[3].Err, why) {
				t.Errorf("%+v: %s, %v, %v", c, states(report), err, report.Outcomes[3])
			}
			if took := time.Since(start); took > time.Second+max(c.drain, time.Second) {
				t.Errorf("%+v: it took %v", c, took)
			}
			<-g.open
		})
	}
}

func TestNothingIsBegunWhenTheContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		sender := &fake{}
		report, err := (&mailing.Delivery{Plan: mailing.Individual(nil)}).Deliver(ctx, sender,
			message("a@x.com", "b@x.com"))
		if sender.count() != 0 || states(report) != "untried untried" || !errors.Is(err, context.Canceled) {
			t.Fatalf("%d sent, %s, %v", sender.count(), states(report), err)
		}
	}
}

func TestTheContextEndsTheWaitForARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		sender := &fake{verdict: func(*postrider.Message, string) postrider.Outcome {
			return refused(postrider.StageRcpt, 450, "later")
		}}
		report, err := (&mailing.Delivery{Retry: mailing.Retry{For: time.Hour}}).Deliver(ctx, sender,
			message("a@x.com"))
		if states(report) != "deferred" || err == nil || report.Took != 10*time.Second {
			t.Errorf("%s, %v after %v", states(report), err, report.Took)
		}
	})
}

// Whoever keeps a journal sees each Send before it and after it.
func TestHooksSeeEverySend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		tell := func(what string, a *mailing.Attempt) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s %d %v %v", what, a.Number, a.Index, a.Message.To))
		}
		var n atomic.Int32
		sender := &fake{verdict: func(_ *postrider.Message, to string) postrider.Outcome {
			if to == "b@x.com" && n.Add(1) == 1 {
				return refused(postrider.StageRcpt, 450, "later")
			}
			return accepted
		}}
		d := mailing.Delivery{
			Retry: mailing.Retry{For: time.Hour}, Concurrency: 1, Plan: mailing.Bulk(0),
			Before: func(_ context.Context, a *mailing.Attempt) error {
				if a.Result != nil {
					t.Error("Before sees a result")
				}
				tell("before", a)
				return nil
			},
			After: func(a *mailing.Attempt) {
				if len(a.Result.Outcomes) != len(a.Index) {
					t.Errorf("%d outcomes of %d", len(a.Result.Outcomes), len(a.Index))
				}
				tell("after", a)
			},
		}
		if _, err := d.Deliver(t.Context(), sender, message("a@x.com", "b@x.com")); err != nil {
			t.Error(err)
		}
		equal(t, "hooks", told, []string{
			"before 1 [0 1] [a@x.com b@x.com]", "after 1 [0 1] [a@x.com b@x.com]", "before 2 [1] [b@x.com]",
			"after 2 [1] [b@x.com]",
		})
	})
}

func TestWhatBeforeRefusesIsNotSent(t *testing.T) {
	full := errors.New("the disk is full")
	sender := &fake{}
	d := mailing.Delivery{
		Plan:        mailing.Individual(nil),
		Concurrency: 1,
		Before: func(_ context.Context, a *mailing.Attempt) error {
			if a.Index[0] == 1 {
				return full
			}
			return nil
		},
		After: func(a *mailing.Attempt) {
			if a.Index[0] == 1 {
				t.Error("After is told of what was not sent")
			}
		},
	}
	report, err := d.Deliver(t.Context(), sender, message("a@x.com", "b@x.com", "c@x.com"))
	if states(report) != "accepted untried accepted" || !errors.Is(err, full) || sender.count() != 2 ||
		report.Sends != 2 {
		t.Errorf("%s, %v, %d sent, and %d reported", states(report), err, sender.count(), report.Sends)
	}
}

// A later try that comes to nothing takes nothing back: whoever has the message has
// it, and whoever may have it still may.
func TestATryThatIsNotSentLeavesTheEarlierOnes(t *testing.T) {
	sender := &fake{verdict: func(_ *postrider.Message, to string) postrider.Outcome {
		switch to {
		case "b@x.com":
			return refused(postrider.StageRcpt, 450, "4.2.0 later")
		case "c@x.com":
			return postrider.Outcome{State: postrider.Unknown, Stage: postrider.StageContent, Err: errNetwork}
		}
		return accepted
	}}
	gone := errors.New("the file is gone")
	tries := 0
	unmade := func(m *postrider.Message) (iter.Seq[mailing.Part], error) {
		return func(yield func(mailing.Part) bool) {
			yield(mailing.Part{Index: []int{0, 1, 2}, Build: func() (*postrider.Message, error) {
				if tries++; tries > 1 {
					return nil, gone
				}
				return m, nil
			}})
		}, nil
	}
	again := mailing.Retry{For: time.Minute + time.Minute/2, Unknown: true}
	refuse := func(_ context.Context, a *mailing.Attempt) error {
		if a.Number > 1 {
			return gone
		}
		return nil
	}
	for want, d := range map[string]mailing.Delivery{
		"accepted refused unknown": {Plan: unmade, Retry: again},
		"accepted untried unknown": {Before: refuse, Retry: again},
	} {
		synctest.Test(t, func(t *testing.T) {
			report, err := d.Deliver(t.Context(), sender, message("a@x.com", "b@x.com", "c@x.com"))
			if states(report) != want || err == nil || report.Sends != 1 {
				t.Errorf("%s, %v, %d sent; want %s", states(report), err, report.Sends, want)
			}
		})
	}
}

// A sender or a plan of somebody else's may be wrong. Nobody is lost in silence, and
// nobody is taken for accepted.
func TestFaultySendersAndPlans(t *testing.T) {
	silent := senderFunc(func(m *postrider.Message) (*postrider.Result, error) { return nil, nil })
	report, err := (&mailing.Delivery{}).Deliver(t.Context(), silent, message("a@x.com", "b@x.com"))
	if states(report) != "unknown unknown" || err == nil {
		t.Errorf("%s, %v", states(report), err)
	}
	lazy := senderFunc(func(m *postrider.Message) (*postrider.Result, error) {
		return &postrider.Result{Message: m, Outcomes: make([]postrider.Outcome, len(m.To))}, nil
	})
	if report, err = (&mailing.Delivery{}).Deliver(t.Context(), lazy,
		message("a@x.com")); states(report) != "untried" || err == nil || report.Outcomes[0].Recipient != "a@x.com" {
		t.Errorf("%s, %v", states(report), err)
	}
	plan := func(m *postrider.Message) (iter.Seq[mailing.Part], error) {
		return func(yield func(mailing.Part) bool) {
			for _, p := range []mailing.Part{
				{Index: []int{1}, Build: func() (*postrider.Message, error) {
					return nil,
						errors.New("cannot be built")
				}},
				{Index: []int{2, 77, -1}, Build: func() (*postrider.Message,
					error) {
					return message("c@x.com", "x", "y"), nil
				}},
				{Index: []int{3}, Build: func() (*postrider.Message, error) { return message(), nil }},
			} {
				if !yield(p) {
					return
				}
			}
		}, nil
	}
	report, err = (&mailing.Delivery{Plan: plan}).Deliver(t.Context(), &fake{},
		message("a@x.com", "b@x.com", "c@x.com", "d@x.com"))
	if states(report) != "untried refused accepted refused" || err == nil {
		t.Errorf("%s, %v", states(report), err)
	}
}

type senderFunc func(*postrider.Message) (*postrider.Result, error)

func (f senderFunc) Send(_ context.Context, m *postrider.Message) (*postrider.Result, error) {
	return f(m)
}

// A delivery over a Sender is a Sender, with everything that is promised of one.
func TestADeliveryIsASender(t *testing.T) {
	server := smtptest.NewServer()
	t.Cleanup(server.Close)
	server.Inject(smtptest.Fault{Command: "RCPT", Nth: 3, Reply: "550 5.1.1 no"})
	sender := (&mailing.Delivery{Plan: mailing.Bulk(2), Concurrency: 1}).Sender(connect(t, server))
	m := message("a@x.com", "b@x.com", "c@x.com")
	result, err := sender.Send(t.Context(), m)
	if err != nil || result.Message != m || len(result.Outcomes) != 3 ||
		result.Outcomes[2].State != postrider.Refused ||
		result.Count(postrider.Accepted) != 2 || len(result.Transactions) != 2 {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestTheReportCountsFailures(t *testing.T) {
	sender := &fake{verdict: func(_ *postrider.Message, to string) postrider.Outcome {
		switch to[0] {
		case 'd':
			return refused(postrider.StageRcpt, 550, "5.1.1 no such user "+to)
		case 'g':
			return refused(postrider.StageRcpt, 450, "4.2.0 greylisted\nreally\x1b[2J")
		}
		return accepted
	}}
	report, err := (&mailing.Delivery{}).Deliver(t.Context(), sender,
		message("g@x.com", "d1@x.com", "a@x.com", "d2@x.com"))
	if err != nil || report.Count(postrider.Accepted) != 1 || len(report.Failed()) != 3 || report.Sends != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	failures := report.Failures()
	if len(failures) != 2 || failures[0].Code != 550 || failures[0].Count != 2 ||
		failures[0].Example.Recipient != "d1@x.com" || failures[1].Count != 1 {
		t.Errorf("%+v", failures)
	}
	var table strings.Builder
	if err := report.WriteTable(&table); err != nil {
		t.Error(err)
	}
	want := `recipient,state,stage,code,enhanced,text
g@x.com,deferred,rcpt,450,,4.2.0 greylisted / really\x1b[2J
d1@x.com,refused,rcpt,550,,5.1.1 no such user d1@x.com
a@x.com,accepted,content,250,,
d2@x.com,refused,rcpt,550,,5.1.1 no such user d2@x.com
`
	if table.String() != want {
		t.Errorf("the table is\n%s", &table)
	}
}

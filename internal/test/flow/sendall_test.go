package flow_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// inWindowModes runs f with CHUNKING, with PIPELINING alone, and with neither.
func inWindowModes(t *testing.T, f func(t *testing.T, server func(*smtptest.Server))) {
	for name, change := range map[string]func(*smtptest.Server){
		"chunking":   chunking,
		"pipelining": func(*smtptest.Server) {},
		"neither":    func(s *smtptest.Server) { s.Extensions.Pipelining = false },
	} {
		rig.InBubble(t, name, func(t *testing.T) { f(t, change) })
	}
}

func TestSendAllGivesResultsInTheOrderOfTheSequence(t *testing.T) {
	inWindowModes(t, func(t *testing.T, server func(*smtptest.Server)) {
		r := windowSetting.Start(t, rig.Options{Server: server, Faults: []smtptest.Fault{
			{Command: "RCPT", Address: "member7@example.com", Reply: "550 5.1.1 nobody"},
			{Command: "MAIL", Nth: 30, Reply: "451 4.3.0 later"},
		}})
		messages := numberedMails(100)
		messages[50].To = nil                 // wrong in itself
		messages[51].To = []string{"no good"} // so is this
		var answers []answer
		for result, err := range r.Conn.SendAll(t.Context(), slices.Values(messages)) {
			i := len(answers)
			rig.CheckAnswer(t, messages[i], result, err)
			answers = append(answers, answer{result, err})
		}
		if len(answers) != len(messages) {
			t.Fatalf("%d results for %d messages", len(answers), len(messages))
		}
		checkTaken(r, answers)
		if s := r.Conn.Stats(); s.Accepted != 96 || s.Refused != 2 || s.Deferred != 1 || s.Dials != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Leaving the loop stops the intake; what was begun is finished, and told to
// Trace before the loop is left.
func TestLeavingALoopOverSendAll(t *testing.T) {
	inWindowModes(t, func(t *testing.T, server func(*smtptest.Server)) {
		told := map[string]int{}
		yielded := 0
		r := windowSetting.Start(t,
			rig.Options{Server: server, Faults: []smtptest.Fault{slow}, Client: func(c *postrider.Config) {
				c.Trace = rig.OnEvent(postrider.EventTransaction, func(e postrider.Event) {
					for _, o := range e.Outcomes {
						told[o.Recipient]++
					}
				})
			}})
		sequence := func(yield func(*postrider.Message) bool) {
			for i := range 10000 {
				yielded++
				if !yield(numbered(i)) {
					return
				}
			}
		}
		n := 0
		for range r.Conn.SendAll(t.Context(), sequence) {
			if n++; n == 5 {
				break
			}
		}
		if s := r.Conn.Stats(); s.InFlight != 0 || s.Queued != 0 {
			t.Errorf("something is left: %+v", s)
		}
		taken := r.Server.Messages()
		if len(taken) < 5 || len(taken) > 5+64 || yielded > 5+4*64+2 {
			t.Errorf("%d taken, %d drawn from the sequence", len(taken), yielded)
		}
		for _, m := range taken {
			if told[m.To[0]] != 1 {
				t.Errorf("%s was taken, and told %d times", m.To[0], told[m.To[0]])
			}
		}
		synctest.Wait()
		r.Accepted("next@example.com") // the connection is as good as before
	})
}

// A sequence that is fed by its own results.
func TestSendAllFedByItsOwnResults(t *testing.T) {
	inWindowModes(t, func(t *testing.T, server func(*smtptest.Server)) {
		r := windowSetting.Start(t, rig.Options{Server: server, Faults: []smtptest.Fault{slow}})
		next := make(chan int)
		sequence := func(yield func(*postrider.Message) bool) {
			for i := range next {
				if !yield(numbered(i)) {
					return
				}
			}
		}
		go func() { next <- 0 }()
		n := 0
		for _, err := range r.Conn.SendAll(t.Context(), sequence) {
			if err != nil {
				t.Error(err)
			}
			if n++; n == 20 {
				close(next)
				continue
			}
			next <- n
		}
		if n != 20 {
			t.Errorf("%d results", n)
		}
	})
}

// A sequence that blocks delays nothing that it has given already: a terminator
// does not wait for a next message.
func TestABlockingSequenceDelaysNoTerminator(t *testing.T) {
	inWindowModes(t, func(t *testing.T, server func(*smtptest.Server)) {
		r := windowSetting.Start(t, rig.Options{Server: server})
		go_ := make(chan struct{})
		sequence := func(yield func(*postrider.Message) bool) {
			for i := range 3 {
				if !yield(numbered(i)) {
					return
				}
			}
			<-go_
			yield(numbered(3))
		}
		var wg sync.WaitGroup
		results := 0
		wg.Go(func() {
			for _, err := range r.Conn.SendAll(t.Context(), sequence) {
				if err != nil {
					t.Error(err)
				}
				results++
			}
		})
		synctest.Wait()
		if n := len(r.Server.Messages()); n != 3 || results != 3 {
			t.Errorf("%d taken and %d results while the sequence blocks, want 3", n, results)
		}
		close(go_)
		wg.Wait()
		if results != 4 {
			t.Errorf("%d results", results)
		}
	})
}

// A slow loop body stops neither the reading nor what is underway.
func TestASlowBodyDelaysNothingUnderway(t *testing.T) {
	inWindowModes(t, func(t *testing.T, server func(*smtptest.Server)) {
		r := windowSetting.Start(t,
			rig.Options{Server: server, Client: func(c *postrider.Config) { c.Timeouts.Final = time.Second }})
		first := true
		for _, err := range r.Conn.SendAll(t.Context(), slices.Values(numberedMails(20))) {
			if err != nil {
				t.Error(err)
			}
			if first {
				first = false
				time.Sleep(time.Hour) // the replies are read, or Final would be over
				if n := len(r.Server.Messages()); n != 20 {
					t.Errorf("%d taken while the body sleeps, want all 20", n)
				}
			}
		}
	})
}

func TestSendAllWhoseContextEnds(t *testing.T) {
	inWindowModes(t, func(t *testing.T, server func(*smtptest.Server)) {
		r := windowSetting.Start(t, rig.Options{Server: server, Faults: []smtptest.Fault{slow}})
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		var answers []answer
		messages := numberedMails(1000)
		start := time.Now()
		for result, err := range r.Conn.SendAll(ctx, slices.Values(messages)) {
			rig.CheckAnswer(t, messages[len(answers)], result, err)
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			answers = append(answers, answer{result, err})
		}
		if took := time.Since(start); took != 5500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if unknown := checkTaken(r, answers); unknown == 0 || unknown > 64 {
			t.Errorf("%d Unknown of %d", unknown, len(answers))
		}
	})
}

// A sequence that blocks for ever is not waited for when the loop is left.
func TestLeavingALoopWhoseSequenceBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := windowSetting.Start(t, rig.Options{Server: chunking})
		release := make(chan struct{})
		sequence := func(yield func(*postrider.Message) bool) {
			yield(numbered(0))
			<-release
			if yield(numbered(1)) {
				t.Error("the sequence may go on although the loop was left")
			}
		}
		start := time.Now()
		for range r.Conn.SendAll(t.Context(), sequence) {
			break
		}
		if time.Since(start) != 0 {
			t.Error("leaving the loop waited for the sequence")
		}
		close(release) // and its goroutine ends, or the bubble would complain
	})
}

func TestAPanicOfTheSequenceComesOutOfTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := windowSetting.Start(t, rig.Options{Server: chunking})
		defer func() {
			if p := recover(); p != "no more paper" {
				t.Errorf("recovered %v", p)
			}
		}()
		var sequence iter.Seq[*postrider.Message] = func(yield func(*postrider.Message) bool) {
			yield(numbered(0))
			panic("no more paper")
		}
		for range r.Conn.SendAll(t.Context(), sequence) {
		}
		t.Error("the loop ended as if nothing had happened")
	})
}

// Large contents and one-shot readers among the others.
func TestSendAllWithLargeContents(t *testing.T) {
	inWindowModes(t, func(t *testing.T, server func(*smtptest.Server)) {
		r := windowSetting.Start(t, rig.Options{Server: server})
		large := strings.Repeat("0123456789 0123456789 0123456789\r\n.\r\n", 10000)
		messages := numberedMails(12)
		for i := range messages {
			switch i % 4 {
			case 1:
				messages[i].Content = postrider.Bytes([]byte(large))
			case 2:
				messages[i].Content = postrider.Reader(strings.NewReader(large))
			case 3:
				messages[i].Content = postrider.Func(func() (io.ReadCloser, error) {
					return io.NopCloser(strings.NewReader(large)), nil
				})
			}
		}
		for result, err := range r.Conn.SendAll(t.Context(), slices.Values(messages)) {
			if err != nil {
				t.Errorf("%s: %v", result.Message.To, err)
			}
		}
		for i, got := range r.Contents() {
			if i%4 != 0 && got != large {
				t.Errorf("message %d arrived with %d octets, want %d", i, len(got), len(large))
			}
		}
	})
}

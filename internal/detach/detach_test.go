package detach

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntilReturnsWhatTheFunctionReturns(t *testing.T) {
	for name, ctx := range map[string]context.Context{"with an end": t.Context(), "without": context.Background()} {
		got, err := Until(ctx, func() (int, error) { return 7, io.ErrNoProgress }, nil)
		if got != 7 || err != io.ErrNoProgress {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// A function that does not return is left, and what it returns in the end is given to late.
func TestUntilDoesNotWaitLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("lost interest")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer cancel()
		stuck, late := make(chan int), 0
		start := time.Now()
		got, err := Until(ctx, func() (int, error) { return <-stuck, nil }, func(n int) { late = n })
		if got != 0 || err != why || time.Since(start) != time.Second {
			t.Errorf("%v, %v after %v", got, err, time.Since(start))
		}
		stuck <- 7
		synctest.Wait()
		if late != 7 {
			t.Errorf("late got %d", late)
		}
	})
}

func TestALateErrorOrPanicIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, end := range []func() (int, error){
			func() (int, error) { return 1, io.EOF },
			func() (int, error) { panic("late") },
			func() (int, error) { runtime.Goexit(); return 1, nil },
		} {
			Until(ctx, func() (int, error) { time.Sleep(time.Minute); return end() },
				func(int) { t.Error("late was called") })
			time.Sleep(time.Hour)
		}
		Until(ctx, func() (int, error) { time.Sleep(time.Minute); return 1, nil }, func(int) { panic("in late") })
		time.Sleep(time.Hour)
	})
}

func TestAPanicIsRaisedAgain(t *testing.T) {
	defer func() {
		if p := recover(); p != io.EOF {
			t.Errorf("recovered %v", p)
		}
	}()
	Until(t.Context(), func() (int, error) { panic(io.EOF) }, nil)
}

func TestAGoexitIsAnError(t *testing.T) {
	if _, err := Until(t.Context(), func() (int, error) { runtime.Goexit(); return 1, nil }, nil); err != errExited {
		t.Errorf("%v", err)
	}
}

// Whichever comes first, the result goes one way only.
func TestAResultGoesOneWayOnly(t *testing.T) {
	for range 2000 {
		ctx, cancel := context.WithCancel(t.Context())
		late := make(chan int, 1)
		go cancel()
		got, err := Until(ctx, func() (int, error) { return 7, nil }, func(n int) { late <- n })
		if err != nil {
			got = <-late
		}
		if got != 7 {
			t.Fatalf("%v, %v", got, err)
		}
		select {
		case <-late:
			t.Fatal("it went both ways")
		default:
		}
	}
}

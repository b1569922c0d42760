package stream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/ring"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// numbers is a sequence from 1 to n, which counts how many were taken from it.
func numbers(n int, taken *int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			*taken = i + 1
			if !yield(i + 1) {
				return
			}
		}
	}
}

// sleepers carries numbers by sleeping, the even ones longer.
func sleepers(ctx context.Context) (Goroutines[int, int], context.CancelFunc) {
	waiting, leave := context.WithCancel(ctx)
	return Goroutines[int, int]{
		Begin: func(n int) func() int {
			return func() int {
				select {
				case <-time.After(time.Second * time.Duration(2-n%2)):
					return n
				case <-waiting.Done():
					return -n
				}
			}
		},
		Leave: leave,
	}, leave
}

func TestTheOrderIsThatOfTheSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by, leave := sleepers(t.Context())
		defer leave()
		var got []int
		taken := 0
		start := time.Now()
		Run(t.Context(), by, 100, numbers(50, &taken), func(j *Job[int, int]) bool {
			got = append(got, j.Result())
			return true
		})
		if len(got) != 50 || !slices.IsSorted(got) || got[0] != 1 {
			t.Errorf("got %v, want 1 to 50", got)
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("they took %v side by side, want 2s", took)
		}
	})
}

func TestTheSequenceIsNotFurtherAheadThanIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by, leave := sleepers(t.Context())
		defer leave()
		taken, got := 0, 0
		Run(t.Context(), by, 3, numbers(20, &taken), func(*Job[int, int]) bool {
			synctest.Wait()
			if got++; taken != min(20, got+3) {
				t.Errorf("%d taken at job %d, want 3 ahead", taken, got)
			}
			return true
		})
	})
}

func TestLeavingWithdrawsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by, leave := sleepers(t.Context())
		defer leave()
		taken, ended := 0, 0
		begin := by.Begin
		by.Begin = func(n int) func() int {
			call := begin(n)
			return func() int { defer func() { ended++ }(); return call() }
		}
		Run(t.Context(), by, 1, numbers(20, &taken), func(j *Job[int, int]) bool { return j.Result() < 2 })
		if ended != taken || taken > 5 {
			t.Errorf("%d were begun, %d have ended", taken, ended)
		}
	})
}

func TestASequenceThatBlocksIsNotWaitedFor(t *testing.T) {
	by, leave := sleepers(t.Context())
	defer leave()
	by.Begin = func(n int) func() int { return func() int { return n } }
	unblock, over := make(chan struct{}), make(chan struct{})
	blocking := func(yield func(int) bool) {
		defer close(over)
		yield(1)
		<-unblock
		if yield(2) {
			t.Error("the sequence is to go on although the loop was left")
		}
	}
	Run(t.Context(), by, 5, blocking, func(*Job[int, int]) bool { return false })
	close(unblock)
	<-over
}

func TestPanics(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		messages func(func(int) bool)
		begin    func(int) func() int
	}{
		"of the sequence": {
			func(yield func(int) bool) { yield(1); panic(boom) },
			func(n int) func() int { return func() int { return n } },
		},
		"of a message": {
			func(yield func(int) bool) { yield(1) },
			func(int) func() int { return func() int { panic(boom) } },
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != boom {
					t.Errorf("Run panicked with %v, want boom", p)
				}
			}()
			by := Goroutines[int, int]{Begin: c.begin, Leave: func() {}}
			Run(t.Context(), by, 5, c.messages, func(j *Job[int, int]) bool { j.Result(); return true })
			t.Error("Run returned")
		})
	}
}

// held carries numbers that end only when they are cancelled, and counts what is discarded.
type held struct {
	mu        sync.Mutex
	refused   []int
	discarded []int
}

type heldJob struct {
	n     int
	ready chan struct{}
	over  bool
}

func (h *held) Prepare(_ context.Context, n int, ready chan struct{}) (*heldJob, error) {
	if n%2 == 0 {
		return &heldJob{n: n, ready: ready}, errors.New("even")
	}
	return &heldJob{n: n, ready: ready}, nil
}

func (h *held) Start(j *heldJob, err error) {
	if err != nil {
		h.mu.Lock()
		h.refused = append(h.refused, j.n)
		h.mu.Unlock()
		h.end(j)
	}
}

func (h *held) end(j *heldJob) {
	h.mu.Lock()
	j.over = true
	h.mu.Unlock()
	ring.Signal(j.ready)
}

func (h *held) Over(j *heldJob) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return j.over
}

func (h *held) Cancel(j *heldJob)   { h.end(j) }
func (h *held) Withdraw(j *heldJob) { h.end(j) }

func (h *held) Discard(_ context.Context, j *heldJob) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.discarded = append(h.discarded, j.n)
}

// Start gets the error of Prepare; a context that is done cancels what is underway; each is discarded once.
func TestTheContextCancelsWhatIsUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		h := new(held)
		taken := 0
		var got []int
		Run(ctx, h, 3, numbers(20, &taken), func(j *heldJob) bool { got = append(got, j.n); return true })
		synctest.Wait()
		if !slices.Equal(got, []int{1, 2, 3}) || !slices.Equal(h.refused, []int{2}) {
			t.Errorf("got %v, refused %v; want 1 to 3 and 2", got, h.refused)
		}
		slices.Sort(h.discarded)
		if !slices.Equal(h.discarded, got) {
			t.Errorf("discarded %v, want each once", h.discarded)
		}
	})
}

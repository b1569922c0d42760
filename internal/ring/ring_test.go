package ring

import (
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A Ring does what a slice does that is appended to and cut at its front.
func TestARingIsAList(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	var (
		q     Ring[int]
		model []int
	)
	for i := range 5000 {
		switch op := dice.IntN(10); {
		case op < 4:
			q.Push(i)
			model = append(model, i)
		case op < 5:
			q.Unpop(i)
			model = slices.Insert(model, 0, i)
		case op < 9 && len(model) > 0:
			if front := q.Front(); front != model[0] {
				t.Fatalf("step %d: the front is %d, want %d", i, front, model[0])
			}
			if got := q.Pop(); got != model[0] {
				t.Fatalf("step %d: Pop returned %d, want %d", i, got, model[0])
			}
			model = model[1:]
		case op == 9 && i%50 == 0:
			odd := func(v int) bool { return v%2 == 1 }
			q.Remove(odd)
			model = slices.DeleteFunc(model, odd)
		}
		if q.Len() != len(model) || !slices.Equal(q.All(), model) {
			t.Fatalf("step %d: %v, want %v", i, q.All(), model)
		}
	}
}

// What was taken out is not kept alive.
func TestPopForgets(t *testing.T) {
	var q Ring[*int]
	q.Push(new(int))
	q.Pop()
	if q.ring[0] != nil {
		t.Error("the ring still points to what was taken out of it")
	}
}

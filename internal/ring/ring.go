// Package ring is a first-in, first-out list in a ring that grows and is used again.
package ring

// Ring is a first-in, first-out list. The zero value is empty and ready for use.
type Ring[T any] struct {
	ring  []T
	first int
	n     int
}

// Len returns the number of elements.
func (q *Ring[T]) Len() int { return q.n }

// At returns the element at place i, counted from the oldest.
func (q *Ring[T]) At(i int) *T { return &q.ring[(q.first+i)%len(q.ring)] }

// Front returns the oldest element; the ring must not be empty.
func (q *Ring[T]) Front() T { return *q.At(0) }

// Push adds v as the newest element.
func (q *Ring[T]) Push(v T) {
	q.grow()
	q.n++
	*q.At(q.n - 1) = v
}

// Unpop puts v before the oldest element.
func (q *Ring[T]) Unpop(v T) {
	q.grow()
	q.first = (q.first + len(q.ring) - 1) % len(q.ring)
	q.n++
	*q.At(0) = v
}

// Pop takes out the oldest element; the ring must not be empty.
func (q *Ring[T]) Pop() T {
	var zero T
	v := q.Front()
	*q.At(0) = zero // nothing is kept alive
	q.first = (q.first + 1) % len(q.ring)
	q.n--
	return v
}

// Remove takes out the elements for which gone returns true.
func (q *Ring[T]) Remove(gone func(T) bool) {
	for range q.n {
		if v := q.Pop(); !gone(v) {
			q.Push(v)
		}
	}
}

// All returns the elements, oldest first.
func (q *Ring[T]) All() []T {
	list := make([]T, q.n)
	for i := range list {
		list[i] = *q.At(i)
	}
	return list
}

func (q *Ring[T]) grow() {
	if q.n < len(q.ring) {
		return
	}
	bigger := make([]T, max(8, 2*len(q.ring)))
	for i := range q.n {
		bigger[i] = *q.At(i)
	}
	q.ring, q.first = bigger, 0
}

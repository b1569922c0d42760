package postrider

// queue is a first-in, first-out list in a ring that grows and is used again.
type queue[T any] struct {
	ring  []T
	first int
	n     int
}

func (q *queue[T]) len() int { return q.n }

func (q *queue[T]) at(i int) *T { return &q.ring[(q.first+i)%len(q.ring)] }

// front is the oldest; the queue must not be empty.
func (q *queue[T]) front() T { return *q.at(0) }

func (q *queue[T]) push(v T) {
	q.grow()
	q.n++
	*q.at(q.n - 1) = v
}

// unpop puts v before the oldest.
func (q *queue[T]) unpop(v T) {
	q.grow()
	q.first = (q.first + len(q.ring) - 1) % len(q.ring)
	q.n++
	*q.at(0) = v
}

func (q *queue[T]) pop() T {
	var zero T
	v := q.front()
	*q.at(0) = zero // nothing is kept alive
	q.first = (q.first + 1) % len(q.ring)
	q.n--
	return v
}

// remove takes out the elements for which gone is true.
func (q *queue[T]) remove(gone func(T) bool) {
	for range q.n {
		if v := q.pop(); !gone(v) {
			q.push(v)
		}
	}
}

// all lists the elements, oldest first.
func (q *queue[T]) all() []T {
	list := make([]T, q.n)
	for i := range list {
		list[i] = *q.at(i)
	}
	return list
}

func (q *queue[T]) grow() {
	if q.n < len(q.ring) {
		return
	}
	bigger := make([]T, max(8, 2*len(q.ring)))
	for i := range q.n {
		bigger[i] = *q.at(i)
	}
	q.ring, q.first = bigger, 0
}

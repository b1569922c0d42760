package pace

import (
	"math/rand/v2"
	"time"
)

// Jitter takes up to a tenth away from what a connection may do, so that several that were opened together do not end
// together. What is below 10, no limit included, stays as it is.
func Jitter[T int | time.Duration](most T) T {
	if most < 10 {
		return most
	}
	return most - rand.N(most/10+1)
}

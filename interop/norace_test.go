//go:build !race

package interop_test

import "testing"

func skipUnderRace(*testing.T) {}

// raceDetector tells those who only do less under it.
const raceDetector = false

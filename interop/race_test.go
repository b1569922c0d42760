//go:build race

package interop_test

import "testing"

// Servers that are not ours are not searched for races, and thousands of messages
// under the detector take minutes.
func skipUnderRace(t *testing.T) { t.Skip("without the race detector only") }

// raceDetector tells those who only do less under it.
const raceDetector = true

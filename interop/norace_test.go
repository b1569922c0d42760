//go:build !race

package interop_test

import "testing"

func skipUnderRace(*testing.T) {}

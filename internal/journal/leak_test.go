package journal_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) {
	if identity := os.Getenv(makerIdentity); identity != "" {
		maker(identity, os.Args[1])
	}
	goleak.VerifyTestMain(m)
}

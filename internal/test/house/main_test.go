package house_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inRoot makes the root of the module the current folder while a test runs. (What a test opens from there is part of
// what go test's cache compares; a change of folder before the tests begin would not be.)
func inRoot(t *testing.T) {
	t.Helper()
	t.Chdir("../../..")
	if _, err := os.Stat("go.mod"); err != nil {
		t.Fatal(err)
	}
}

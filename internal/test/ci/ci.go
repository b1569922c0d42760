// Package ci says whether tests are to be thorough, as in continuous integration, or quick, as for a reader who runs
// go test ./...
package ci

import "os"

// On reports whether POSTRIDER_CI is set, which .ci/run does, or CI=true, which hosts of such runs set.
func On() bool { return os.Getenv("POSTRIDER_CI") != "" || os.Getenv("CI") == "true" }

//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package journal

import (
	"errors"
	"os"
)

func tryLock(*os.File) (bool, error) {
	return false, errors.New("no way to lock a file is known on this system; do without a journal")
}

func unlock(*os.File) error { return nil }

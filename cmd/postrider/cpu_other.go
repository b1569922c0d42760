//go:build !unix

package main

import "time"

// processTime is not known here.
func processTime() (used time.Duration, ok bool) { return 0, false }

// Package words has tests of what the library shows of a server's words: in errors,
// in logs, and to hooks.
package words

// Package ending holds the tests of Quit, Shutdown and Close: what they wait for, what they break off, and
// that nothing stays behind.
package ending

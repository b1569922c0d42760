// Package content holds black-box tests of what becomes of a message's content, and of a caller's code that does not
// return.
package content

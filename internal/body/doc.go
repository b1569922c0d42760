// Package body knows where the octets of a message come from, and sees to it that they are all there: a source that can
// be read only once is not read again from the middle, and one that has promised its size gives exactly that or fails.
package body

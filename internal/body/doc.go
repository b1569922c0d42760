// Package body is the content of a message on its way: where its octets come from, and the blocks in which they go out,
// made canonical. Whatever happens, a content is sent whole or not at all: a source that can be read only once is not
// read again from the middle, one that has promised its size gives exactly that or fails, and code of the caller's that
// does not return is left behind.
package body

// Package words tests what the library shows of a conversation: in errors, in logs, and to hooks. What a server says
// is bounded and escaped, and what is secret does not appear.
package words

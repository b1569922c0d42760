// Package flow tests how mail moves over a wire: windows of pipelined transactions, SendAll, many Sends at once, the
// limits that a server has, and the memory that a large message takes.
package flow

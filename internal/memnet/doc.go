// Package memnet is a network inside the process: a listener, and connections
// with bounded buffers, deadlines, half-closing and reset, as TCP has them.
//
// The network starts no goroutine and blocks on nothing but condition variables and
// channels, so that it works inside a [testing/synctest] bubble, where time is
// fake and a real socket would keep the bubble from ever being idle. net.Pipe
// would serve there too, but it has no buffer: two ends that both write, as
// pipelining ends do, would wait for each other forever.
package memnet

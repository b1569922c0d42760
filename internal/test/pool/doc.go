// Package pool holds tests of postrider.Pool from outside: what it does to servers that ask for less, and to servers
// that come and go. All run in simulated time, on networks in memory.
package pool

package main

import (
	"net"
	"sync"
	"time"
)

// delay is a network path with a round-trip time: a proxy that hands every octet
// on after half of it. Order is kept and nothing is ever held up by what is under
// way before it, so that the path is as wide as its ends can fill it.
type delay struct {
	oneWay time.Duration
	dial   func() (net.Conn, error) // to the server
}

// serve carries connections until the listener is closed.
func (d *delay) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go d.carry(client)
	}
}

// carry serves one connection. The kernel has completed its handshake without
// any delay, so the path makes up for it: SYN, SYN ACK and ACK each take their
// time, and the server hears of the connection, and of what the client has to say,
// after the three of them (RFC 9293 §3.5).
func (d *delay) carry(client net.Conn) {
	defer client.Close()
	accepted := time.Now()
	up := newLane(d.oneWay)
	go up.fill(client)
	time.Sleep(time.Until(accepted.Add(3 * d.oneWay)))
	server, err := d.dial()
	if err != nil {
		return
	}
	defer server.Close()
	down := newLane(d.oneWay)
	go down.fill(server)
	var both sync.WaitGroup
	both.Go(func() { up.drain(server) })
	both.Go(func() { down.drain(client) })
	both.Wait()
}

// lane is one direction of a connection.
type lane struct {
	oneWay time.Duration

	mu       sync.Mutex
	arrived  sync.Cond
	underway []packet // oldest first; without a bound, as the width of the path
}

// packet is octets on their way; none is the end of the stream.
type packet struct {
	due    time.Time
	octets []byte
}

func newLane(oneWay time.Duration) *lane {
	l := &lane{oneWay: oneWay}
	l.arrived.L = &l.mu
	return l
}

// fill takes in what the connection has to say, until it ends.
func (l *lane) fill(from net.Conn) {
	buf := make([]byte, 256<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			l.put(append([]byte(nil), buf[:n]...))
		}
		if err != nil {
			l.put(nil)
			return
		}
	}
}

// put sends octets on their way, which began when they were read.
func (l *lane) put(octets []byte) {
	due := time.Now().Add(l.oneWay)
	l.mu.Lock()
	l.underway = append(l.underway, packet{due, octets})
	l.mu.Unlock()
	l.arrived.Signal()
}

// drain hands on what is due, until the stream or the receiver ends.
func (l *lane) drain(to net.Conn) {
	for {
		p := l.next()
		time.Sleep(time.Until(p.due))
		if p.octets == nil {
			if half, ok := to.(interface{ CloseWrite() error }); ok {
				half.CloseWrite()
			}
			return
		}
		if _, err := to.Write(p.octets); err != nil {
			return
		}
	}
}

// next waits for the oldest packet.
func (l *lane) next() packet {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.underway) == 0 {
		l.arrived.Wait()
	}
	p := l.underway[0]
	l.underway[0].octets = nil
	l.underway = l.underway[1:]
	return p
}

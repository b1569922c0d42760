package pool_test

import (
	"context"
	"net"
	"sync"
	"syscall"
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func refuseDial(context.Context, string, string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// gauge counts the connections that a client has open or opens.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

func newGauge() *gauge { return &gauge{} }

func (g *gauge) add(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.most = max(g.most, g.now)
}

// wrap counts the connections that dial opens, from the dial to the Close.
func (g *gauge) wrap(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		g.add(1)
		conn, err := dial(ctx, network, address)
		if err != nil {
			g.add(-1)
			return nil, err
		}
		return &gauged{Conn: conn, g: g}, nil
	}
}

type gauged struct {
	net.Conn
	g    *gauge
	once sync.Once
}

func (c *gauged) Close() error {
	c.once.Do(func() { c.g.add(-1) })
	return c.Conn.Close()
}

package main

import (
	"context"
	"iter"
	"net"
	"slices"
	"strings"

	"github.com/postrider/postrider"
)

// newPool makes the pool that a message goes to. trace, if not nil, is called for all servers; a dry pool reaches none,
// and looks up nothing.
func (r *route) newPool(trace *postrider.Trace, dry bool) (*postrider.Pool, error) {
	pool, servers := r.pool, slices.Clone(r.servers)
	for i := range servers {
		servers[i].Trace = trace
		if dry {
			servers[i].Dial = goNowhere
		}
	}
	if dry {
		pool.LookupSRV = func(context.Context, string, string, string) (string, []*net.SRV, error) {
			return "", nil, errNowhere
		}
	}
	return postrider.NewPool(pool, servers...)
}

// leave ends a pool: with QUIT, which is a courtesy to the servers, if all went
// well, and else at once. Whatever comes of it, what was sent is sent.
func leave(ctx context.Context, pool *postrider.Pool, err error) {
	if err != nil {
		pool.Close()
		return
	}
	_ = pool.Shutdown(ctx)
}

// lane is what a load test is driven through.
type lane struct {
	postrider.Sender
	sendAll func(context.Context, iter.Seq[*postrider.Message]) iter.Seq2[*postrider.Result, error] // nil for a pool
	stats   func() postrider.Stats
	leave   func(ctx context.Context, err error)
}

// pooled reports that the flags, or the configuration, ask for more than one
// Connection can do.
func (r *route) pooled() bool {
	return len(r.servers) > 1 || r.pool.MaxConnections > 1 || strings.HasPrefix(r.servers[0].Address, "srv:")
}

// lane is the Connection, which can stream, or else a pool.
func (r *route) lane() (*lane, error) {
	if r.pooled() {
		pool, err := r.newPool(nil, false)
		if err != nil {
			return nil, err
		}
		stats := func() postrider.Stats { return pool.Stats().Stats }
		end := func(ctx context.Context, err error) { leave(ctx, pool, err) }
		return &lane{Sender: pool, stats: stats, leave: end}, nil
	}
	conn, err := postrider.NewConnection(r.servers[0])
	if err != nil {
		return nil, err
	}
	return &lane{Sender: conn, sendAll: conn.SendAll, stats: conn.Stats, leave: func(ctx context.Context, err error) {
		if err == nil {
			// A courtesy to the server, which the last message may have made forget us.
			_ = conn.Quit(ctx)
		}
		conn.Close()
	}}, nil
}

package config

import (
	"context"

	"github.com/postrider/postrider"
)

// Pool says how to make a [postrider.Pool]: by [postrider.NewPool].
// The first server is that of [Config.MTA]; those that the key servers names follow in
// their order, for when those before them are down. A server without a port has the
// usual one of smtp_secure_mode. They have all else in common: TLS, its names, user
// and password. The context is that of MTA.
//
// "srv:example.com", there or as smtp_host, are the servers that the domain publishes;
// smtp_port and smtp_secure_mode have no effect on these.
func (c *Config) Pool(ctx context.Context) (pool postrider.PoolConfig, servers []postrider.Config, err error) {
	m := mta{view: c.view.Load()}
	pool.MaxConnections = get(&m, m.view.integer, "postrider", "connections")
	pool.MessageRate = get(&m, m.view.decimal, "postrider", "rate")
	if pool.MaxConnections < 0 {
		m.errs = append(m.errs, m.view.unfit("postrider", "connections", "a number from 1, or 0 for the default"))
	}
	first, err := c.mta(ctx, &m)
	if err != nil {
		return postrider.PoolConfig{}, nil, err
	}
	servers = []postrider.Config{first}
	for _, address := range words(m.text("postrider", "servers")) {
		next := first
		next.Address = address
		servers = append(servers, next)
	}
	return pool, servers, nil
}

package config

import (
	"context"

	"github.com/postrider/postrider"
)

// Pool returns the arguments for [postrider.NewPool]. The first server is that of
// [Config.MTA]. The servers in the key servers follow in their order and are used
// while those before them are down. A server without a port has the default port of
// smtp_secure_mode. All other settings are common to all servers: TLS, its names,
// user and password. The context is used like that of MTA.
//
// "srv:example.com", as a server or as smtp_host, stands for the servers that the
// domain publishes; smtp_port and smtp_secure_mode are ignored for these.
func (c *Config) Pool(ctx context.Context) (pool postrider.PoolConfig, servers []postrider.Config, err error) {
	m := mta{view: c.view.Load()}
	pool.MaxConnections = get(&m, m.view.integer, "postrider", "connections")
	pool.MessageRate = get(&m, m.view.decimal, "postrider", "rate")
	if pool.MaxConnections < 0 {
		m.errs = append(m.errs, m.view.unfit("postrider", "connections", "a number above 0, or 0 for the default"))
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

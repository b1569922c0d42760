package pool_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// domain publishes servers by SRV records that change, and some of its servers cannot be reached for a time.
type domain struct {
	servers map[string]*smtptest.Server

	mu      sync.Mutex
	records []*net.SRV
	shut    map[string]bool
}

func (d *domain) publish(records ...*net.SRV) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = records
}

func (d *domain) shutDoor(host string, shut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut[host] = shut
}

func record(host string, priority, weight uint16) *net.SRV {
	return &net.SRV{Target: host + ".", Port: 465, Priority: priority, Weight: weight}
}

func (d *domain) lookup(_ context.Context, service, _, name string) (string, []*net.SRV, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if service != "submissions" {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return name, d.records, nil
}

func (d *domain) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	d.mu.Lock()
	s, shut := d.servers[host], d.shut[host]
	d.mu.Unlock()
	if s == nil || shut {
		return refuseDial(ctx, network, address)
	}
	return s.Config().Dial(ctx, network, address)
}

// startDomain starts servers that need half a second for a message, and a pool of those that the domain publishes.
func startDomain(t *testing.T, hosts ...string) (*domain, *postrider.Pool, []*smtptest.Server) {
	t.Helper()
	d := &domain{servers: map[string]*smtptest.Server{}, shut: map[string]bool{}}
	var all []*smtptest.Server
	roots := x509.NewCertPool()
	for _, host := range hosts {
		s := startServer(t, host+":465", func(s *smtptest.Server) {
			s.Mode, s.Extensions.Pipelining = postrider.ImplicitTLS, false
			s.Faults = []smtptest.Fault{{Command: smtptest.Terminator, Delay: time.Second / 2}}
		})
		roots.AppendCertsFromPEM(s.CAPEM())
		d.servers[host] = s
		all = append(all, s)
	}
	cfg := all[0].Config()
	cfg.Address, cfg.Dial, cfg.MaxAge, cfg.TLS.RootCAs = "srv:localhost", d.dial, 20*time.Second, roots
	return d, startPool(t, postrider.PoolConfig{MaxConnections: 6, LookupSRV: d.lookup}, cfg), all
}

// shareOf gives how many messages each server takes within a time.
func shareOf(d time.Duration, servers []*smtptest.Server) (n []int) {
	var before []int
	for _, s := range servers {
		before = append(before, len(s.Messages()))
	}
	time.Sleep(d)
	for i, s := range servers {
		n = append(n, len(s.Messages())-before[i])
	}
	return n
}

// Servers disappear, appear, and change their priorities and weights while mail flows. Nothing is lost, nobody gets it
// twice, and what is no longer named gets nothing more and keeps no connection.
func TestPoolFollowsSRVRecordsInTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, p, servers := startDomain(t, "a.example.com", "b.example.com", "c.example.com")
		d.publish(record("a.example.com", 10, 2), record("b.example.com", 10, 1))
		tr := newTraffic(p)
		var traffic sync.WaitGroup
		traffic.Go(func() { tr.send(t, 6, 11*time.Minute) })
		steps := []struct {
			name    string
			change  func()
			blip    string // cannot be reached for a while, which shows that the records are old
			servers int
			fine    func(n []int) bool
		}{
			{"two by weight", func() {}, "", 2, func(n []int) bool { return n[0] > n[1] && n[1] > 0 && n[2] == 0 }},
			{"one disappears, one appears", func() {
				d.publish(record("b.example.com", 10, 1), record("c.example.com", 10, 1))
			},
				"a.example.com", 2, func(n []int) bool { return n[0] == 0 && n[1] > 0 && n[2] > 0 }},
			{"priorities change", func() { d.publish(record("b.example.com", 20, 1), record("c.example.com", 10, 1)) },
				"b.example.com", 2, func(n []int) bool { return n[0] == 0 && n[1] == 0 && n[2] > 0 }},
			{"the first comes back alone", func() { d.publish(record("a.example.com", 0, 1)) },
				"c.example.com", 1, func(n []int) bool { return n[0] > 0 && n[1] == 0 && n[2] == 0 }},
		}
		for _, step := range steps {
			step.change()
			if step.blip != "" {
				d.shutDoor(step.blip, true)
				time.Sleep(90 * time.Second)
				d.shutDoor(step.blip, false)
			}
			time.Sleep(40 * time.Second)
			if n := shareOf(20*time.Second, servers); !step.fine(n) {
				t.Errorf("%s: the servers took %v", step.name, n)
			}
			st := p.Stats()
			named := 0
			for _, s := range st.Servers {
				named += s.Connections
			}
			if len(st.Servers) != step.servers || named != st.Connections || st.Connections > 6 {
				t.Errorf("%s: %d connections, of them %d to %d named servers", step.name, st.Connections, named,
					len(st.Servers))
			}
		}
		traffic.Wait()
		states := tr.check(t, servers...)
		if states[postrider.Accepted] < 4000 || states[postrider.Unknown] > 0 || states[postrider.Untried] > 0 {
			t.Errorf("untried, accepted, deferred, refused, unknown: %v", states)
		}
		if tr.longest > 10*time.Second {
			t.Errorf("a Send took %v", tr.longest)
		}
		t.Log(fmt.Sprint(states), tr.longest)
	})
}

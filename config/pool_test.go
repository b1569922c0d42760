package config_test

import (
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
)

func poolOf(t *testing.T, text string) (postrider.PoolConfig, []postrider.Config, error) {
	t.Helper()
	c, err := config.Parse("m.cfg", text)
	if err != nil {
		t.Fatal(err)
	}
	return c.Pool(t.Context())
}

func TestPoolOfDefaults(t *testing.T) {
	pool, servers, err := poolOf(t, "")
	if err != nil || len(servers) != 1 || servers[0].Address != "localhost:25" {
		t.Errorf("%v, %v", servers, err)
	}
	if pool.MaxConnections != 0 || pool.MessageRate != 0 {
		t.Errorf("%+v", pool)
	}
}

// The servers have all but the address in common, in the order in which they stand
// there; NewPool takes what comes out.
func TestPoolOfSeveralServers(t *testing.T) {
	pool, servers, err := poolOf(t, `
[mta]
smtp_host: smtp1.example.com
smtp_port: 2525
smtp_user: app
smtp_pass: gallop
smtp_secure_mode: starttls
[postrider]
servers: smtp2.example.com smtp3.example.com:587,
  [::1]:25 unix:/run/mta.sock, srv:example.org
server_name: mail.example.com
connections: 7
rate: 12.5
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"smtp1.example.com:2525", "smtp2.example.com", "smtp3.example.com:587", "[::1]:25", "unix:/run/mta.sock", "srv:example.org"}
	if len(servers) != len(want) {
		t.Fatalf("%d servers", len(servers))
	}
	for i, s := range servers {
		if s.Address != want[i] {
			t.Errorf("server %d is at %s, want %s", i+1, s.Address, want[i])
		}
		if s.User != "app" || s.Password.Reveal() != "gallop" || s.Mode != postrider.StartTLS || s.ServerName != "mail.example.com" || s.Redirect == nil {
			t.Errorf("server %d lacks something of the first", i+1)
		}
	}
	if pool.MaxConnections != 7 || pool.MessageRate != 12.5 {
		t.Errorf("%+v", pool)
	}
	if _, err := postrider.NewPool(pool, servers...); err != nil {
		t.Error(err)
	}
}

func TestPoolOfADomain(t *testing.T) {
	_, servers, err := poolOf(t, "[mta]\nsmtp_host: srv:example.com\nsmtp_port: 25\n")
	if err != nil || servers[0].Address != "srv:example.com" {
		t.Errorf("%v, %v", servers, err)
	}
}

// All mistakes are told together, those of MTA too, each with its line.
func TestPoolMistakes(t *testing.T) {
	for _, rate := range []string{"fast", "-1", "NaN", "inf", "1e999", ""} {
		_, servers, err := poolOf(t, "[mta]\nsmtp_port: many\n[postrider]\nconnections: -1\nrate: "+rate+"\n")
		if err == nil || servers != nil {
			t.Fatalf("rate %q: %v", rate, servers)
		}
		for _, part := range []string{"m.cfg:2: [mta] smtp_port", "m.cfg:4: [postrider] connections", "m.cfg:5: [postrider] rate", "a number, 0 or more"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("rate %q: no %q in: %v", rate, part, err)
			}
		}
	}
}

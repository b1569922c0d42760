package main

import (
	_ "embed"
	"fmt"
	"os"
	"slices"

	"github.com/postrider/postrider"
)

// kind is what a client is to the comparison.
type kind int

const (
	our   kind = iota // Postrider
	bound             // what is possible
	goKit             // a Go library
	other             // another program or language
)

// client is one row of the tables.
type client struct {
	name    string
	kind    kind
	offer   offer                    // what the sink offers it
	window  int                      // of a limit: transactions under way
	load    func(*job) (load, error) // nil: program
	program []string                 // what to run instead of this program
	needs   []string                 // files without which there is no such client here
	stream  bool                     // fills the path alone, and needs the machine for itself
	mailing bool                     // sends to one recipient a message, and no more
}

//go:embed scripts/client.py
var script string

// Debian's Python, which its Mailman is installed for, and its smtp-source.
const (
	python      = "/usr/bin/python3"
	mailmanCode = "/usr/lib/python3/dist-packages/mailman/mta/connection.py"
	smtpSource  = "/usr/sbin/smtp-source"
)

// allClients are ours, the limits and the peers.
func allClients() []client {
	clients := ourClients()
	for _, l := range []struct {
		name, by string
		offer    offer
		window   int
	}{
		{"limit-bdat", "bdat", chunking, 64},
		{"limit-bdat-sync", "bdat", chunking, 1},
		{"limit-data", "data", pipelining, 1},
		{"limit-copy", "copy", chunking, 1},
	} {
		clients = append(clients, client{
			name: l.name, kind: bound, offer: l.offer, window: l.window, stream: l.window > 1,
			load: func(j *job) (load, error) { return &limit{j: j, by: l.by}, nil },
		})
	}
	for _, p := range []struct {
		name string
		dial func(*job) (session, error)
	}{
		{"net/smtp", dialNetSMTP}, {"go-smtp", dialEmersion}, {"go-mail", dialGoMail}, {"gomail.v2", dialOldGoMail},
	} {
		clients = append(clients, client{
			name: p.name, kind: goKit, offer: chunking,
			load: func(j *job) (load, error) { return &sequential{j: j, dial: p.dial}, nil },
		})
	}
	for _, merge := range []bool{false, true} {
		clients = append(clients, client{
			name: map[bool]string{false: "mailing-verp", true: "mailing-merge"}[merge], kind: our, offer: chunking,
			stream: true, mailing: true,
			load: func(j *job) (load, error) { return newMailer(j, merge) },
		})
	}
	clients = append(clients, client{
		name: "go-mail-merge", kind: goKit, offer: chunking, mailing: true,
		load: func(j *job) (load, error) { return &sequential{j: j, dial: dialGoMailMerge}, nil },
	})
	for _, p := range []string{"smtplib", "mailman", "mailman-message", "mailman-verp"} {
		c := client{name: p, kind: other, offer: chunking, program: []string{python, "-c", script, p},
			needs: []string{python}, mailing: p == "mailman-verp"}
		if p != "smtplib" {
			c.needs = append(c.needs, mailmanCode)
		}
		clients = append(clients, c)
	}
	return append(clients, client{
		name: "smtp-source", kind: other, offer: chunking, program: []string{smtpSource}, needs: []string{smtpSource},
	})
}

// ourClients are the ways to use a Connection, on what different servers offer.
func ourClients() (clients []client) {
	add := func(way string, o offer, goroutines int, content func(*job) postrider.Content) {
		clients = append(clients, client{
			name: way + "/" + string(o), kind: our, offer: o, stream: o == chunking && goroutines != 1,
			load: func(j *job) (load, error) { return newOurs(j, goroutines, content(j)) },
		})
	}
	octets := func(j *job) postrider.Content { return postrider.Bytes(j.content()) }
	for _, o := range []offer{chunking, pipelining, plain} {
		add("SendAll", o, 0, octets)
		add("Send×64", o, 64, octets)
		add("Send", o, 1, octets)
	}
	add("SendAll-Func", chunking, 0, func(j *job) postrider.Content { return streamed(j.content()) })
	return clients
}

// missing names a file that the client needs and that is not here.
func (c *client) missing() string {
	i := slices.IndexFunc(c.needs, func(name string) bool {
		_, err := os.Stat(name)
		return err != nil
	})
	if i < 0 {
		return ""
	}
	return c.needs[i]
}

// newLoad makes the client that a job names.
func newLoad(j *job) (load, error) {
	for _, c := range allClients() {
		if c.name == j.Client && c.load != nil {
			return c.load(j)
		}
	}
	return nil, fmt.Errorf("no client is called %q", j.Client)
}

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/text"
)

// dialogue prints what is said on the wires: "> " before our commands, "< " before the server's replies, "* " before
// what happened to the connection. The library hides credentials from it; of content it prints the length.
type dialogue struct {
	mu      sync.Mutex // hooks are called from more than one goroutine
	w       io.Writer
	content int // octets that went out and were not told of yet
	quit    int // the wire that was told QUIT
}

// newDialogue returns the hooks of a dialogue that is written to w.
func newDialogue(w io.Writer) *postrider.Trace {
	d := &dialogue{w: w}
	return &postrider.Trace{
		Event:    d.event,
		Dialogue: d.said,
		Content:  d.sent,
	}
}

func (d *dialogue) event(e postrider.Event) {
	switch e.Kind {
	case postrider.EventDialed:
		d.dialed(e.Wire, e.Address, e.Took, e.Err)
	case postrider.EventTLS:
		d.tlsDone(e.TLS, e.Err)
	case postrider.EventTransaction:
		d.transactionDone(e.Transaction, e.Outcomes)
	case postrider.EventClosed:
		d.closed(e.Wire, e.Err)
	case postrider.EventFellBack:
		d.line("* wire %d: %s", e.Wire, e.Fault)
	}
}

func (d *dialogue) said(e postrider.Event) {
	if e.Kind == postrider.EventCommand {
		d.command(e.Wire, e.Line)
	} else {
		d.reply(e.Reply)
	}
}

func (d *dialogue) line(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.content > 0 {
		fmt.Fprintf(d.w, "> (%d octets of content)\n", d.content)
		d.content = 0
	}
	fmt.Fprintf(d.w, format+"\n", args...)
}

func (d *dialogue) dialed(wire int, address string, took time.Duration, err error) {
	if err != nil {
		d.line("* no connection to %s: %s", address, text.Words(err.Error()))
		return
	}
	d.line("* wire %d to %s, after %v", wire, address, took.Round(time.Microsecond))
}

func (d *dialogue) tlsDone(state *tls.ConnectionState, err error) {
	if err != nil {
		d.line("* no TLS: %s", text.Words(err.Error()))
		return
	}
	d.line("* %s, %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
}

func (d *dialogue) command(wire int, line string) {
	d.line("> %s", line)
	if line == "QUIT" {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.quit = wire
	}
}

// reply shows every line of a reply as it came.
func (d *dialogue) reply(r postrider.Reply) {
	lines := strings.Split(r.Text, "\n")
	for i, line := range lines {
		between := "-"
		if i == len(lines)-1 {
			between = " "
		}
		d.line("< %d%s%s", r.Code, between, text.Words(line))
	}
}

func (d *dialogue) sent(_ int, octets []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.content += len(octets)
}

func (d *dialogue) transactionDone(t postrider.Transaction, outcomes []postrider.Outcome) {
	accepted := 0
	for _, o := range outcomes {
		if o.State == postrider.Accepted {
			accepted++
		}
	}
	d.line("* %d of %d recipients accepted", accepted, t.Recipients)
}

// closed prints how a wire ended. After a QUIT it is no loss if the server closes first.
func (d *dialogue) closed(wire int, reason error) {
	d.mu.Lock()
	quit := d.quit == wire
	d.mu.Unlock()
	if reason != nil && !quit {
		d.line("* wire %d is lost: %s", wire, words(reason))
		return
	}
	d.line("* wire %d is closed", wire)
}

package postrider

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"time"

	smtp "github.com/postrider/postrider/internal/wire"
)

// What happens on the wires is told here, to the Trace and to the Logger.

// log answers with a logger that may be called without asking.
func (c *server) log() *slog.Logger {
	if c.cfg.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.cfg.Logger.With("server", c.name)
}

// debugging reports that the dialogue is wanted in the log.
func (c *server) debugging() bool {
	return c.cfg.Logger != nil && c.cfg.Logger.Enabled(context.Background(), slog.LevelDebug)
}

func (c *Connection) observeDial(w *wire, conn net.Conn, took time.Duration, err error) {
	remote := c.name
	if conn != nil && conn.RemoteAddr() != nil {
		remote = conn.RemoteAddr().String()
	}
	if t := c.cfg.Trace; t != nil && t.Dialed != nil {
		t.Dialed(w.id, remote, took, err)
	}
	if err == nil {
		c.log().Info("wire opened", "wire", w.id, "address", remote, "took", took)
	}
}

func (c *Connection) observeTLS(id int, state tls.ConnectionState, err error) {
	if t := c.cfg.Trace; t != nil && t.TLSDone != nil {
		t.TLSDone(id, state, err)
	}
	if err == nil {
		c.log().Debug("TLS is up", "wire", id, "version", tls.VersionName(state.Version),
			"cipher", tls.CipherSuiteName(state.CipherSuite), "resumed", state.DidResume)
	}
}

func (c *Connection) observeHello(id int, text string) {
	if t := c.cfg.Trace; t != nil && t.Hello != nil {
		t.Hello(id, strings.Split(text, "\n")[1:])
	}
}

func (c *Connection) observeAuth(id int, mechanism string, failed *Error) {
	var err error
	if failed != nil {
		err = failed
	}
	if t := c.cfg.Trace; t != nil && t.Authenticated != nil {
		t.Authenticated(id, mechanism, err)
	}
	if failed == nil {
		c.log().Debug("authenticated", "wire", id, "mechanism", mechanism)
	}
}

// tracing reports that somebody wants to hear of transactions.
func (c *Connection) tracing() bool {
	return c.cfg.Trace != nil && c.cfg.Trace.TransactionDone != nil || c.debugging()
}

func (c *Connection) observeTransaction(tx Transaction, outcomes []Outcome) {
	if t := c.cfg.Trace; t != nil && t.TransactionDone != nil {
		t.TransactionDone(tx, outcomes)
	}
	if c.debugging() {
		c.log().Debug("transaction done", "wire", tx.Wire, "recipients", tx.Recipients, "reply", tx.Reply.String())
	}
}

func (c *Connection) observeClosed(w *wire, transactions int, reason *Error) {
	var err error
	if reason != nil {
		err = reason
	}
	if t := c.cfg.Trace; t != nil && t.WireClosed != nil {
		t.WireClosed(w.id, transactions, err)
	}
	if reason == nil {
		c.log().Info("wire closed", "wire", w.id, "transactions", transactions)
	} else {
		c.log().Info("wire lost", "wire", w.id, "transactions", transactions, "reason", reason.Error())
	}
}

func (c *Connection) observeFallback(id int, what string) {
	if t := c.cfg.Trace; t != nil && t.FellBack != nil {
		t.FellBack(id, what)
	}
	c.log().Warn("server fault", "wire", id, "fault", what)
}

// observeCommand shows a command of a transaction.
func (c *Connection) observeCommand(id int, line []byte) {
	if c.watched {
		s := string(bytes.TrimRight(line, "\r\n"))
		c.observeLine(id, s, s)
	}
}

// observeLine shows a line; only the hook that asks for credentials gets what is
// masked in shown.
func (c *Connection) observeLine(id int, line, shown string) {
	if t := c.cfg.Trace; t != nil {
		if t.Command != nil {
			t.Command(id, shown)
		}
		if t.Credentials != nil && line != shown {
			t.Credentials(id, line)
		}
	}
	if c.debugging() {
		c.log().Debug("command", "wire", id, "line", shown)
	}
}

// readReply is where replies enter: without what the server repeats of our secrets, so that no outcome, error, hook or
// log gets to see that. What takes part in AUTH or names extensions is read by overhear.
func (w *wire) readReply() (smtp.Reply, error) {
	r, err := w.in.Read()
	return r.Redacted(w.c.secrets.Hide), err
}

func (c *Connection) observeReply(id int, r smtp.Reply) {
	if !c.watched {
		return
	}
	if t := c.cfg.Trace; t != nil && t.Reply != nil {
		t.Reply(id, replyFrom(r))
	}
	if c.debugging() {
		c.log().Debug("reply", "wire", id, "reply", replyFrom(r).String())
	}
}

func (c *Connection) observeContent(id int, octets []byte) {
	if t := c.cfg.Trace; t != nil && t.Content != nil && len(octets) > 0 {
		t.Content(id, octets)
	}
}

// observeSettled tells the hooks what Connection.mu's Unlock has for them.
func (c *Connection) observeSettled(s settlement) {
	if s.outcomes != nil {
		c.observeTransaction(s.told, s.outcomes)
	}
	if s.fallback != "" {
		c.observeFallback(s.told.Wire, s.fallback)
	}
}

// Package smtptest runs an SMTP server inside a test, and makes it misbehave on
// demand. It is to SMTP what net/http/httptest is to HTTP:
//
//	s := smtptest.NewServer()
//	defer s.Close()
//	connection, err := postrider.NewConnection(s.Config())
//	… send …
//	for _, m := range s.Messages() { … }
//
// The server speaks plain SMTP, implicit TLS or STARTTLS, with certificates of
// its own that [Server.Config] makes the client trust; it authenticates, offers
// the extensions that a test chooses, and counts connections, transactions and
// commands. What it took responsibility for is in [Server.Messages] before the
// client reads so.
//
// It is strict: it judges what a client sends by the RFCs and shares no parser
// with Postrider's own client, so that one's mistakes are not hidden by the
// other's. What a real server may do wrong is written down as [Fault] values, and
// is as deterministic as the rest.
//
// It listens on a loopback port, or on any [net.Listener]; with [InMemory] it
// runs inside a testing/synctest bubble, where an hour of silence passes at once.
// With Discard it keeps nothing and is fast enough to be the sink of a benchmark.
package smtptest

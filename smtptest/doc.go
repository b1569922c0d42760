// Package smtptest runs an SMTP server inside a test, and makes it misbehave on
// demand. The package is to SMTP what net/http/httptest is to HTTP:
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
// commands. An accepted message is in [Server.Messages] before the client reads
// the reply.
//
// The server is strict: it checks what a client sends against the RFCs and shares
// no parser with Postrider's own client, so that a mistake in one is not hidden by
// the other. Failures of real servers are described by [Fault] values, and are as
// deterministic as the rest.
//
// The server listens on a loopback port, or on any [net.Listener]; with
// [InMemory] it runs inside a testing/synctest bubble, where an hour of silence
// passes at once. With Discard it keeps nothing and is fast enough to be the sink
// of a benchmark.
package smtptest

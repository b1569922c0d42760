// Package mtatest starts real mail servers and real mail clients for tests, on the loopback interface
// of a Linux machine, each for as long as its test.
//
// A test asks for a server, sends mail to its Address, and reads from Messages what the server
// queued, byte for byte:
//
//	s := mtatest.Postfix(t, mtatest.Options{Mode: mtatest.StartTLS})
//	… send to s.Address, trusting s.CAFile …
//	got := s.Messages(t)
//
// [Kinds] lists all servers with their modes, for tests over all of them. [Smtplib] and [MailmanClient] are
// the other side: clients of other people, to try on our own test server.
//
// The programs are Debian 12's, installed by `.ci/run install`, which also builds the servers on go-smtp from
// interop/testdata. A test that needs one is skipped unless CI=true or POSTRIDER_CI=1, which `.ci/run check` sets; then
// it fails if the program is missing. Only root may start Debian's.
//
// # What the servers offer
//
// All limits are those that the programs have by default. In answer to EHLO, beside AUTH and STARTTLS:
//
//	Postfix 3.7    PIPELINING, SIZE 10240000, VRFY, ETRN, ENHANCEDSTATUSCODES, 8BITMIME, DSN, SMTPUTF8, CHUNKING
//	Exim 4.96      SIZE 52428800, 8BITMIME, PIPELINING, PIPECONNECT, CHUNKING, SMTPUTF8, HELP
//	OpenSMTPD 6.8  8BITMIME, ENHANCEDSTATUSCODES, SIZE 36700160, DSN, HELP
//	aiosmtpd 1.4   SIZE 33554432, 8BITMIME, SMTPUTF8, HELP
//	Mailman 3.3    SIZE 33554432, 8BITMIME, HELP
//	go-smtp        PIPELINING, 8BITMIME, ENHANCEDSTATUSCODES, CHUNKING, SMTPUTF8, DSN, SIZE
//
// STARTTLS stands there in [StartTLS] mode until it was used. AUTH stands there if Options has a User, with
// the mechanisms in Kinds, and in StartTLS mode only under TLS. Mailman's test MTA offers AUTH PLAIN always,
// before STARTTLS too, and after STARTTLS a second AUTH line with LOGIN, which it does not know.
package mtatest

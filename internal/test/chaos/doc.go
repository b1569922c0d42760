// Package chaos holds the tests that judge the library by what became of the mail.
//
// A server of its own, which shares no code with the library or with smtptest, serves
// a seeded script of faults, and records what it took responsibility for. Clients of
// every kind send through it, break off, and close amid it. A tap at the client's end
// of each connection records every octet that was handed over and every one that was
// read. Then a judge holds each outcome against both records:
//
//   - by the tap: the replies are matched to the commands by count and order, as
//     RFC 2920 has it, and each transaction is judged by its own replies. That says
//     which states each recipient may have, whatever the server did with the mail.
//   - by the server: accepted mail was taken, exactly; what was taken is told as
//     nothing but Accepted or Unknown, once; nothing is taken that nobody sent.
//     A server that lies about the mail is believed by any client; what it took is
//     then compared with the client's words for octets and envelope only.
//
// The rules are those of RFC 5321 (§4.2, §4.5.3.1.10), RFC 2920 (§3.1), RFC 3030 (§2) and
// RFC 1047, and of docs/flow.md.
//
// Everything runs in testing/synctest bubbles over in-memory connections, where two
// minutes of silence cost nothing.
//
//	go test ./internal/test/chaos -run Seeds -v                a few seeds
//	POSTRIDER_CI=1 go test ./internal/test/chaos               some hundred
//	go test ./internal/test/chaos -run Seeds -seeds 10000      thousands
//	go test ./internal/test/chaos -run Seeds -minutes 30       as many as fit
//	go test ./internal/test/chaos -run Seeds -seed 4711 -v     that one, with what was said
//
// A seed fixes the script, the messages and the clients; the order in which goroutines
// run is the machine's, so that a failure may need a few runs to come again.
package chaos

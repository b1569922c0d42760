// Package postrider hands a program's mail to its mail transfer agent (MTA) over
// lasting SMTP connections, and says exactly what became of every recipient.
//
// A [Connection] is made from a [Config] and opens nothing until its first [Connection.Send]. Each Send is one mail
// transaction or several (RFC 5321 §3.3); the wire below stays open between them, is changed when that is due, and is
// replaced when the server drops it:
//
//	conn, err := postrider.NewConnection(postrider.Config{
//		Address:  "smtp.example.com:587",
//		Mode:     postrider.StartTLS,
//		User:     "app",
//		Password: postrider.NewSecret(os.Getenv("SMTP_PASSWORD")),
//	})
//	result, err := conn.Send(ctx, &postrider.Message{
//		From:    "app@example.com",
//		To:      []string{"anne@example.com", "bart@example.com"},
//		Content: postrider.Bytes(text),
//	})
//	for _, o := range result.Outcomes {
//		fmt.Println(o.Recipient, o.State, o.Reply)
//	}
//	err = conn.Quit(ctx)
//
// # Outcomes
//
// Every recipient ends in one of five states: [Accepted], [Deferred], [Refused], [Untried] or [Unknown]. Unknown is the
// one that other clients do not tell apart: the message's last octets were handed over and the server's answer never
// came (RFC 1047), so that sending again may duplicate and not sending may lose. The library itself sends again only
// what no server can have accepted.
//
// # Pool
//
// A [Pool] is the same over several connections, to one server or to several: bounded, first come first served, with
// rates, failover, and connections that are changed by count, age and idleness. It is safe for any number of
// goroutines, and what most programs hold. A [Connection] is for one ordered stream of mail.
//
// # Related packages
//
// Package mailing sends one message to many; package smtptest is a scriptable SMTP server for tests; package config
// reads mailman.cfg; the program cmd/postrider is all of it at a prompt.
package postrider

package smtptest_test

import (
	"fmt"
	"log"
	"net/smtp"
	"strings"

	"github.com/postrider/postrider/smtptest"
)

// A message goes to the server by any client; here the standard library's.
func Example() {
	s := smtptest.NewServer()
	defer s.Close()

	content := "From: anne@example.com\r\nTo: bart@example.com\r\nSubject: aardvarks\r\n\r\n"
	err := smtp.SendMail(s.Addr, nil, "anne@example.com", []string{"bart@example.com"}, []byte(content))
	if err != nil {
		log.Fatal(err)
	}

	for _, m := range s.Messages() {
		fmt.Println(m.From, m.To, len(m.Content), "octets")
	}
	fmt.Println(s.ConnectionCount(), "connection")
	// Output:
	// anne@example.com [bart@example.com] 68 octets
	// 1 connection
}

// A recipient is refused for good, and the second message is taken, but the
// client never learns so.
func ExampleFault() {
	s := smtptest.NewUnstartedServer()
	s.Faults = []smtptest.Fault{
		{Command: "RCPT", Address: "cris@example.com", Reply: "550 5.1.1 no such user"},
		{Command: smtptest.Terminator, Nth: 2, Answer: smtptest.AnswerNone, Then: smtptest.ThenClose},
	}
	s.Start()
	defer s.Close()

	for _, to := range []string{"bart@example.com", "cris@example.com", "dave@example.com"} {
		fmt.Println(to, smtp.SendMail(s.Addr, nil, "anne@example.com", []string{to}, []byte("\r\n")))
	}
	for _, m := range s.Messages() {
		fmt.Println("taken for", m.To)
	}
	// Output:
	// bart@example.com <nil>
	// cris@example.com 550 "5.1.1 no such user"
	// dave@example.com EOF
	// taken for [bart@example.com]
	// taken for [dave@example.com]
}

// The server's own words are what a test reads when something went wrong.
func ExampleServer_Transcript() {
	s := smtptest.NewUnstartedServer()
	s.Hostname = "mx.example.com"
	s.Extensions = smtptest.Extensions{Size: 1000}
	s.Start()
	defer s.Close()

	smtp.SendMail(s.Addr, nil, "anne@example.com", []string{"bart@example.com"}, []byte(strings.Repeat("x", 2000)))
	fmt.Print(s.Transcript(1))
	// Output:
	// S: 220 mx.example.com ESMTP smtptest
	// C: EHLO localhost
	// S: 250-mx.example.com
	// S: 250 SIZE 1000
	// C: MAIL FROM:<anne@example.com>
	// S: 250 Sender ok
	// C: RCPT TO:<bart@example.com>
	// S: 250 Recipient ok
	// C: DATA
	// S: 354 End data with <CRLF>.<CRLF>
	// C: (2002 octets and the final dot)
	// S: 552 Message size exceeds limit
}

// Policy judges by rules of one's own.
func ExampleServer_policy() {
	s := smtptest.NewUnstartedServer()
	s.Policy = func(c smtptest.Command) string {
		if c.Verb == "RCPT" && !strings.HasSuffix(c.Address, "@example.com") {
			return "550 5.7.1 we do not relay"
		}
		return ""
	}
	s.Start()
	defer s.Close()

	err := smtp.SendMail(s.Addr, nil, "anne@example.com", []string{"bart@example.org"}, []byte("\r\n"))
	fmt.Println(err)
	// Output:
	// 550 "5.7.1 we do not relay"
}

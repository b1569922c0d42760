// Package gosmtp is a mail server on go-smtp, of the version that the program around it requires, for
// tests against it. It refuses every recipient whose local part begins with "refused", keeps what it takes,
// and tells it on request.
package gosmtp

import (
	"bufio"
	"encoding/json"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// Main serves on the loopback interface, at the port that the first argument names, a JSON object. It prints
// {"ready":true} when it listens, and then answers each line on standard input with one that has all
// messages taken so far, until standard input ends.
func Main() {
	var options struct{ Port string }
	if err := json.Unmarshal([]byte(os.Args[1]), &options); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", options.Port))
	if err != nil {
		log.Fatal(err)
	}
	k := &keeper{messages: []message{}}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{keeper: k}, nil }))
	server.Domain, server.EnableSMTPUTF8, server.EnableDSN = "gosmtp.test", true, true
	go func() { log.Fatal(server.Serve(listener)) }()

	answers := json.NewEncoder(os.Stdout)
	answers.Encode(map[string]bool{"ready": true})
	for questions := bufio.NewScanner(os.Stdin); questions.Scan(); {
		k.mu.Lock()
		answers.Encode(map[string][]message{"messages": k.messages})
		k.mu.Unlock()
	}
}

type message struct {
	From    string
	To      []string
	Content []byte
	Record  string // the parameters of MAIL and of each RCPT, in JSON
}

// keeper has the messages in the order in which they were taken.
type keeper struct {
	mu       sync.Mutex
	messages []message
}

type session struct {
	keeper *keeper
	from   string
	to     []string
	params []any
}

func (s *session) Mail(from string, o *smtp.MailOptions) error {
	s.from, s.to, s.params = from, nil, []any{o}
	return nil
}

func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "refused") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "nobody here"}
	}
	s.to, s.params = append(s.to, to), append(s.params, o)
	return nil
}

func (s *session) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err // broken off: not taken
	}
	record, err := json.Marshal(s.params)
	if err != nil {
		return err
	}
	s.keeper.mu.Lock()
	defer s.keeper.mu.Unlock()
	s.keeper.messages = append(s.keeper.messages, message{s.from, s.to, content, string(record)})
	return nil
}

func (s *session) Reset()        { s.from, s.to, s.params = "", nil, nil }
func (s *session) Logout() error { return nil }

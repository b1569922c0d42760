//go:build linux

package interop_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/mtatest"
	"github.com/postrider/postrider/smtptest"
)

// Whether a server discards the octets of a BDAT that it refuses, with six octets that are a command. The probe
// asks outside of a transaction; what counts is what happens behind refused recipients.
const (
	probe         = "BDAT 6 LAST\r\nHELP\r\nRSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
	behindRefused = "MAIL FROM:<a@example.com>\r\nRCPT TO:<refused@[x>\r\n" + probe
)

// TestServersAnswerTheProbe holds the table of docs/pipelining.md against the servers: each answers the probe as
// it says, on a fresh wire and behind a transaction alike.
func TestServersAnswerTheProbe(t *testing.T) {
	doc, err := os.ReadFile("../docs/pipelining.md")
	if err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, name, address string) {
		fresh, later := answersTo(t, address, "", probe), answersTo(t, address, header(1)+"\r\n.\r\n", probe)
		if fresh != later {
			t.Errorf("on a fresh wire %s, behind a transaction %s", fresh, later)
		}
		row := fmt.Sprintf("| %s | %s | %s |", name, fresh, answersTo(t, address, "", behindRefused))
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/pipelining.md has no row %q", row)
		}
	}
	t.Run("smtptest", func(t *testing.T) {
		server := smtptest.NewServer()
		defer server.Close()
		check(t, "smtptest", server.Addr)
	})
	for _, kind := range mtatest.Kinds() {
		t.Run(kind.Name, func(t *testing.T) { check(t, kind.Name, kind.Start(t, mtatest.Options{}).Address) })
	}
}

// answersTo returns the codes of the replies to a flight that ends with DATA, until the server asks for the content
// or hangs up, on a wire that has carried a message of that content before, if it is not "".
func answersTo(t *testing.T, address, before, flight string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	replies := textproto.NewConn(conn)
	read := func() string {
		code, _, err := replies.ReadResponse(0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s neither answers nor hangs up", address)
		}
		if err != nil {
			return "closed"
		}
		return strconv.Itoa(code)
	}
	say := func(text string) string {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		return read()
	}
	codes := []string{read(), say("EHLO client.example.com\r\n")}
	if before != "" {
		for _, command := range []string{"MAIL FROM:<a@example.com>\r\n", "RCPT TO:<b@example.com>\r\n", "DATA\r\n",
			before} {
			codes = append(codes, say(command))
		}
	}
	begin := len(codes)
	for code := say(flight); ; code = read() {
		codes = append(codes, code)
		if code == "closed" {
			return strings.Join(codes[begin:], " ")
		}
		if code == "354" {
			say(".\r\n")
			if after := say("QUIT\r\n"); after != "221" {
				t.Errorf("QUIT behind the message is answered by %s: one reply too many", after)
			}
			return strings.Join(codes[begin:], " ")
		}
	}
}

package postrider_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

// A goroutine that outlives the tests fails them.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSmoke sends one mail and quits. The other tests are in internal/test, one package a subject.
func TestSmoke(t *testing.T) {
	server := smtptest.NewServer()
	defer server.Close()
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	result, err := conn.Send(t.Context(), &postrider.Message{
		From:    "anne@example.com",
		To:      []string{"bart@example.com"},
		Content: postrider.Bytes([]byte("Subject: aardvarks\r\n\r\nThey are coming.\r\n")),
	})
	if err != nil || result.Outcomes[0].State != postrider.Accepted {
		t.Errorf("Send: %v, %v; want it accepted", result.Outcomes, err)
	}
	if err := conn.Quit(t.Context()); err != nil {
		t.Errorf("Quit: %v", err)
	}
	if n := len(server.Messages()); n != 1 {
		t.Errorf("the server took %d messages, want 1", n)
	}
}

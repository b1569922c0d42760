package parity_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
)

// A hint names a field; who has a configuration file reads the key instead.
func TestAHintInKeys(t *testing.T) {
	refuse := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "localhost", IsNotFound: true}
	}
	conn, err := postrider.NewConnection(postrider.Config{Dial: refuse})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.SendMail(t.Context(), "anne@example.com", []string{"bart@example.com"}, nil)
	var e *postrider.Error
	if !errors.As(err, &e) || e.Hint.Field != "Address" || !strings.HasSuffix(e.Hint.Text, ": check Config.Address") {
		t.Fatalf("%v", err)
	}
	if !strings.HasSuffix(err.Error(), "; "+e.Hint.Text) || e.Hint.String() != e.Hint.Text {
		t.Errorf("%v", err)
	}
	if got := e.Hint.In(config.Setting); !strings.HasSuffix(got, ": check smtp_host and smtp_port") {
		t.Errorf("%q", got)
	}
	byHand := postrider.Hint{Text: "look at Config.Mode", Field: "Mode"}
	if got := byHand.In(config.Setting); got != byHand.Text {
		t.Errorf("%q", got)
	}
}

// Validate refuses what NewConnection refuses, and opens nothing.
func TestValidate(t *testing.T) {
	for _, cfg := range []postrider.Config{
		{}, {Address: "mail.example.com:587", Mode: postrider.StartTLS}, {Mode: 7}, {Address: "smtp://x"},
		{Mode: postrider.StartTLS, CAFile: "/nowhere.pem"}, {User: "anne", Password: postrider.NewSecret("a\x00b")},
		{LocalName: "a b"},
	} {
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			t.Error("it was dialled")
			return nil, net.ErrClosed
		}
		conn, want := postrider.NewConnection(cfg)
		if conn != nil {
			conn.Close()
		}
		got := cfg.Validate()
		if (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
			t.Errorf("%v; NewConnection: %v", got, want)
		}
		var e *postrider.Error
		if got != nil && (!errors.As(got, &e) || e.Step != postrider.StepConfiguration) {
			t.Errorf("%#v", got)
		}
	}
}

// CheckAddress judges as Send does.
func TestCheckAddress(t *testing.T) {
	conn, err := postrider.NewConnection(postrider.Config{
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for address, good := range map[string]bool{
		"bart@example.com": true, "postmaster": true, "bärt@example.com": true, `"b art"@example.com`: true,
		"bart@[192.0.2.1]": true, "": false,
		"b art@example.com": false, "bart@": false, "bart@example.com>\r\nDATA": false,
		strings.Repeat("x", 600) + "@example.com": false,
	} {
		err := postrider.CheckAddress(address)
		if (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
		r, _ := conn.Send(t.Context(), &postrider.Message{To: []string{address}, Content: postrider.Bytes(nil)})
		if refused := r.Outcomes[0].State == postrider.Refused; refused == good {
			t.Errorf("%q: Send refuses it: %t", address, refused)
		}
	}
}

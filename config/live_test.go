package config_test

import (
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
	"github.com/postrider/postrider/smtptest"
)

// connected returns a configuration for a server, and a connection made of it.
func connected(t *testing.T, server *smtptest.Server, text string) (*config.Config, *postrider.Connection) {
	t.Helper()
	host, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("mailman.cfg", "[mta]\nsmtp_host: "+host+"\nsmtp_port: "+port+"\n"+text)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := c.MTA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	connection, err := postrider.NewConnection(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return c, connection
}

func send(t *testing.T, connection *postrider.Connection) error {
	t.Helper()
	_, err := connection.Send(t.Context(), &postrider.Message{
		From:    "anne@example.com",
		To:      []string{"bart@example.com", "cris@example.com"},
		Content: postrider.Bytes([]byte("To: bart@example.com\n\nHello\n")),
	})
	return err
}

// Facts 20 to 22, on the wire: the overlay reaches a connection that is open, and
// one that is in doubt lets nothing out.
func TestDevmodeReachesOpenConnections(t *testing.T) {
	server := smtptest.NewServer()
	defer server.Close()
	c, connection := connected(t, server, "")

	for _, test := range []struct {
		overlay string
		want    []string // recipients; nil if the message must not leave
	}{
		{"", []string{"bart@example.com", "cris@example.com"}},
		{"[devmode]\nenabled: yes\nrecipient: zperson@example.com\n",
			[]string{"zperson@example.com", "zperson@example.com"}},
		{"[devmode]\nenabled: yes\n", nil},
		{"[devmode]\nenabled: ye\nrecipient: zperson@example.com\n", nil},
		{"", []string{"bart@example.com", "cris@example.com"}},
	} {
		server.Clear()
		if err := c.Push("devmode", test.overlay); err != nil {
			t.Fatal(err)
		}
		err := send(t, connection)
		if err := c.Pop("devmode"); err != nil {
			t.Fatal(err)
		}
		messages := server.Messages()
		if test.want == nil {
			if err == nil || len(messages) != 0 {
				t.Errorf("%q: %v, %d messages left", test.overlay, err, len(messages))
			}
			continue
		}
		if err != nil || len(messages) != 1 || !slices.Equal(messages[0].To, test.want) {
			t.Errorf("%q: %v, %v", test.overlay, err, messages)
		}
	}
	if n := server.ConnectionCount(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// The seed's credentials, out of a configuration.
func TestCredentialsReachTheServer(t *testing.T) {
	server := smtptest.NewUnstartedServer()
	server.Users = map[string]string{"testuser": "testpass"}
	server.RequireAuth = true
	server.Start()
	defer server.Close()
	_, connection := connected(t, server, "smtp_user: testuser\nsmtp_pass: testpass\n[postrider]\nauth_mechanisms: "+
		"plain\n")
	if err := send(t, connection); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(server.Credentials(), "|"); got != "AHRlc3R1c2VyAHRlc3RwYXNz" {
		t.Errorf("credentials %s", got)
	}
}

package postrider_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/config"
	"github.com/postrider/postrider/smtptest"
)

// The message of the examples. Line ends become CRLF on the wire.
const aardvarks = `From: anne@example.com
To: bart@example.com
Subject: aardvarks

`

// sendAardvarks sends the message of the examples and prints who was refused.
func sendAardvarks(conn *postrider.Connection, to ...string) {
	if len(to) == 0 {
		to = []string{"bart@example.com"}
	}
	refused, err := conn.SendMail(context.Background(), "anne@example.com", to, []byte(aardvarks))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(refused)
}

// connect makes a connection out of Mailman's configuration, pointed at the server.
func connect(c *config.Config, server *smtptest.Server) *postrider.Connection {
	host, port, _ := net.SplitHostPort(server.Addr)
	if err := c.Push("server", "[mta]\nsmtp_host: "+host+"\nsmtp_port: "+port+"\n"); err != nil {
		panic(err)
	}
	cfg, err := c.MTA(context.Background())
	if err != nil {
		panic(err)
	}
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		panic(err)
	}
	return conn
}

// A connection opens with the first message, and stays open. No refusals and no
// error: every recipient was accepted, and the server is responsible for the
// message.
func Example() {
	server := smtptest.NewServer()
	defer server.Close()
	conn, err := postrider.NewConnection(postrider.Config{Address: server.Addr})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(server.ConnectionCount())
	sendAardvarks(conn)
	fmt.Println(server.ConnectionCount())
	server.Reset()
	fmt.Println(server.ConnectionCount())
	fmt.Println(conn.Quit(context.Background()))
	// Output:
	// 0
	// map[]
	// 1
	// 0
	// <nil>
}

// A client that says nothing but RSET sets the test server's count back, its own
// connection included.
func Example_reset() {
	server := smtptest.NewServer()
	defer server.Close()
	conn, _ := postrider.NewConnection(server.Config())
	defer conn.Close()
	sendAardvarks(conn)
	fmt.Println(server.ConnectionCount())

	client, err := net.Dial("tcp", server.Addr)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	buf := make([]byte, 512)
	client.Read(buf) // the greeting
	fmt.Fprint(client, "RSET\r\n")
	n, _ := client.Read(buf)
	fmt.Print(strings.ReplaceAll(string(buf[:n]), "\r", ""))
	fmt.Println(server.ConnectionCount())
	// Output:
	// map[]
	// 1
	// 250 2.0.0 Ok
	// 0
}

// With a user name and a password, every new wire is authenticated.
func Example_authentication() {
	server := smtptest.NewUnstartedServer()
	server.Users = map[string]string{"testuser": "testpass"}
	server.Mechanisms = []string{"PLAIN"}
	server.Start()
	defer server.Close()

	c, err := config.Parse("mailman.cfg", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Push("auth", `
		[mta]
		smtp_user: testuser
		smtp_pass: testpass
		`); err != nil {
		fmt.Println(err)
		return
	}
	conn := connect(c, server)
	defer conn.Close()
	sendAardvarks(conn)
	fmt.Println(server.Credentials()[0])

	fmt.Println(c.Pop("auth"))
	fmt.Printf("%q\n", c.Get("mta", "smtp_user"))
	// Output:
	// map[]
	// AHRlc3R1c2VyAHRlc3RwYXNz
	// <nil>
	// ""
}

// A token that the server refuses, because it has expired, is asked for anew, once.
func Example_token() {
	server := smtptest.NewUnstartedServer()
	server.Users = map[string]string{"testuser": "token-2"} // token-1 has expired
	server.Mechanisms = []string{"XOAUTH2"}
	server.Start()
	defer server.Close()

	issued := 1
	cfg := server.Config()
	cfg.AuthMechanisms = []string{"OAUTHBEARER", "XOAUTH2"} // these say that the secret is a token
	cfg.Credentials = func(ctx context.Context, refresh bool) (string, postrider.Secret, error) {
		fmt.Println("asked, refresh:", refresh)
		if refresh { // here a program asks its provider
			issued++
		}
		return "testuser", postrider.NewSecret(fmt.Sprint("token-", issued)), nil
	}
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	sendAardvarks(conn)
	sendAardvarks(conn) // on the same wire: nobody is asked
	fmt.Println(server.Messages()[0].User)
	// Output:
	// asked, refresh: false
	// asked, refresh: true
	// map[]
	// map[]
	// testuser
}

// TLS from the start, or by STARTTLS. The certificate and its name are verified
// unless that is switched off.
func Example_secure() {
	for _, mode := range []string{"smtp", "smtps", "starttls"} {
		server := smtptest.NewUnstartedServer()
		server.Mode, _ = postrider.ParseSecureMode(mode)
		server.Start()

		cfg := server.Config() // trusts the server's own CA
		cfg.Mode, _ = postrider.ParseSecureMode(mode)
		conn, err := postrider.NewConnection(cfg)
		if err != nil {
			fmt.Println(err)
			return
		}
		sendAardvarks(conn)
		fmt.Println(mode, "encrypted:", server.Messages()[0].TLS)
		conn.Close()
		server.Close()
	}
	// Output:
	// map[]
	// smtp encrypted: false
	// map[]
	// smtps encrypted: true
	// map[]
	// starttls encrypted: true
}

// With a maximum of two transactions per connection, the third message goes out on
// a new one.
func Example_transactionsPerConnection() {
	server := smtptest.NewServer()
	defer server.Close()
	cfg := server.Config()
	cfg.MaxTransactions = 2
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Println(server.ConnectionCount())
	for range 5 {
		sendAardvarks(conn)
		fmt.Println(server.ConnectionCount())
	}
	// Output:
	// 0
	// map[]
	// 1
	// map[]
	// 1
	// map[]
	// 2
	// map[]
	// 2
	// map[]
	// 3
}

// A maximum of zero is no limit.
func Example_noMaximum() {
	server := smtptest.NewServer()
	defer server.Close()
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	for range 10 {
		to := []string{"bart@example.com"}
		if _, err := conn.SendMail(context.Background(), "anne@example.com", to, []byte(aardvarks)); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(server.ConnectionCount())
	// Output: 1
}

// In development mode all mail goes to one safe address, as many times as there
// were recipients. It reaches connections that exist already.
func Example_developmentMode() {
	server := smtptest.NewServer()
	defer server.Close()
	c, err := config.Parse("mailman.cfg", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	conn := connect(c, server)
	defer conn.Close()
	if err := c.Push("devmode", `
		[devmode]
		enabled: yes
		recipient: zperson@example.com
		`); err != nil {
		fmt.Println(err)
		return
	}
	server.Clear()
	sendAardvarks(conn, "bart@example.com", "cate@example.com")
	messages := server.Messages()
	fmt.Println(len(messages))
	for line := range strings.Lines(messages[0].String()) {
		if strings.HasPrefix(line, "X-Peer:") {
			line = "X-Peer: ...\n" // whatever port the connection had
		}
		fmt.Print(line)
	}
	fmt.Println(c.Pop("devmode"))
	// Output:
	// map[]
	// 1
	// From: anne@example.com
	// To: bart@example.com
	// Subject: aardvarks
	// X-Peer: ...
	// X-MailFrom: anne@example.com
	// X-RcptTo: zperson@example.com, zperson@example.com
	//
	// <nil>
}

// Send tells of every recipient what became of it.
func ExampleConnection_Send() {
	server := smtptest.NewServer()
	defer server.Close()
	server.Inject(smtptest.Fault{Command: "RCPT", Address: "nobody@example.com", Reply: "550 5.1.1 no such user"})
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	result, err := conn.Send(context.Background(), &postrider.Message{
		From:    "anne@example.com",
		To:      []string{"bart@example.com", "nobody@example.com", "Cate <cate@example.com>"},
		Content: postrider.Bytes([]byte(aardvarks)),
	})
	for _, o := range result.Outcomes {
		fmt.Println(o.Recipient, "is", o.State, "at", o.Stage)
	}
	fmt.Println("error:", err)
	// Output:
	// bart@example.com is accepted at content
	// nobody@example.com is refused at rcpt
	// Cate <cate@example.com> is refused at local
	// error: <nil>
}

// Only those who can be sent to again without a duplicate are.
func ExampleResult_Remaining() {
	server := smtptest.NewServer()
	defer server.Close()
	server.Inject(
		smtptest.Fault{Command: "RCPT", Nth: 2, Reply: "450 4.2.0 greylisted"},
		smtptest.Fault{Command: "RCPT", Nth: 3, Reply: "550 5.1.1 no such user"},
	)
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()

	m := &postrider.Message{
		From: "anne@example.com", To: []string{"bart@example.com", "cate@example.com", "dave@example.com"},
		Content: postrider.Bytes([]byte(aardvarks)),
	}
	for try := 1; m != nil && try <= 5; try++ {
		result, err := conn.Send(context.Background(), m)
		if err != nil {
			fmt.Println(err)
		}
		for _, o := range result.Outcomes {
			fmt.Println(try, o)
		}
		m = result.Remaining()
		time.Sleep(time.Millisecond) // minutes, with a real server
	}
	// Output:
	// 1 bart@example.com: accepted at content: 250 2.0.0 Ok: queued as 1-1
	// 1 cate@example.com: deferred at rcpt: 450 4.2.0 greylisted
	// 1 dave@example.com: refused at rcpt: 550 5.1.1 no such user
	// 2 cate@example.com: accepted at content: 250 2.0.0 Ok: queued as 1-2
}

func ExampleConnection_SendAll() {
	server := smtptest.NewServer()
	defer server.Close()
	conn, err := postrider.NewConnection(server.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	messages := func(yield func(*postrider.Message) bool) {
		for _, name := range []string{"anne", "bart", "cate"} {
			text := fmt.Sprintf("Subject: for %s\n\nHello %s\n", name, name)
			m := &postrider.Message{
				From: "list@example.com", To: []string{name + "@example.com"}, Content: postrider.Bytes([]byte(text)),
			}
			if !yield(m) {
				return
			}
		}
	}
	for result, err := range conn.SendAll(context.Background(), messages) {
		fmt.Println(result.Message.To[0], result.Outcomes[0].State, err)
	}
	fmt.Println(server.ConnectionCount(), "connection")
	// Output:
	// anne@example.com accepted <nil>
	// bart@example.com accepted <nil>
	// cate@example.com accepted <nil>
	// 1 connection
}

// An error says where it happened, what the server said, and what to do.
func ExampleError() {
	server := smtptest.NewServer() // knows no TLS
	defer server.Close()
	cfg := server.Config()
	cfg.Mode = postrider.StartTLS
	conn, err := postrider.NewConnection(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	_, err = conn.SendMail(context.Background(), "anne@example.com", []string{"bart@example.com"}, []byte(aardvarks))
	line := strings.Replace(err.Error(), server.Addr, "mail.example.com:587", 1)
	fmt.Println(strings.ReplaceAll(line, "; ", ";\n"))
	// Output:
	// postrider: mail.example.com:587: STARTTLS: the server does not offer STARTTLS;
	// try another port: 587, or 465 and set Config.Mode to ImplicitTLS;
	// only if the way to the server is safe without TLS, set Config.Mode to Insecure
}

// The second server takes over while the first is down.
func ExampleNewPool() {
	primary, backup := smtptest.NewServer(), smtptest.NewServer()
	defer backup.Close()
	primary.Close() // it is down
	pool, err := postrider.NewPool(postrider.PoolConfig{MaxConnections: 2}, primary.Config(), backup.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	to := []string{"bart@example.com"}
	refused, err := pool.SendMail(context.Background(), "anne@example.com", to, []byte(aardvarks))
	fmt.Println(refused, err)
	fmt.Println("the backup took", len(backup.Messages()))
	fmt.Println(pool.Stats().Servers[0].Down, pool.Shutdown(context.Background()))
	// Output:
	// map[] <nil>
	// the backup took 1
	// true <nil>
}

// Many goroutines share a few connections, at the rate that the server wants.
func ExamplePool_SendAll() {
	server := smtptest.NewServer()
	defer server.Close()
	pool, err := postrider.NewPool(postrider.PoolConfig{}, server.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	messages := func(yield func(*postrider.Message) bool) {
		for _, to := range []string{"anne@example.com", "bart@example.com", "cate@example.com"} {
			m := &postrider.Message{
				From: "list@example.com", To: []string{to}, Content: postrider.Bytes([]byte(aardvarks)),
			}
			if !yield(m) {
				return
			}
		}
	}
	for result, err := range pool.SendAll(context.Background(), messages) {
		fmt.Println(result.Outcomes[0].Recipient, result.Outcomes[0].State, err)
	}
	// Output:
	// anne@example.com accepted <nil>
	// bart@example.com accepted <nil>
	// cate@example.com accepted <nil>
}

func ExamplePool_Send() {
	server := smtptest.NewServer()
	defer server.Close()
	cfg := postrider.PoolConfig{MaxConnections: 2, MessageRate: 1000, MessageBurst: 100}
	pool, err := postrider.NewPool(cfg, server.Config())
	if err != nil {
		fmt.Println(err)
		return
	}
	var senders sync.WaitGroup
	for i := range 100 {
		senders.Go(func() {
			_, _ = pool.Send(context.Background(), &postrider.Message{
				From:    "anne@example.com",
				To:      []string{fmt.Sprintf("user%d@example.com", i)},
				Content: postrider.Bytes([]byte(aardvarks)),
			})
		})
	}
	senders.Wait()
	fmt.Println(pool.Stats().Accepted, "accepted; over two connections at the most:", server.MostConnections() <= 2)
	fmt.Println(pool.Shutdown(context.Background()))
	// Output:
	// 100 accepted; over two connections at the most: true
	// <nil>
}

package session_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postrider/postrider/internal/cause"
	"github.com/postrider/postrider/internal/hint"
	"github.com/postrider/postrider/internal/session"
)

// dialOnce is a Dial of one connection.
func dialOnce(conn net.Conn) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) { return conn, nil }
}

// far lets a connection in memory look as if it led to another machine.
type far struct{ net.Conn }

func (far) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25} }

func faraway(dial func(context.Context) (net.Conn, error)) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		return far{conn}, err
	}
}

// serveAuth asks for what was not said, and lets everybody in.
func serveAuth(conn net.Conn, lines chan<- string) {
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		lines <- line
		answer := "235 in\r\n"
		if line == "AUTH PLAIN\r\n" {
			answer = "334 \r\n"
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

// RFC 3207 §4, §6: STARTTLS or nothing.
func TestStartTLS(t *testing.T) {
	for _, tt := range []struct {
		name, offers string
		script       script
		want         string
		is           error
		lost         bool
	}{
		{name: "agreed", offers: "STARTTLS", script: script{"C: STARTTLS", "S: 220 go"}},
		{name: "not offered", offers: "SIZE", want: "STARTTLS: the server does not offer STARTTLS",
			is: hint.ErrNoStartTLS},
		{name: "refused", offers: "STARTTLS", script: script{"C: STARTTLS", "S: 454 4.7.0 not now"},
			want: "STARTTLS: 454 4.7.0 not now"},
		{name: "250 is no answer", offers: "STARTTLS", script: script{"C: STARTTLS", "S: 250 ok"},
			is:   session.ErrOutOfStep,
			want: "STARTTLS: 250 ok (this reply cannot answer the command: replies and commands are out of step)"},
		{name: "octets behind the 220", offers: "STARTTLS", script: script{"C: STARTTLS", "S> 220 go\r\n250-mx\r\n"},
			lost: true,
			want: "STARTTLS: the server sent octets in the clear behind its reply to STARTTLS; they may be injected"},
		{name: "closed", offers: "STARTTLS", script: script{"C: STARTTLS", "close"}, is: io.EOF, lost: true,
			want: "STARTTLS: the server closed the connection"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			r := introduced(t, tt.offers, tt.script, nil)
			failed := r.StartTLS()
			if failure(failed) != tt.want || tt.is != nil && !errors.Is(failed, tt.is) || r.Lost != tt.lost ||
				r.Encrypted {
				t.Errorf("%v; lost %t", failed, r.Lost)
			}
			var lasting cause.Lasting
			if injected := strings.Contains(tt.name, "octets"); failed != nil &&
				errors.As(failed, &lasting) != injected {
				t.Errorf("%v lasts: %t", failed, !injected)
			}
			r.leave(t)
		})
	}
}

// What was heard in the clear is forgotten, and what is said next is encrypted.
func TestHandshake(t *testing.T) {
	cert := selfSigned(t)
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	for _, tt := range []struct {
		name   string
		client *tls.Config
		want   string
	}{
		{"trusted", &tls.Config{ServerName: "mx.example.com", RootCAs: roots}, ""},
		{"not trusted", &tls.Config{ServerName: "mx.example.com", RootCAs: x509.NewCertPool()},
			"TLS handshake: tls: failed to verify certificate"},
		{"another name", &tls.Config{ServerName: "example.net", RootCAs: roots},
			"TLS handshake: tls: failed to verify certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			heard := make(chan string, 1)
			go func() {
				defer server.Close()
				defer close(heard)
				conn := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
				line, err := bufio.NewReader(conn).ReadString('\n')
				if err == nil {
					heard <- line
					io.WriteString(conn, "250 mx\r\n")
				}
			}()
			var events []string
			r := introducedTo(t, client, tt.client, &events)
			failed := r.Handshake(t.Context())
			if got := failure(failed); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") ||
				r.Encrypted != (tt.want == "") {
				t.Fatalf("%v", failed)
			}
			if failed == nil {
				if failed := r.Hello(t.Context()); failed != nil || r.TLSState.Version != tls.VersionTLS13 ||
					!r.TLSState.HandshakeComplete {
					t.Errorf("%v, %x", failed, r.TLSState.Version)
				}
				if line := <-heard; line != "EHLO client.example.com\r\n" {
					t.Errorf("said under TLS: %q", line)
				}
			} else if !r.Lost || !strings.Contains(failed.Error(), "the certificate is") {
				t.Errorf("lost %t: %v", r.Lost, failed)
			}
			r.Raw.Close()
			for range heard {
			}
		})
	}
}

// introducedTo is a session on a connection that somebody else serves.
func introducedTo(t *testing.T, conn net.Conn, cfg *tls.Config, events *[]string) *session.Session {
	t.Helper()
	s := session.New(settingsFor(conn, cfg, events))
	if failed := s.Dial(t.Context()); failed != nil {
		t.Fatal(failed)
	}
	return s
}

// A peer that says nothing, and a hook that never returns, cost the time limit and no more.
func TestHandshakeEnds(t *testing.T) {
	for name, hooked := range map[string]bool{"a silent peer": false, "a hook that hangs": true} {
		bubble(t, name, func(t *testing.T) {
			client, server := net.Pipe()
			release := make(chan struct{})
			cfg := &tls.Config{ServerName: "mx.example.com", InsecureSkipVerify: true}
			served := make(chan struct{})
			go func() {
				defer close(served)
				if hooked {
					conn := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}})
					conn.Handshake()
				}
				io.Copy(io.Discard, server)
			}()
			if hooked {
				cfg.VerifyConnection = func(tls.ConnectionState) error { <-release; return nil }
			}
			var events []string
			s := introducedTo(t, client, cfg, &events)
			start := time.Now()
			failed := s.Handshake(t.Context())
			if failed == nil || !strings.Contains(failed.Error(), "no TLS handshake within 1m0s") ||
				time.Since(start) != time.Minute || !s.Lost {
				t.Errorf("%v after %v", failed, time.Since(start))
			}
			close(release)
			s.Raw.Close()
			server.Close()
			<-served
			synctest.Wait()
		})
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// A peer that closes instead of a handshake has closed.
func TestHandshakeWithAPeerThatCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		go func() {
			server.Read(make([]byte, 1<<12))
			server.Close()
		}()
		var events []string
		s := introducedTo(t, client, &tls.Config{ServerName: "mx.example.com"}, &events)
		failed := s.Handshake(t.Context())
		if failure(failed) != "TLS handshake: the server closed the connection" || !errors.Is(failed, io.EOF) ||
			!s.Lost {
			t.Errorf("%v", failed)
		}
		s.Raw.Close()
	})
}

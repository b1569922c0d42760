package secure_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
	"github.com/postrider/postrider/smtptest"
)

// certificateFile is a certificate with its key, in one file that can be renewed.
type certificateFile struct {
	name   string
	writes int
}

func (f *certificateFile) write(t *testing.T, name string) {
	t.Helper()
	key := newTestKey(t)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{
		Type: "CERTIFICATE", Bytes: selfSign(t, key, &x509.Certificate{DNSNames: []string{name}}),
	}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
	if err := os.WriteFile(f.name, both, 0o600); err != nil {
		t.Fatal(err)
	}
	f.writes++ // each version has a time of its own, whatever the file system's grain
	if err := os.Chtimes(f.name, time.Time{}, time.Unix(int64(f.writes)*3600, 0)); err != nil {
		t.Fatal(err)
	}
}

// The certificate of Config.ClientCert logs in by EXTERNAL, and a renewed one does
// so from the next wire on, in both TLS modes and past resumed sessions.
func TestARenewedClientCertificateLogsIn(t *testing.T) {
	inBothTLSModes(t, "renewed", func(t *testing.T, s rig.Setting) {
		file := certificateFile{name: filepath.Join(t.TempDir(), "client.pem")}
		file.write(t, "first.example.com")
		r := s.Start(t, rig.Options{
			Server: func(s *smtptest.Server) {
				s.Users = map[string]string{"first.example.com": "-", "second.example.com": "-"}
				s.Mechanisms, s.TLS = []string{"EXTERNAL"}, &tls.Config{ClientAuth: tls.RequireAnyClientCert}
			},
			Client: func(cfg *postrider.Config) {
				cfg.User, cfg.Password, cfg.ClientCert = "", postrider.Secret{}, file.name
			},
		})
		for _, want := range []string{"first.example.com", "first.example.com", "second.example.com"} {
			if want == "second.example.com" {
				file.write(t, want)
			}
			r.Accepted("bart@example.com")
			r.Quit()
			all := r.Server.Messages()
			if got := all[len(all)-1].User; got != want {
				t.Errorf("message %d came from %q; want %q", len(all), got, want)
			}
		}
	})
}

// A server whose key is about to change is pinned by both; the error of a pin that
// is no more has the one to set, which then serves.
func TestPinsRotate(t *testing.T) {
	inBothTLSModes(t, "rotated", func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		pin, old := ownPin(t, r.Server), strings.Repeat("0", 64)
		pinned := func(pins ...string) error {
			r.Connect(func(cfg *postrider.Config) { cfg.TLS, cfg.CAFile, cfg.Pins = nil, "", pins })
			_, err := r.Send("bart@example.com")
			return err
		}
		if err := pinned(old, pin); err != nil {
			t.Error(err)
		}
		err := pinned(old)
		r.Equal("error", rig.Trouble(err), "connect TLS handshake 0 lasts")
		_, shown, _ := strings.Cut(rig.Text(err), "pin of its key ")
		shown, _, _ = strings.Cut(shown, ";")
		if err := pinned(shown); err != nil {
			t.Errorf("the pin %q that the error shows: %v", shown, err)
		}
	})
}

// A session that one connection began without a pin is not resumed by one whose pin
// is another: the hook that compares runs for resumed sessions too.
func TestAResumedSessionIsComparedWithThePins(t *testing.T) {
	inBothTLSModes(t, "resumed", func(t *testing.T, s rig.Setting) {
		r := s.Start(t, rig.Options{})
		right := ownPin(t, r.Server)
		cache := tls.NewLRUClientSessionCache(0)
		for _, c := range []struct {
			pin     string
			resumed bool
			ok      bool
		}{{right, false, true}, {right, true, true}, {strings.Repeat("0", 64), true, false}} {
			var resumed bool
			r.Connect(func(cfg *postrider.Config) {
				cfg.TLS, cfg.CAFile, cfg.Pins = &tls.Config{ClientSessionCache: cache}, "", []string{c.pin}
				cfg.Trace = rig.OnEvent(postrider.EventTLS, func(e postrider.Event) { resumed = e.TLS.DidResume })
			})
			if _, err := r.Send("bart@example.com"); (err == nil) != c.ok || resumed != c.resumed {
				t.Errorf("%+v: resumed %t, %v", c, resumed, err)
			}
			r.Quit()
		}
	})
}

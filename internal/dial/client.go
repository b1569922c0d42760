package dial

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// clientCertificate is a certificate with its key in files, which are looked at with each handshake and read again when
// their time or size has changed.
type clientCertificate struct {
	files [2]string

	mu     sync.Mutex
	cert   *tls.Certificate
	stamps [2]stamp
	number int // of the certificate: how many were read before
}

// stamp is by what a changed file is told.
type stamp struct {
	changed time.Time
	size    int64
}

func (t TLS) setClientCertificate(cfg *tls.Config) error {
	if t.CertFile == "" {
		if t.KeyFile != "" {
			return errors.New("client certificate: a key file is set, but no certificate file")
		}
		return nil
	}
	c := &clientCertificate{files: [2]string{t.CertFile, t.KeyFile}}
	if t.KeyFile == "" {
		c.files[1] = t.CertFile
	}
	if err := c.read(); err != nil {
		return err
	}
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, _ := c.current()
		return cert, nil
	}
	cfg.ClientSessionCache = sessionsOf{c, cfg.ClientSessionCache}
	return nil
}

// current returns the certificate of the files as they are now. While they cannot be read, or do not fit together
// because only one of them is new yet, the last one that was good holds; the next handshake looks again.
func (c *clientCertificate) current() (cert *tls.Certificate, number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, err := c.look(); err == nil && now != c.stamps {
		_ = c.read()
	}
	return c.cert, c.number
}

// read loads the files. The stamps are taken before, so that a change in between is seen the next time.
func (c *clientCertificate) read() error {
	now, err := c.look()
	if err != nil {
		return fmt.Errorf("client certificate: %w", err)
	}
	cert, err := tls.LoadX509KeyPair(c.files[0], c.files[1])
	if err != nil {
		return fmt.Errorf("client certificate of %s with the key of %s: %w", c.files[0], c.files[1], err)
	}
	c.cert, c.stamps = &cert, now
	c.number++
	return nil
}

func (c *clientCertificate) look() (now [2]stamp, err error) {
	for i, name := range c.files {
		info, err := os.Stat(name)
		if err != nil {
			return now, err
		}
		now[i] = stamp{info.ModTime(), info.Size()}
	}
	return now, nil
}

// sessionsOf keeps sessions under the certificate that they were begun with: a resumed session would go on showing an
// old one, as resuming asks for no certificate.
type sessionsOf struct {
	certificate *clientCertificate
	sessions    tls.ClientSessionCache
}

func (s sessionsOf) Get(key string) (*tls.ClientSessionState, bool) {
	return s.sessions.Get(s.key(key))
}

func (s sessionsOf) Put(key string, session *tls.ClientSessionState) {
	s.sessions.Put(s.key(key), session)
}

func (s sessionsOf) key(key string) string {
	_, number := s.certificate.current()
	return strconv.Itoa(number) + " " + key
}

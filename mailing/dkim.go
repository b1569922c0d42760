package mailing

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/header"
	"github.com/postrider/postrider/internal/wire"
)

// DKIM is a key to sign with (RFC 6376).
type DKIM struct {
	// Domain takes responsibility for the mail; its DNS has the public key under
	// the name Selector._domainkey.
	Domain, Selector string

	// Key is an *rsa.PrivateKey, an ed25519.PrivateKey (RFC 8463), or a signer that has one.
	Key crypto.Signer
}

// Signed is a plan whose messages are signed, after every other change. The body is read once more for each message
// that is made; a content that can be read only once cannot be signed, unless the plan holds it in memory.
func Signed(plan Plan, key DKIM) Plan {
	return func(m *postrider.Message) (iter.Seq[Part], error) {
		if _, err := key.sign(nil, strings.NewReader("From: a@example.com\r\n\r\n")); err != nil {
			return nil, fmt.Errorf("signing (DKIM): %w", err)
		}
		parts, err := plan(m)
		if err == nil {
			err = replayable(context.Background(), m, parts)
		}
		if err != nil {
			return nil, err
		}
		return func(yield func(Part) bool) {
			for p := range parts {
				build := p.Build
				p.Build = func() (*postrider.Message, error) { return key.signed(build) }
				if !yield(p) {
					return
				}
			}
		}, nil
	}
}

// signed makes a message and puts the signature before it.
func (k DKIM) signed(build func() (*postrider.Message, error)) (*postrider.Message, error) {
	m, err := build()
	if err != nil {
		return nil, err
	}
	s, err := k.signature(m.Content)
	if err != nil {
		return nil, fmt.Errorf("signing (DKIM): %w", err)
	}
	signed := *m
	if s.text != nil {
		signed.Content = postrider.Bytes(append([]byte(s.field), s.text...))
		return &signed, nil
	}
	signed.Content = postrider.FuncSize(int64(len(s.field))+s.size, func() (io.ReadCloser, error) {
		r, err := m.Content.Open()
		if err != nil {
			return nil, err
		}
		return &reader{io.MultiReader(strings.NewReader(s.field), r), r}, nil
	})
	return &signed, nil
}

// signature is one of a content.
type signature struct {
	field string
	text  []byte // all of the content if it is small
	size  int64  // octets that were signed, so that no other number of them is sent
}

func (k DKIM) signature(c postrider.Content) (s signature, err error) {
	r, err := c.Open()
	if err != nil {
		return s, err
	}
	defer r.Close()
	buffered := bufio.NewReader(r)
	section, err := header.Read(buffered)
	if err != nil {
		return s, err
	}
	head := section.Bytes()
	body, err := io.ReadAll(io.LimitReader(buffered, int64(max(0, joined+1-len(head)))))
	if err != nil {
		return s, err
	}
	text := append(head, body...)
	rest := &counted{r: buffered}
	s.field, err = k.sign(section, io.MultiReader(bytes.NewReader(text), rest))
	if s.size = int64(len(text)) + rest.n; len(text) <= joined {
		s.text = text
	}
	return s, err
}

// counted is a reader that counts.
type counted struct {
	r io.Reader
	n int64
}

// Read reads and counts.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// sign signs what will be on the wire.
func (k DKIM) sign(section header.Section, r io.Reader) (field string, err error) {
	s, err := dkim.NewSigner(&dkim.SignOptions{
		Domain: k.Domain, Selector: k.Selector, Signer: k.Key, HeaderKeys: signedFields(section),
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	if err != nil {
		return "", err
	}
	w := &repairing{w: s}
	_, err = io.Copy(w, r)
	if err = errors.Join(err, w.finish(), s.Close()); err != nil {
		return "", err
	}
	return s.Signature(), nil
}

// signedFields are those of RFC 6376 §5.4.1 that the message has, and List-Unsubscribe (RFC 8058 §4). Fields that it
// lacks are not signed as lacking: an MTA may add a Date or a Message-ID.
func signedFields(section header.Section) []string {
	names := []string{"From"}
	for _, name := range []string{
		"Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
		"List-Id", "List-Unsubscribe", "List-Unsubscribe-Post",
	} {
		if section.Has(name) {
			names = append(names, name)
		}
	}
	return names
}

// repairing makes every line end CRLF, as the connection will: a signature is over the octets that arrive.
type repairing struct {
	w   io.Writer
	r   wire.Repairer
	buf []byte
}

// Write passes p on with other line ends.
func (r *repairing) Write(p []byte) (int, error) {
	r.buf = r.r.Append(r.buf[:0], p)
	_, err := r.w.Write(r.buf)
	return len(p), err
}

// finish ends the last line.
func (r *repairing) finish() error {
	_, err := r.w.Write(r.r.Finish(nil))
	return err
}

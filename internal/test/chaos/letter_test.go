package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/postrider/postrider"
)

// letter is one message, with its own sender and recipients, so that what is said on a
// wire shows whose it is.
type letter struct {
	id      int
	message *postrider.Message
	content []byte // as it must arrive
	shrunk  []byte // as it may arrive when it is sent again, where its file shrinks meanwhile
	kind    string
	broken  bool // it can never be sent whole
	sends   []*sending
	block   chan struct{} // its reader blocks until this is closed
	onMail  func()
}

// sending is one call of Send, or what SendAll gave for a message.
type sending struct {
	began, ended int64
	result       *postrider.Result
	err          error
	cut          bool // the context ended, or the client was closed
	late         time.Duration
}

// canonical is what must arrive of a content: every line ended by CRLF, the last too,
// and nothing else changed. Written a second time, on purpose.
func canonical(raw []byte) []byte {
	out := make([]byte, 0, len(raw)+len(raw)/20+2)
	ended := true
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\r' && i+1 < len(raw) && raw[i+1] == '\n':
			i++
			out, ended = append(out, "\r\n"...), true
		case c == '\r', c == '\n':
			out, ended = append(out, "\r\n"...), true
		default:
			out, ended = append(out, c), false
		}
	}
	if !ended {
		out = append(out, "\r\n"...)
	}
	return out
}

// temptations are lines that a confused server executes, or that end a content early.
var temptations = []string{".", "..", ".x", "MAIL FROM:<forged@evil.example>", "RCPT TO:<victim@evil.example>", "DATA",
	"BDAT 5 LAST", "BDAT 0 LAST",
	"RSET", "QUIT", "NOOP", "250 2.0.0 taken", "354 go ahead", "421 closing", "", "EHLO evil.example", "STARTTLS"}

var lineEnds = []string{"\r\n", "\r\n", "\n", "\r", "\r\n\r\n", "\n\r"}

// firstWords begin every content.
const firstWords = "X-Letter: "

// text makes a content of about that size.
func text(rnd *rand.Rand, id, size int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%d\nSubject: chaos\n\n", firstWords, id)
	ends := lineEnds[:1+rnd.IntN(len(lineEnds))]
	commands := rnd.IntN(3) == 0
	for b.Len() < size {
		if commands || rnd.IntN(20) == 0 {
			b.WriteString(temptations[rnd.IntN(len(temptations))])
		} else {
			fmt.Fprintf(&b, "%d: %0*d", id, 1+rnd.IntN(70), b.Len())
		}
		b.WriteString(ends[rnd.IntN(len(ends))])
	}
	if commands {
		for _, l := range []string{
			"RSET", "MAIL FROM:<forged@evil.example>", "RCPT TO:<victim@evil.example>", "DATA", "Subject: forged", "",
			"forged", ".",
		} {
			b.WriteString(l + "\r\n")
		}
	}
	if rnd.IntN(3) == 0 {
		b.WriteString("no end")
	}
	return b.Bytes()
}

func drawSize(rnd *rand.Rand) int {
	switch n := rnd.IntN(100); {
	case n < 80:
		return rnd.IntN(1500)
	case n < 90:
		return 64<<10 - 200 + rnd.IntN(400)
	case n < 96:
		return 256<<10 - 3000 + rnd.IntN(6000)
	case n < 98:
		return 300_000 + rnd.IntN(300_000)
	}
	return 1<<20 + rnd.IntN(200_000)
}

// draw makes a letter.
func (w *world) draw(rnd *rand.Rand, id int, dir string) *letter {
	l := &letter{id: id, kind: "bytes"}
	l.message = &postrider.Message{From: fmt.Sprintf("s%d-%d@sender.example", w.seed, id)}
	for r := range 1 + rnd.IntN(4)*rnd.IntN(3) {
		l.message.To = append(l.message.To, fmt.Sprintf("r%d-%d.%d@d%d.example", w.seed, id, r, rnd.IntN(3)))
	}
	raw := text(rnd, id, drawSize(rnd))
	l.content = canonical(raw)
	l.message.Content = l.pack(rnd, raw, dir)
	w.letters[l.message.From] = l
	return l
}

func (l *letter) pack(rnd *rand.Rand, raw []byte, dir string) postrider.Content {
	at := rnd.IntN(len(raw) + 1)
	switch rnd.IntN(16) {
	case 0, 1:
		l.kind = "file"
		return postrider.File(l.file(raw, dir))
	case 2, 3:
		l.kind = "func"
		return postrider.Func(func() (io.ReadCloser, error) { return io.NopCloser(&pieces{b: raw, n: 1 + at}), nil })
	case 4, 5:
		l.kind = "reader"
		return postrider.Reader(&pieces{b: raw, n: 1 + at})
	case 6:
		l.kind, l.broken = "failing func", true
		return postrider.Func(func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(raw[:at]), failing{})), nil
		})
	case 7:
		l.kind, l.broken = "failing open", true
		return postrider.Func(func() (io.ReadCloser, error) { return nil, errors.New("no content today") })
	case 8:
		if rnd.IntN(6) > 0 {
			break
		}
		l.kind, l.broken, l.block = "blocking reader", true, make(chan struct{})
		return postrider.Func(func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(raw[:at]), blocking{l.block})), nil
		})
	case 9:
		if len(raw) > 200_000 {
			l.kind = "shrinking file"
			name := l.file(raw, dir)
			l.onMail = func() { os.Truncate(name, int64(len(raw)/2)) }
			l.shrunk = canonical(raw[:len(raw)/2])
			return postrider.File(name)
		}
	}
	return postrider.Bytes(raw)
}

func (l *letter) file(raw []byte, dir string) string {
	name := filepath.Join(dir, fmt.Sprint(l.id))
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		panic(err)
	}
	return name
}

// pieces reads in pieces, and has no other method.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(to, p.b[:min(p.n, len(p.b))])
	p.b = p.b[n:]
	return n, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

type blocking struct{ until chan struct{} }

func (b blocking) Read([]byte) (int, error) {
	<-b.until
	return 0, errors.New("released")
}

package postrider_test

import (
	"bytes"
	"context"
	"iter"
	"sync"
	"testing"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/smtptest"
)

func benchServer(b *testing.B, ext func(*smtptest.Extensions)) *postrider.Connection {
	s := smtptest.NewUnstartedServer()
	s.Discard = true
	if ext != nil {
		ext(&s.Extensions)
	}
	s.Start()
	b.Cleanup(s.Close)
	c, err := postrider.NewConnection(s.Config())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func benchMessage(n int) *postrider.Message {
	line := []byte("0123456789012345678901234567890123456789012345678901234567890123456789\r\n")
	content := append([]byte("From: a@example.com\r\nSubject: x\r\n\r\n"), bytes.Repeat(line, n/len(line))...)
	return &postrider.Message{From: "anne@example.com", To: []string{"bart@example.com"}, Content: postrider.Bytes(content)}
}

func BenchmarkSendAll1K(b *testing.B) {
	for name, ext := range map[string]func(*smtptest.Extensions){"chunking": nil, "pipelining": func(e *smtptest.Extensions) { e.Chunking = false }} {
		b.Run(name, func(b *testing.B) {
			c := benchServer(b, ext)
			m := benchMessage(1024)
			b.ReportAllocs()
			b.ResetTimer()
			var seq iter.Seq[*postrider.Message] = func(yield func(*postrider.Message) bool) {
				for range b.N {
					if !yield(m) {
						return
					}
				}
			}
			for _, err := range c.SendAll(context.Background(), seq) {
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSend1K(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(map[int]string{1: "one", 64: "64"}[n], func(b *testing.B) {
			c := benchServer(b, nil)
			m := benchMessage(1024)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			per := b.N/n + 1
			for range n {
				wg.Go(func() {
					for range per {
						if _, err := c.Send(context.Background(), m); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

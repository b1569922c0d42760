package flow_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/internal/test/rig"
)

// A large message streams: all that is allocated for 10 MiB, client and server
// together and garbage included, is less than 2 MiB. So is the heap at any time.
func TestALargeMessageStreamsInLittleMemory(t *testing.T) {
	if rig.Raced {
		t.Skip("under the race detector sync.Pool drops at random, crypto/tls's buffers among them")
	}
	const size, limit = 10 << 20, 2 << 20
	contents := map[string][]byte{
		"clean": rig.Clean(size), "LF": rig.Lines("0123456789abcdef\n", size),
		"dots": rig.Lines(".0123456789abcdef\r\n", size), "one line": rig.Lines("0123456789abcdef", size),
	}
	for name, text := range contents {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		for kind, content := range map[string]func() postrider.Content{
			"Bytes": func() postrider.Content { return postrider.Bytes(text) },
			"File":  func() postrider.Content { return postrider.File(file) },
			"Func": func() postrider.Content {
				return postrider.Func(func() (io.ReadCloser, error) { return os.Open(file) })
			},
			"Reader": func() postrider.Content { return postrider.Reader(bytes.NewReader(text)) },
		} {
			for _, mode := range []postrider.SecureMode{postrider.Insecure, postrider.ImplicitTLS} {
				t.Run(fmt.Sprint(name, " ", kind, " ", mode), func(t *testing.T) {
					conn := rig.Discarding(t, mode)
					send(t, conn, postrider.Bytes(nil)) // the wire is open, its buffers are there
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					send(t, conn, content())
					runtime.ReadMemStats(&after)
					if got := after.TotalAlloc - before.TotalAlloc; got >= limit {
						t.Errorf("%d KiB were allocated for a message of %d KiB", got>>10, len(text)>>10)
					}
				})
			}
		}
	}
}

func send(t *testing.T, conn *postrider.Connection, content postrider.Content) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := rig.Mail("bart@example.com")
	m.Content = content
	if result, err := conn.Send(ctx, m); err != nil {
		t.Fatal(err, result.Outcomes)
	}
}

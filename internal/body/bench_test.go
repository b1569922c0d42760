package body

import (
	"bytes"
	"context"
	"io"
	"testing"
)

// What it costs to prepare a small content from the caller's code, beside one in memory.
func BenchmarkLoad(b *testing.B) {
	small := text(1 << 10)
	for name, c := range map[string]Content{
		"Bytes":  Bytes(small),
		"Func":   From(Func(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(small)), nil })),
		"Reader": From(Reader(bytes.NewReader(small))),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				body, err := Load(context.Background(), c)
				if err != nil || !body.Small {
					b.Fatal(body, err)
				}
				body.Discard(context.Background())
			}
		})
	}
}

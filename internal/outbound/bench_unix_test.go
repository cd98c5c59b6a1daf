//go:build unix

package outbound

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// rawReceiver answers every request with the same bytes and allocates nothing,
// so that what is measured is the sender.
func rawReceiver(b *testing.B, body int) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\nContent-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nok")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer, seen := make([]byte, 8192), 0
				for {
					n, err := c.Read(buffer[seen:])
					if err != nil {
						return
					}
					seen += n
					if head := bytes.Index(buffer[:seen], []byte("\r\n\r\n")); head < 0 || seen < head+4+body {
						continue
					}
					seen = 0
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/in"
}

// BenchmarkSend compares the two ways of an exchange over HTTP/1.1: our own, and
// net/http's transport as Do used it before, trace, limits and all. It gives
// the processor time of both sides as well: a raw receiver's is the same.
// `go test -bench Send -run '^$' -benchmem`.
func BenchmarkSend(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 600)
	header := benchHeaders()
	client := New(Config{Dev: true})
	defer client.Close()
	url := rawReceiver(b, len(body))
	t, err := client.target(url)
	if err != nil {
		b.Fatal(err)
	}
	request := Request{URL: url, Header: header, Body: body}
	for _, way := range []struct {
		name string
		do   func(ctx context.Context) (cybervault.Exchange, error)
	}{
		{"transport", func(ctx context.Context) (x cybervault.Exchange, err error) {
			err = client.overTransport(ctx, &request, t, client.shared, nil, time.Now(), &x)
			return x, err
		}},
		{"lean", func(ctx context.Context) (cybervault.Exchange, error) { return client.Do(ctx, request) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			ctx := b.Context()
			before := processorTime(b)
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if x, err := way.do(ctx); err != nil || x.Status != 200 {
						b.Error(fmt.Errorf("exchange %+v: %w", x, err))
						return
					}
				}
			})
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what this process has used, in nanoseconds.
func processorTime(b *testing.B) int64 {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

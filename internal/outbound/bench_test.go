package outbound

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cybervault/cybervault"
)

// BenchmarkPOST compares Do with a bare http.Client that makes the same request
// over loopback with keep-alive. `go test -bench POST -run '^$' -benchmem`.
func BenchmarkPOST(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}))
	defer s.Close()
	body := bytes.Repeat([]byte("x"), 600)
	header := benchHeaders()
	const goroutines = 64
	b.Run("bare", func(b *testing.B) {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: MaxIdleConnsPerHost, DisableCompression: true}}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		b.SetParallelism(goroutines / 2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, s.URL, bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				for _, h := range header {
					request.Header.Set(h.Name, h.Value)
				}
				answer, err := client.Do(request)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
			}
		})
	})
	b.Run("outbound", func(b *testing.B) {
		client := New(Config{Dev: true})
		defer client.Close()
		b.ReportAllocs()
		b.SetParallelism(goroutines / 2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if x, err := client.Do(b.Context(), Request{URL: s.URL, Header: header, Body: body}); err != nil || x.Status != 200 {
					b.Error(fmt.Errorf("exchange %+v: %w", x, err))
					return
				}
			}
		})
	})
}

func benchHeaders() []cybervault.Header {
	return []cybervault.Header{
		{Name: "Content-Type", Value: "application/json"},
		{Name: "User-Agent", Value: "CyberVault-Webhooks/1"},
		{Name: "X-CyberVault-Signature", Value: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
		{Name: "X-CyberVault-Event", Value: "threat.detected"},
		{Name: "X-CyberVault-Delivery", Value: "dlv_0192d3a4-0000-7000-8000-000000000000"},
		{Name: "X-CyberVault-Attempt", Value: "1"},
		{Name: "X-CyberVault-Sequence", Value: "12345"},
		{Name: "webhook-id", Value: "wh_0192d3a4-0000-7000-8000-000000000000"},
		{Name: "webhook-timestamp", Value: "1763900000"},
		{Name: "webhook-signature", Value: "v1,MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="},
	}
}

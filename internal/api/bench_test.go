package api_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/internal/api"
)

// What the API itself costs for an event of 600 bytes in a batch of 100, with
// services that do nothing.
func BenchmarkBatch(b *testing.B) {
	f := &fakes{}
	h := api.New(api.Config{Publisher: f, Webhooks: f, Log: f, Replayer: f, Catalogue: f, Telemetry: f, Keys: f, Health: f, Logger: slog.New(slog.DiscardHandler)})
	body := strings.Repeat(padded(600)+"\n", 100)
	b.ReportAllocs()
	for b.Loop() {
		f.published = f.published[:0]
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/events/batch", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+eventsKey)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
		_, _ = io.Copy(io.Discard, w.Body)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100, "µs/event")
}

// Command go is a receiver of CyberVault's webhooks:
//
//	CYBERVAULT_WEBHOOK_SECRET=whsec_... go run ./examples/receivers/go
//
// Put it behind something that speaks HTTPS. CYBERVAULT_WEBHOOK_SECRET may hold
// two secrets with a comma between them while a rotation overlaps.
package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cybervault/cybervault/receiver"
)

func main() {
	secrets := strings.FieldsFunc(os.Getenv("CYBERVAULT_WEBHOOK_SECRET"), func(r rune) bool { return r == ',' })
	if len(secrets) == 0 {
		slog.Error("CYBERVAULT_WEBHOOK_SECRET is missing: use the secret that was shown when the webhook was made")
		os.Exit(2)
	}

	mux := http.NewServeMux()
	mux.Handle("/hooks/cybervault", receiver.Handler(receiver.Options{
		Secrets: secrets,
		Store:   receiver.NewMemoryStore(0), // each event once, until the program ends
		OnError: func(_ *http.Request, err error) { slog.Warn("a delivery was not taken", "error", err) },
	}, handle))

	server := &http.Server{Addr: "127.0.0.1:3000", Handler: mux, ReadTimeout: 10 * time.Second}
	slog.Info("listening", "url", "http://"+server.Addr+"/hooks/cybervault")
	slog.Error("the server ended", "error", server.ListenAndServe())
	os.Exit(1)
}

// handle does whatever is to be done with an event. An error has it sent again.
func handle(_ context.Context, e receiver.Event) error {
	if e.Type != "threat.detected" {
		slog.Info("an event", "event", e.Type, "id", e.ID)
		return nil
	}
	var threat struct {
		Severity   string  `json:"severity"`
		SourceIP   *string `json:"source_ip"` // nil where it is not known
		Vector     string  `json:"vector"`
		Confidence float64 `json:"confidence"`
	}
	if err := e.Decode(&threat); err != nil {
		return err
	}
	source := "unknown"
	if threat.SourceIP != nil {
		source = *threat.SourceIP
	}
	slog.Info("a threat", "severity", threat.Severity, "vector", threat.Vector, "source", source, "confidence", threat.Confidence)
	return nil
}

// Command go is a receiver of CyberVault's webhooks:
//
//	CYBERVAULT_WEBHOOK_SECRET=whsec_... go run ./examples/receivers/go
//
// Put it behind something that speaks HTTPS. CYBERVAULT_WEBHOOK_SECRET may hold
// two secrets with a comma between them while a rotation overlaps.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cybervault/cybervault/receiver"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(log); err != nil {
		log.Error("the receiver ended", "error", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(log *slog.Logger) error {
	secrets := strings.FieldsFunc(os.Getenv("CYBERVAULT_WEBHOOK_SECRET"), func(r rune) bool { return r == ',' })
	if len(secrets) == 0 {
		return errors.New("CYBERVAULT_WEBHOOK_SECRET is missing: use the secret that was shown when the webhook was made")
	}
	mux := http.NewServeMux()
	mux.Handle("/hooks/cybervault", receiver.Handler(receiver.Options{
		Secrets: secrets,
		Store:   receiver.NewMemoryStore(0), // each event once, until the program ends
		OnError: func(r *http.Request, err error) {
			log.WarnContext(r.Context(), "a delivery was not taken", "error", err)
		},
	}, func(ctx context.Context, e receiver.Event) error { return handle(ctx, log, e) }))

	server := &http.Server{Addr: "127.0.0.1:3000", Handler: mux, ReadTimeout: 10 * time.Second}
	log.Info("listening", "url", "http://"+server.Addr+"/hooks/cybervault")
	return server.ListenAndServe()
}

// handle does whatever is to be done with an event. An error has it sent again.
func handle(ctx context.Context, log *slog.Logger, e receiver.Event) error {
	if e.Type != "threat.detected" {
		log.InfoContext(ctx, "an event", "event", e.Type, "id", e.ID)
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
	log.InfoContext(ctx, "a threat", "severity", threat.Severity, "vector", threat.Vector,
		"source", source, "confidence", threat.Confidence)
	return nil
}

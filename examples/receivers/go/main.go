// Command go is a receiver of CyberVault's webhooks:
//
//	CYBERVAULT_WEBHOOK_SECRET=whsec_... go run ./examples/receivers/go
//
// Put it behind something that speaks HTTPS. CYBERVAULT_WEBHOOK_SECRET may hold
// two secrets with a comma between them while a rotation overlaps.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cybervault/cybervault/receiver"
)

func main() {
	secrets := strings.FieldsFunc(os.Getenv("CYBERVAULT_WEBHOOK_SECRET"), func(r rune) bool { return r == ',' })
	if len(secrets) == 0 {
		log.Fatal("CYBERVAULT_WEBHOOK_SECRET is missing: use the secret that was shown when the webhook was made")
	}

	mux := http.NewServeMux()
	mux.Handle("/hooks/cybervault", receiver.Handler(receiver.Options{
		Secrets: secrets,
		Store:   receiver.NewMemoryStore(0), // each event once, until the program ends
		OnError: func(r *http.Request, err error) { log.Printf("from %s: %v", r.RemoteAddr, err) },
	}, handle))

	server := &http.Server{Addr: "127.0.0.1:3000", Handler: mux, ReadTimeout: 10 * time.Second}
	log.Printf("listening on http://%s/hooks/cybervault", server.Addr)
	log.Fatal(server.ListenAndServe())
}

// handle does whatever is to be done with an event. An error has it sent again.
func handle(_ context.Context, e receiver.Event) error {
	if e.Type != "threat.detected" {
		log.Printf("%s %s", e.Type, e.ID)
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
	source := "an unknown address"
	if threat.SourceIP != nil {
		source = *threat.SourceIP
	}
	log.Printf("%s: %s from %s, confidence %.2f", threat.Severity, threat.Vector, source, threat.Confidence)
	return nil
}

package receiver_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/receiver"
)

// send makes a request as CyberVault would: in real life the signature is its work.
func send(h http.Handler, secret, body string) int {
	r := httptest.NewRequest(http.MethodPost, "/hooks/cybervault", strings.NewReader(body))
	at := time.Now().Unix()
	signature, err := cybervault.SignStandard(secret, "wh_1", at, []byte(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("webhook-id", "wh_1")
	r.Header.Set("webhook-timestamp", strconv.FormatInt(at, 10))
	r.Header.Set("webhook-signature", signature)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	event  = `{"id":"wh_1","event":"threat.detected","timestamp":"2025-01-15T14:32:00Z",` +
		`"data":{"threat_id":"thr_94x2k1","source_ip":"203.0.113.42"},` +
		`"metadata":{"workspace_id":"ws_5501","engine_version":"ai_v3.1","idempotency_key":"idm_x9z8y7w6"}}`
)

// A receiver that handles each threat once, however often it is delivered.
func ExampleHandler() {
	h := receiver.Handler(receiver.Options{
		Secrets: []string{secret},
		Store:   receiver.NewMemoryStore(0),
	}, func(_ context.Context, e receiver.Event) error {
		var threat struct {
			SourceIP *string `json:"source_ip"`
		}
		if e.Type != "threat.detected" {
			return nil
		}
		if err := e.Decode(&threat); err != nil {
			return err
		}
		fmt.Println("block", *threat.SourceIP)
		return nil
	})

	fmt.Println(send(h, secret, event))
	fmt.Println(send(h, secret, event))
	fmt.Println(send(h, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", event))
	// Output:
	// block 203.0.113.42
	// 200
	// 200
	// 401
}

// Within a framework: read the body as bytes, verify it, and only then parse it.
func ExampleVerify() {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, receiver.DefaultMaxBodyBytes))
		if err != nil {
			http.Error(w, "too long", http.StatusRequestEntityTooLarge)
			return
		}
		if err := receiver.Verify([]string{secret}, r.Header, body); err != nil {
			fmt.Println(err)
			http.Error(w, "not verified", http.StatusUnauthorized)
			return
		}
		e, err := receiver.ReadEvent(r.Header, body)
		if err != nil {
			http.Error(w, "not an event", http.StatusBadRequest)
			return
		}
		fmt.Println(e.Type, e.Metadata.IdempotencyKey)
	})

	fmt.Println(send(h, secret, event))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(event)))
	fmt.Println(w.Code)
	// Output:
	// threat.detected idm_x9z8y7w6
	// 200
	// the request is not signed: webhook-id, webhook-timestamp and webhook-signature must all be there
	// 401
}

// While a rotation overlaps, both secrets are good.
func ExampleVerify_rotation() {
	const next = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs="
	h := receiver.Handler(receiver.Options{Secrets: []string{next, secret}},
		func(context.Context, receiver.Event) error { return nil })
	fmt.Println(send(h, secret, event), send(h, next, event))
	// Output: 200 200
}

// A webhook whose signature is ed25519: the receiver holds nothing secret.
func ExamplePublicKeys() {
	private := cybervault.NewSigningKey(time.Now()).Private // in real life CyberVault alone has it
	public := cybervault.PublicKey(private)                 // and shows this as public_key

	h := receiver.Handler(receiver.Options{PublicKeys: []string{public}},
		func(_ context.Context, e receiver.Event) error {
			fmt.Println(e.Type)
			return nil
		})

	r := httptest.NewRequest(http.MethodPost, "/hooks/cybervault", strings.NewReader(event))
	at := time.Now().Unix()
	signature, err := cybervault.SignEd25519(private, "wh_1", at, []byte(event))
	if err != nil {
		panic(err)
	}
	r.Header.Set("webhook-id", "wh_1")
	r.Header.Set("webhook-timestamp", strconv.FormatInt(at, 10))
	r.Header.Set("webhook-signature", signature)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, send(h, secret, event))
	// Output:
	// threat.detected
	// 200 401
}

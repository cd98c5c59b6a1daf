package store

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

// What was sealed before there were these settings opens with the defaults.
func TestSealedPartOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	s, err := newSealer(bytes.Repeat([]byte{7}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.seal("whk_1", json.RawMessage(`{"secrets":[{"value":"whsec_x","created_at":"2026-01-02T03:04:05Z"}],"headers":null,"client_certificate":"PEM"}`))
	if err != nil {
		t.Fatal(err)
	}
	var part sealedPart
	if err := s.open("whk_1", sealed, &part); err != nil {
		t.Fatal(err)
	}
	var w cybervault.Webhook
	part.fill(&w)
	if diff := cmp.Diff(cybervault.Channel{}, w.Channel); diff != "" || w.Secrets[0].Value != "whsec_x" || w.ClientCertificate != "PEM" {
		t.Errorf("%+v: %s", w, diff)
	}
}

package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cybervault/cybervault"
)

func TestDetailRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.SampledFrom(packedWords[:]),
			// What has, or nearly has, one of the shapes.
			rapid.StringMatching(`[0-9]{0,20}`), rapid.StringMatching(`[0-9a-f]{64}|[0-9a-fA-F]{62,65}`), rapid.StringMatching(`v1,[A-Za-z0-9+/=\r\n]{41,45}|v1,[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=`),
			rapid.StringMatching(`(wh_|dlv_|WH_|_)?[0-9a-fA-F]{8}(-[0-9a-f]{4}){3}[-_][0-9a-f]{12}`),
		)
		duration := rapid.Map(rapid.Int64Range(-1<<40, 1<<40), func(us int64) time.Duration { return time.Duration(us) * time.Microsecond })
		headers := rapid.SliceOf(rapid.Custom(func(t *rapid.T) cybervault.Header {
			return cybervault.Header{Name: text.Draw(t, "name"), Value: text.Draw(t, "value")}
		}))
		want := cybervault.Exchange{
			URL: text.Draw(t, "url"), Error: text.Draw(t, "error"), BodyCut: rapid.Bool().Draw(t, "cut"),
			RemoteAddr: text.Draw(t, "addr"), Protocol: text.Draw(t, "protocol"), RetryAfter: duration.Draw(t, "after"),
			Timings: cybervault.Timings{DNS: duration.Draw(t, "dns"), Connect: duration.Draw(t, "connect"), TLS: duration.Draw(t, "tls"), FirstByte: duration.Draw(t, "first")},
			Request: headers.Draw(t, "request"), Answer: headers.Draw(t, "answer"),
		}
		if rapid.Bool().Draw(t, "tls") {
			second := rapid.Map(rapid.Int64Range(-1<<40, 1<<40), func(s int64) time.Time { return time.Unix(s, 0).UTC() })
			want.TLS = &cybervault.PeerTLS{
				Version: text.Draw(t, "version"), CipherSuite: text.Draw(t, "cipher suite"), Subject: text.Draw(t, "subject"), Issuer: text.Draw(t, "issuer"),
				Names: rapid.SliceOf(text).Draw(t, "names"), NotBefore: second.Draw(t, "from"), NotAfter: second.Draw(t, "until"),
				Fingerprint: hex.EncodeToString(rapid.SliceOf(rapid.Byte()).Draw(t, "fingerprint")),
			}
		}
		packed := encodeDetail(&want)
		var got cybervault.Exchange
		if err := decodeDetail(packed, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		cut := packed[:rapid.IntRange(0, len(packed)-1).Draw(t, "length")]
		if err := decodeDetail(cut, &got); err == nil {
			t.Fatalf("%d of %d bytes were taken for a whole detail", len(cut), len(packed))
		}
	})
}

// What an attempt sends is kept in a fraction of its size, and comes back to the letter.
func TestHeadersAreKeptSmall(t *testing.T) {
	t.Parallel()
	x := cybervault.Exchange{Protocol: "HTTP/1.1", Request: []cybervault.Header{
		{Name: "Content-Type", Value: "application/json"}, {Name: "X-CyberVault-Event", Value: cybervault.EventThreatDetected},
		{Name: "X-CyberVault-Delivery", Value: "dlv_019ca945-0a00-7003-807b-f693e42729a5"}, {Name: "X-CyberVault-Attempt", Value: "12"},
		{Name: "X-CyberVault-Signature", Value: cybervault.SignHex("whsec_c2VjcmV0", []byte("x"))},
		{Name: "webhook-timestamp", Value: "1767225600"}, {Name: "webhook-signature", Value: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
	}}
	if packed := encodeDetail(&x); len(packed) > 120 {
		t.Errorf("%d bytes", len(packed))
	}
}

// Rows that an earlier version wrote are still read.
func TestPlainDetail(t *testing.T) {
	t.Parallel()
	want := cybervault.Exchange{
		URL: "https://receiver.test", Error: "answered 500", RemoteAddr: "192.0.2.1:443", Protocol: "HTTP/1.1", BodyCut: true, RetryAfter: time.Second,
		Timings: cybervault.Timings{FirstByte: 3 * time.Millisecond},
		Request: []cybervault.Header{{Name: "webhook-id", Value: "wh_019ca945-0a00-7003-807b-f693e42729a5"}}, Answer: []cybervault.Header{{Name: "Date", Value: "\xff"}},
	}
	b := []byte{detailPlain, 1}
	for _, s := range []string{want.URL, want.Error, want.RemoteAddr, want.Protocol} {
		b = appendText(b, s)
	}
	for _, us := range []int64{0, 0, 0, 3000, 1_000_000} {
		b = binary.AppendVarint(b, us)
	}
	for _, h := range []cybervault.Header{want.Request[0], want.Answer[0]} {
		b = appendText(appendText(append(b, 1), h.Name), h.Value)
	}
	var got cybervault.Exchange
	if err := decodeDetail(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzDecodeDetail(f *testing.F) {
	f.Add(encodeDetail(&cybervault.Exchange{URL: "https://receiver.test", Request: []cybervault.Header{{Name: "a", Value: "b"}}}))
	f.Add(encodeDetail(&cybervault.Exchange{TLS: &cybervault.PeerTLS{Version: "TLS 1.3", Names: []string{"a", "b"}, Fingerprint: "00ff"}}))
	f.Add([]byte{detailPlain, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var x cybervault.Exchange
		if err := decodeDetail(b, &x); err == nil && len(x.Request)+len(x.Answer) > len(b) {
			t.Errorf("%d bytes made %d headers", len(b), len(x.Request)+len(x.Answer))
		}
		if x.TLS != nil && len(x.TLS.Names) > len(b) {
			t.Errorf("%d bytes made %d names", len(b), len(x.TLS.Names))
		}
	})
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"plain":    {"plain"},
		"Two Some": {"Two Some"},
		"a/b":      {"a/b", `a\/b`},
		`"x"`:      {`"x"`, `\"x\"`},
		"<b>":      {"<b>", `\u003cb\u003e`},
		"é":        {"é", `\u00e9`, "É"}, // \u00c9 has another digit, not another case
		"a\x00":    {`a\u0000`},
	} {
		got := spellings(text)
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("spellings(%q) = %q, want %q among them", text, got, w)
			}
		}
		if strings.Contains(strings.Join(got, ""), "\x00") || len(got) > 15 {
			t.Errorf("spellings(%q) = %q", text, got)
		}
	}
	if got := spellings("plain"); len(got) != 1 {
		t.Errorf("plain text is looked for %d times: %q", len(got), got)
	}
	if got := len(spellings("\xff" + strings.Repeat("ä", 1000))); got > 15 {
		t.Errorf("%d spellings", got)
	}
}

// An overview says so when it does not cover all rows, and not before.
func TestOverviewIsCapped(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "cybervault.db"), Key: make([]byte, KeySize)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.overviewRows = 10
	ids := cybervault.NewIDSource(1, 0, time.Now)
	ws, webhook := cybervault.NewID[cybervault.WorkspaceID](ids), cybervault.NewID[cybervault.WebhookID](ids)
	since := time.Now().Add(-time.Minute)
	publish := func(events, deliveries int) {
		for range events {
			run := ids.NextRun(1 + deliveries)
			pub := &cybervault.Publication{Event: &cybervault.Event{ID: cybervault.EventID{UUID: run[0]}, Workspace: ws, Type: "a.b", Body: []byte("{}")}}
			for _, id := range run[1:] {
				pub.Deliveries = append(pub.Deliveries, cybervault.NewDelivery{ID: cybervault.DeliveryID{UUID: id}, Webhook: webhook, Status: cybervault.DeliverySkipped})
			}
			if _, errs := s.Publish(t.Context(), []*cybervault.Publication{pub}); errs[0] != nil {
				t.Fatal(errs[0])
			}
		}
	}
	check := func(events, skipped int64, capped bool) {
		t.Helper()
		o, err := s.Overview(t.Context(), ws, since, 6)
		if err != nil {
			t.Fatal(err)
		}
		if o.ByType["a.b"] != events || o.ByStatus[cybervault.DeliverySkipped] != skipped || o.Capped != capped {
			t.Errorf("%d events, %d skipped, capped %v; want %d, %d, %v", o.ByType["a.b"], o.ByStatus[cybervault.DeliverySkipped], o.Capped, events, skipped, capped)
		}
	}
	publish(10, 1)
	check(10, 10, false)
	publish(1, 0)
	check(11, 10, true)
	s.overviewRows = 11
	check(11, 10, false)
	publish(0, 0)
	s.overviewRows = 9
	check(10, 10, true)
}

func TestSealedPartsAreBoundToTheirRow(t *testing.T) {
	t.Parallel()
	s, err := newSealer(bytes.Repeat([]byte{1}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.seal("whk_a", "secret")
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := s.open("whk_a", sealed, &got); err != nil || got != "secret" {
		t.Errorf("opened %q, %v", got, err)
	}
	if err := s.open("whk_b", sealed, &got); err == nil {
		t.Error("a sealed part was opened in another row")
	}
	again, err := s.seal("whk_a", "secret")
	if err != nil || bytes.Equal(sealed, again) {
		t.Errorf("sealed twice the same: %v", err)
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 1
		if err := s.open("whk_a", damaged, &got); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if err := s.open("whk_a", sealed[:i], &got); err == nil {
			t.Errorf("opened %d of %d bytes", i, len(sealed))
		}
	}
}

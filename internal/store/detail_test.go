package store

import (
	"bytes"
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
		text := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
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

func FuzzDecodeDetail(f *testing.F) {
	f.Add(encodeDetail(&cybervault.Exchange{URL: "https://receiver.test", Request: []cybervault.Header{{Name: "a", Value: "b"}}}))
	f.Add([]byte{detailFormat, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var x cybervault.Exchange
		if err := decodeDetail(b, &x); err == nil && len(x.Request)+len(x.Answer) > len(b) {
			t.Errorf("%d bytes made %d headers", len(b), len(x.Request)+len(x.Answer))
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

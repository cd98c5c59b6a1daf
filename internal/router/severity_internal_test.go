package router

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func TestOwnSeverity(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]cybervault.Severity{
		`{"severity":"critical"}`:                                 "critical",
		` { "a" : [ "x", 1 ] ,` + "\n\t" + `"severity" : "low" }`: "low",
		`{"severity":"high","a":{"severity":"info"}}`:             "high",
		`{"a":{"severity":"info"},"b":[{"severity":"low"}]}`:      "",
		`{"a":"severity","b":"x"}`:                                "",
		`{"a":"\"severity\":\"low\"","b":"\\"}`:                   "",
		`{"a":"{[","severity":"medium"}`:                          "medium",
		`{"sever\u0069ty":"h\u0069gh"}`:                           "high",
		`{"severity":4}`:                                          "",
		`{"severity":null}`:                                       "",
		`{"severity":{"severity":"low"}}`:                         "",
		`{"severity":"urgent"}`:                                   "urgent",
		`{"Severity":"low"}`:                                      "",
		`{}`:                                                      "",
	} {
		if got := ownSeverity([]byte(data)); got != want {
			t.Errorf("%s: %q, want %q", data, got, want)
		}
	}
}

// FuzzOwnSeverity holds the shortcut to what decoding the whole object says.
func FuzzOwnSeverity(f *testing.F) {
	for _, seed := range []string{
		`{"severity":"critical"}`, `{"a":["severity"],"severity":"low"}`, `{"a":"\"","severity" : "hi\u0067h"}`, `{"severity":"low","severity":1}`,
		`{"sever\u0069ty":{"severity":"low"}}`, `"severity`, `{"severity":`, "{\"severity\":\"\xd4\"}", `{"severity":"\`, "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := ownSeverity(data) // whatever it is given, it comes back
		var object map[string]any
		if json.Unmarshal(data, &object) != nil {
			return
		}
		want, _ := object["severity"].(string)
		if got.Rank() != cybervault.Severity(want).Rank() { // what is none of the words may differ, as bytes that are not UTF-8 do
			t.Errorf("%q: %q, want %q", data, got, want)
		}
	})
}

// BenchmarkOwnSeverity is what an event of a usual size costs more to publish.
func BenchmarkOwnSeverity(b *testing.B) {
	data := []byte(`{"threat_id":"thr_94x2k1","severity":"critical","source_ip":"203.0.113.42","target_asset":"prod-db-01","vector":"sql_injection","confidence":0.98,` +
		`"mitre_id":"T1190","count":3,"first_seen":"2026-01-01T00:00:00Z","last_seen":"` + time.Now().Format(time.RFC3339) + `","incident_id":null,"detections":[]}`)
	b.ReportAllocs()
	for b.Loop() {
		if ownSeverity(data) != cybervault.SeverityCritical {
			b.Fatal("not found")
		}
	}
}

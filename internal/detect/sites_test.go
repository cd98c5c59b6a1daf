package detect_test

import (
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
)

// A site with a level of its own has rules that the others do not.
func TestSitesHaveTheirOwnParanoia(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{Sites: map[string]int{"strict.example": 4}})
	rules := func(host string) int {
		m, err := e.Inspect(&cybervault.Record{Category: "webserver", Fields: map[string]string{
			cybervault.FieldWebHost: host, cybervault.FieldWebMethod: "GET", cybervault.FieldWebURI: "/?q=a%3Cb%26c;d"}})
		if err != nil {
			t.Fatal(err)
		}
		return len(m)
	}
	plain := rules("shop.example")
	for _, host := range []string{"strict.example", "STRICT.example:8443", "strict.example."} {
		if n := rules(host); n <= plain {
			t.Errorf("%s: %d rules, elsewhere %d", host, n, plain)
		}
	}
	if n := rules("sub.strict.example"); n != plain {
		t.Errorf("another host: %d rules, want %d", n, plain)
	}
	if n := e.Stats().Inspected; n != 5 {
		t.Errorf("%d requests are counted, want 5", n)
	}
	if _, err := detect.New(detect.Config{Sites: map[string]int{"x": 5}}); err == nil {
		t.Error("level 5 was taken")
	}
}

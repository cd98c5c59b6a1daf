package detect_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
)

// An engine that is saved and loaded between any two batches finds what one that
// went on finds.
func TestStateIsKept(t *testing.T) {
	t.Parallel()
	one, two := newEngine(t, detect.Config{}), newEngine(t, detect.Config{})
	for i := range 40 {
		at := time.Duration(i) * 5 * time.Minute
		batch := lines(6, func(n int) string {
			switch n {
			case 0:
				return line(at, "203.0.113.5", fmt.Sprintf("/item?id=%d%%27%%20OR%%20%%271%%27=%%271", i), 200)
			case 1:
				return line(at, "203.0.113.6", []string{"/.env", "/wp-login.php", "/backup.sql", "/.git/config"}[i%4], 404)
			}
			return day.Add(at).Format(time.RFC3339) + fmt.Sprintf(" gate sshd[%d%d]: Failed password for root from 198.51.100.%d port 4022 ssh2", i, n, n)
		})
		text := new(strings.Builder)
		if _, err := batch.WriteTo(text); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 {
			var b bytes.Buffer
			if err := two.Save(&b); err != nil {
				t.Fatal(err)
			}
			two = newEngine(t, detect.Config{})
			if err := two.Load(&b); err != nil {
				t.Fatal(err)
			}
		}
		a, b := feed(t, one, wsA, "web", strings.NewReader(text.String())), feed(t, two, wsA, "web", strings.NewReader(text.String()))
		if diff := cmp.Diff(stringsOf(a), stringsOf(b)); diff != "" {
			t.Fatalf("after batch %d:\n%s", i, diff)
		}
	}
	a, b := one.Stats(), two.Stats()
	a.Inspected, a.RuleSetAsked, b.Inspected, b.RuleSetAsked = 0, 0, 0, 0
	if a != b || a.OpenAttacks < 3 {
		t.Errorf("%+v became %+v", a, b)
	}
	if err := newEngine(t, detect.Config{}).Load(strings.NewReader("garbage")); err == nil {
		t.Error("garbage was loaded")
	}
}

func stringsOf(fs []cybervault.Finding) []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.Type + " " + f.Key + " " + string(f.Data)
	}
	return out
}

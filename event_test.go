package cybervault_test

import (
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

func TestMatchesEventType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		choice, name string
		want         bool
	}{
		{"threat.detected", "threat.detected", true},
		{"threat.detected", "threat.detected.again", false},
		{"threat.*", "threat.detected", true},
		{"threat.*", "threats.detected", false},
		{"threat.*", "threat", false},
		{"compliance.*", "compliance.report.ready", true},
		{"compliance.report.*", "compliance.report.ready", true},
		{"compliance.report.*", "compliance.control.failed", false},
		{"*", "anything.at.all", true},
		{"threat*", "threat.detected", false},
		{"", "threat.detected", false},
		{"*", cybervault.EventWebhookTest, false},
		{"webhook.*", cybervault.EventWebhookTest, false},
		{cybervault.EventWebhookTest, cybervault.EventWebhookTest, false},
	} {
		if got := cybervault.MatchesEventType(c.choice, c.name); got != c.want {
			t.Errorf("%q covers %q: %v, want %v", c.choice, c.name, got, c.want)
		}
		w := cybervault.Webhook{Events: []string{"none.such", c.choice}}
		if got := w.Subscribes(c.name); got != c.want {
			t.Errorf("a webhook that chose %q subscribes to %q: %v, want %v", c.choice, c.name, got, c.want)
		}
	}
}

func TestCheckEventTypeName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a.b", "threat.detected", "compliance.control.failed", "acme_2.log_in", "a." + strings.Repeat("b", 98)} {
		if err := cybervault.CheckEventTypeName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a", "a.", ".a", "a..b", "A.b", "a.B", "a.b ", "a b.c", "1a.b", "a.1b", "_a.b", "a.b\n", "a.*", "a-b.c", "ä.b", "a." + strings.Repeat("b", 99)} {
		if err := cybervault.CheckEventTypeName(bad); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("%q: %v, want CodeInvalid", bad, err)
		}
	}
}

func TestSeverityRank(t *testing.T) {
	t.Parallel()
	for i, s := range []cybervault.Severity{"info", "low", "medium", "high", "critical"} {
		if s.Rank() != i {
			t.Errorf("%s ranks %d, want %d", s, s.Rank(), i)
		}
	}
	if r := cybervault.Severity("urgent").Rank(); r != -1 {
		t.Errorf("an unknown severity ranks %d, want -1", r)
	}
}

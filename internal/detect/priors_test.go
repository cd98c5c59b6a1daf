package detect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
)

// Each of these is the confidence in one and the same attack after people said
// something of earlier ones.
func TestDispositionsMoveConfidence(t *testing.T) {
	t.Parallel()
	confidence := func(ws cybervault.WorkspaceID, d cybervault.DispositionCounts) float64 {
		e := newEngine(t, detect.Config{MinConfidence: 0.001})
		e.SetDispositions(wsA, d)
		fs := feed(t, e, ws, "web", strings.NewReader(line(0, "203.0.113.5", sqli, 200)))
		if len(fs) != 1 {
			t.Fatalf("%d events", len(fs))
		}
		return decode(t, fs[0]).Confidence
	}
	plain := confidence(wsA, nil)
	for _, c := range []struct {
		name   string
		said   cybervault.DispositionCounts
		higher bool
	}{
		{"true positives of the rule", cybervault.DispositionCounts{"942100": {TruePositives: 10}}, true},
		{"false positives of the rules", cybervault.DispositionCounts{"942100": {FalsePositives: 10}, "model.sqli": {FalsePositives: 10}}, false},
		{"true positives of the vector", cybervault.DispositionCounts{"sql_injection": {TruePositives: 10}}, true},
		{"false positives of the vector", cybervault.DispositionCounts{"sql_injection": {FalsePositives: 10}}, false},
	} {
		if got := confidence(wsA, c.said); got == plain || got > plain != c.higher {
			t.Errorf("%s: %v, without %v", c.name, got, plain)
		}
		if got := confidence(wsB, c.said); got != plain {
			t.Errorf("%s: moved another workspace to %v, from %v", c.name, got, plain)
		}
	}
	if got := confidence(wsA, cybervault.DispositionCounts{"942100": {FalsePositives: 99}, "model.sqli": {FalsePositives: 99}}); got >= 0.5 {
		t.Errorf("rules that were wrong 99 times still publish at %v", got)
	}
	if got := confidence(wsA, cybervault.DispositionCounts{"xss": {FalsePositives: 40}, "941100": {FalsePositives: 40}}); got != plain {
		t.Errorf("what others were wrong about moved it to %v", got)
	}
	if got := confidence(wsA, cybervault.DispositionCounts{"sql_injection": {FalsePositives: 100000}}); got < 0.3 {
		t.Errorf("a noisy vector silenced all of its rules: %v", got)
	}
	if got := confidence(wsA, cybervault.DispositionCounts{"942100": {TruePositives: -5, FalsePositives: -5}}); got != plain {
		t.Errorf("negative counts moved it to %v", got)
	}
}

// A rule that is known for false alarms must not hide an attack that another
// rule, of which no one complained, matched as well.
func TestTrustedRuleOutweighsNoisyOne(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	e.SetDispositions(wsA, cybervault.DispositionCounts{"942100": {FalsePositives: 50}})
	attack := strings.Join([]string{line(0, "203.0.113.5", sqli, 200),
		line(time.Second, "203.0.113.5", "/item?id=1+union+select+password,2+from+users--", 200)}, "\n")
	if fs := feed(t, e, wsA, "web", strings.NewReader(attack)); len(fs) != 1 {
		t.Errorf("%d events", len(fs))
	}
	e.SetDispositions(wsA, nil)
	if fs := feed(t, e, wsA, "web", strings.NewReader(line(time.Hour, "203.0.113.6", sqli, 200))); len(fs) != 1 {
		t.Errorf("%d events after all was forgotten", len(fs))
	}
}

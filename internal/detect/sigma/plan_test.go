package sigma

import (
	"strings"
	"testing"
)

// TestPlan: the index looks for the rarest thing that a rule cannot match without.
func TestPlan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		detection string
		want      []string // lines of "looked at"
	}{
		{"sel:\n    EventID: 1\n    CommandLine|contains: mimikatz\ncondition: sel", []string{`CommandLine contains "mimikatz"`}},
		{"sel:\n    A: 'very long text'\nother:\n    B|endswith: '\\rare.exe'\ncondition: sel or other", []string{`A is "very long text"`, `B ends with "\\rare.exe"`}},
		{"sel:\n    A|startswith: abcdef\nfilter:\n    B: something else entirely\ncondition: sel and not filter", []string{`A begins with "abcdef"`}},
		{"sel:\n    A|re: '(?i)x(?:invoke|execute)-[a-z]+'\ncondition: sel", []string{`A contains "xinvoke-"`, `A contains "xexecute-"`}},
		{"sel:\n    A|re: 'cmd.{0,5}[/-]c'\ncondition: sel", []string{`A contains "cmd"`}},
		{"sel:\n    A: 'ab*cdefg*h'\ncondition: sel", []string{`A contains "cdefg"`}},
		{"sel:\n    A|cidr: 10.0.0.0/8\ncondition: sel", []string{"A has a value"}},
		{"sel:\n    A|windash: ' -encoded -x'\ncondition: sel", []string{`A contains "encoded "`}},
		{"sel:\n    A: 1\ncondition: not sel", nil},
		{"a:\n    A: onlyone\nb:\n    B: othertwo\nc:\n    C: nummer3\ncondition: 2 of them", []string{`A is "onlyone"`, `B is "othertwo"`, `C is "nummer3"`}},
	} {
		e, _ := compile(t, Options{}, c.detection)
		plan, _ := e.Plan("r0")
		_, rest, _ := strings.Cut(plan, "looked at")
		looked, _, _ := strings.Cut(rest, "matches if:")
		if c.want == nil && looked != ": each of them\n" {
			t.Errorf("%s: looked at%s", c.detection, looked)
		}
		if n := strings.Count(looked, "\n") - 1; c.want != nil && n != len(c.want) {
			t.Errorf("%s: looked at%s, want %q", c.detection, looked, c.want)
		}
		for _, w := range c.want {
			if !strings.Contains(looked, "  "+w+"\n") {
				t.Errorf("%s: looked at%s, want %q", c.detection, looked, w)
			}
		}
	}
}

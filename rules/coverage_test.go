package rules_test

import (
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/rules"
)

var update = flag.Bool("update", false, "write docs/rules-coverage.md anew")

const coverageFile = "../docs/rules-coverage.md"

// tactics are those of ATT&CK that rules are tagged with, in its order.
var tactics = []string{
	"reconnaissance", "resource-development", "initial-access", "execution", "persistence", "privilege-escalation", "defense-evasion", "defense-impairment",
	"credential-access", "discovery", "lateral-movement", "collection", "command-and-control", "exfiltration", "impact",
}

// covered is a rule, or a correlation, as the table has it.
type covered struct {
	file  string // without .yml
	meta  *sigma.Meta
	alone bool // it is told of by itself, and is not there for a correlation alone
}

// docs/rules-coverage.md says which techniques the shipped rules know. It is made
// from the rules: go test ./rules -run Coverage -update.
func TestCoverageIsUpToDate(t *testing.T) {
	t.Parallel()
	got := coverage(t, read(t), techniques(t))
	if *update {
		if err := os.WriteFile(coverageFile, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(coverageFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("docs/rules-coverage.md is not what the rules say: go test ./rules -run Coverage -update")
	}
}

func read(t *testing.T) (all []covered) {
	t.Helper()
	err := fs.WalkDir(rules.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(rules.FS(), name)
		if err != nil {
			return err
		}
		c := sigma.Parse(name, data)
		used := map[string]bool{}
		for _, r := range c.Correlations {
			for _, other := range r.Rules {
				used[other] = !r.Generate
			}
			all = append(all, covered{strings.TrimSuffix(name, ".yml"), &r.Meta, true})
		}
		for _, r := range c.Rules {
			all = append(all, covered{strings.TrimSuffix(name, ".yml"), &r.Meta, !used[r.Name] && !used[r.ID]})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b covered) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.meta.Title, b.meta.Title))
	})
	return all
}

// technique is what ATT&CK says of one.
type technique struct {
	name    string
	tactics []string
}

// techniques are those of ATT&CK that rules are tagged with.
func techniques(t *testing.T) map[string]technique {
	t.Helper()
	data, err := os.ReadFile("testdata/techniques.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]technique{}
	for line := range strings.Lines(string(data)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		tactics, name, _ := strings.Cut(rest, " ")
		names[id] = technique{name, strings.Split(tactics, ",")}
	}
	return names
}

func coverage(t *testing.T, all []covered, names map[string]technique) string {
	t.Helper()
	var b strings.Builder
	sources, byTactic, known := map[string][2]int{}, map[string]map[string][]covered{}, map[string]bool{}
	told, helpers := 0, 0
	for _, c := range all {
		source := sources[path.Dir(c.file)]
		if !c.alone {
			helpers++
			source[1]++
			sources[path.Dir(c.file)] = source
			continue
		}
		told++
		source[0]++
		sources[path.Dir(c.file)] = source
		for _, p := range pairs(t, c, names) {
			known[p.technique] = true
			if byTactic[p.tactic] == nil {
				byTactic[p.tactic] = map[string][]covered{}
			}
			byTactic[p.tactic][p.technique] = append(byTactic[p.tactic][p.technique], c)
		}
	}
	fmt.Fprintf(&b, `# What the shipped rules know

Made from the rules in `+"`rules/`"+` (`+"`go test ./rules -run Coverage -update`"+`): %d rules and correlations that are told of, and %d that are there for a correlation alone,
of %d techniques and sub-techniques of [MITRE ATT&CK](https://attack.mitre.org). A rule with several tags stands in several rows. That a technique is listed does not say that all ways to use it are seen.
What is found without rules stands at the end. `+"`cybervault rules explain ID`"+` says what one looks for.

| log sources | rules and correlations | for a correlation alone |
|---|---|---|
`, told, helpers, len(known))
	for _, dir := range sorted(sources) {
		fmt.Fprintf(&b, "| `%s/` | %d | %d |\n", dir, sources[dir][0], sources[dir][1])
	}
	for _, tactic := range tactics {
		if byTactic[tactic] == nil {
			continue
		}
		title := strings.ReplaceAll(tactic, "-", " ")
		fmt.Fprintf(&b, "\n## %s%s\n\n| technique | rules |\n|---|---|\n", strings.ToUpper(title[:1]), title[1:])
		for _, id := range sorted(byTactic[tactic]) {
			name := names[id].name
			if parent, _, sub := strings.Cut(id, "."); sub {
				name = names[parent].name + ": " + name
			}
			fmt.Fprintf(&b, "| [%s](https://attack.mitre.org/techniques/%s/) %s | %s |\n", id, strings.ReplaceAll(id, ".", "/"), name, files(byTactic[tactic][id]))
		}
	}
	b.WriteString(`
## Without rules

| technique | found by |
|---|---|
| T1190 Exploit Public-Facing Application, T1059 Command and Scripting Interpreter | the OWASP Core Rule Set and the learned score ([web attacks](detection.md#web-attacks)) |
| T1595.002, T1595.003 Active Scanning | scanners by the Core Rule Set; searches for files and pages by behaviour |
| T1046 Network Service Discovery | connections that break off the SSH protocol |
| T1110, T1110.001, T1110.003 Brute Force | guessing, spraying, slow and distributed ([logins](detection.md#logins)) |
| T1078 Valid Accounts | a login after guessing, from a new country, or from two places at once |
| T1621 MFA Request Generation, T1556.006 Multi-Factor Authentication | requests until somebody says yes; a factor passed by or removed |
`)
	return b.String()
}

// pair is a technique, and a tactic that it serves.
type pair struct{ tactic, technique string }

// pairs puts each technique that a rule is tagged with to those of its tactics that
// the technique serves. A rule whose tags have none for a technique is wrong.
func pairs(t *testing.T, c covered, names map[string]technique) (out []pair) {
	t.Helper()
	for _, tag := range c.meta.Tags {
		id := strings.ToUpper(strings.TrimPrefix(tag, "attack."))
		if len(id) < 5 || id[0] != 'T' || id[1] < '0' || id[1] > '9' {
			continue
		}
		known, ok := names[id]
		if !ok {
			t.Errorf("%s: %s stands not in rules/testdata/techniques.txt", c.file, id)
		}
		n := len(out)
		for _, tactic := range known.tactics {
			if slices.Contains(c.meta.Tags, "attack."+tactic) {
				out = append(out, pair{tactic, id})
			}
		}
		if ok && len(out) == n {
			t.Errorf("%s: %s serves %s, and the rule is tagged with none of them", c.file, id, strings.Join(known.tactics, ", "))
		}
	}
	return out
}

func files(list []covered) string {
	var out []string
	for _, c := range list {
		if text := "`" + c.file + "`"; !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

func sorted[V any](m map[string]V) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

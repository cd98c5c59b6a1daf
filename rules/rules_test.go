package rules_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/sigma"
	"github.com/cybervault/cybervault/internal/telemetry"
	"github.com/cybervault/cybervault/rules"
)

// records reads the telemetry beside a rule.
func records(t *testing.T, base, kind string) []*cybervault.Record {
	t.Helper()
	var out []*cybervault.Record
	for _, ext := range []string{".log", ".json"} {
		f, err := os.Open(base + kind + ext)
		if err != nil {
			continue
		}
		sum, err := telemetry.Parse(t.Context(), f, telemetry.Options{Source: "test", Now: func() time.Time { return time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC) }},
			func(r *cybervault.Record) error { out = append(out, r); return nil })
		if err != nil || sum.Unreadable > 0 {
			t.Errorf("%s: %v, %+v", f.Name(), err, sum.Samples)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func of(r *cybervault.Record, s sigma.LogSource) bool {
	is := func(want, have string) bool { return want == "" || strings.EqualFold(want, have) }
	return is(s.Category, r.Category) && is(s.Product, r.Product) && is(s.Service, r.Service)
}

// Every shipped rule loads, matches the telemetry that it is made for, and does
// not match telemetry of the same log source that looks like it.
func TestRules(t *testing.T) {
	t.Parallel()
	ids, names := map[string]string{}, regexp.MustCompile(`^[a-z0-9_]+\.yml$`)
	err := fs.WalkDir(rules.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(rules.FS(), name)
		if err != nil {
			return err
		}
		if !names.MatchString(path.Base(name)) {
			t.Errorf("%s: use lower-case letters, digits and _ in its name", name)
		}
		c := sigma.Parse(name, data)
		for _, e := range c.Errors {
			t.Error(e)
		}
		engine, errs := sigma.CompileAll(c, sigma.Options{})
		for _, e := range errs {
			t.Error(e)
		}
		base := strings.TrimSuffix(name, ".yml")
		hits, misses := records(t, base, ".hit"), records(t, base, ".miss")
		for _, r := range c.Correlations {
			if other, taken := ids[r.ID]; taken {
				t.Errorf("%s has the id of %s", name, other)
			}
			ids[r.ID] = name
			checkMeta(t, name, &r.Meta)
			if !correlates(engine, hits, r.ID) {
				t.Errorf("%s: %q does not come about with %s.hit", name, r.Title, base)
			}
			if correlates(engine, misses, r.ID) {
				t.Errorf("%s: %q comes about with %s.miss", name, r.Title, base)
			}
			if len(misses) == 0 {
				t.Errorf("%s: there is no %s.miss", name, base)
			}
		}
		if len(c.Correlations) > 0 {
			return nil // what they are made of need not be worth anything alone
		}
		for _, r := range c.Rules {
			if other, taken := ids[r.ID]; taken {
				t.Errorf("%s has the id of %s", name, other)
			}
			ids[r.ID] = name
			checkMeta(t, name, &r.Meta)
			if !matches(engine, hits, r.ID) {
				t.Errorf("%s: %q does not match %s.hit", name, r.Title, base)
			}
			if matches(engine, misses, r.ID) {
				t.Errorf("%s: %q matches %s.miss", name, r.Title, base)
			}
			looked := false
			for _, m := range misses {
				looked = looked || of(m, r.LogSource)
			}
			if !looked {
				t.Errorf("%s: nothing in %s.miss is of the log source %s", name, base, r.LogSource)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) == 0 {
		t.Error("there are no rules")
	}
}

func matches(engine *sigma.Engine, records []*cybervault.Record, id string) bool {
	for _, r := range records {
		for _, hit := range engine.Match(r) {
			if hit.ID == id {
				return true
			}
		}
	}
	return false
}

func correlates(engine *sigma.Engine, records []*cybervault.Record, id string) bool {
	c := engine.NewCorrelator()
	for _, r := range records {
		for _, hit := range c.Add(engine.Match(r), r, r.Time, "") {
			if hit.ID == id {
				return true
			}
		}
	}
	return false
}

// checkMeta asks of a rule what whoever is woken by it wants to know.
func checkMeta(t *testing.T, name string, m *sigma.Meta) {
	t.Helper()
	if m.Title == "" || m.Description == "" || m.Level == "" || len(m.FalsePositives) == 0 || m.Author != "CyberVault" || m.ID == "" {
		t.Errorf("%s: it takes a title, an id, a description, a level, falsepositives and the author CyberVault", name)
	}
	tactic, technique := false, false
	for _, tag := range m.Tags {
		technique = technique || regexp.MustCompile(`^attack\.t\d{4}(\.\d{3})?$`).MatchString(tag)
		tactic = tactic || regexp.MustCompile(`^attack\.[a-z-]{3,}$`).MatchString(tag)
	}
	if !tactic || !technique {
		t.Errorf("%s: tag it with a tactic and a technique of ATT&CK", name)
	}
}

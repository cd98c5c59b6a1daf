package sigma

import (
	"strings"
	"testing"
	"testing/fstest"
)

func files(list ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i := 0; i < len(list); i += 2 {
		out[list[i]] = &fstest.MapFile{Data: []byte(list[i+1])}
	}
	return out
}

func TestSet(t *testing.T) {
	t.Parallel()
	own := strings.Replace(filterRules, "title: Shell", "title: Our shell", 1)
	s, err := LoadSet([]Source{
		{Name: "shipped", Prefix: "rules", FS: files("a/f.yml", filterRules, "a/f.hit.yml", "no rule", "b/bad.yml", "title: Bad\nid: bad\nlogsource: {product: x}\n")},
		{Name: "/etc/rules", Prefix: "/etc/rules", FS: files("a.yml", own[strings.Index(own, "title: Our"):strings.Index(own, "---\ntitle: Elsewhere")],
			"c.yml", correlation("type: event_count", "generate: true", "rules: [archiver]", "timespan: 1m", "condition: {gte: 2}"),
			"f.yml", "title: F\nid: f\nlogsource: {product: windows}\nfilter:\n    rules: any\n    a: {User: root}\n    condition: not a\n")},
	}, SetOptions{Off: []string{"AAAAAAAA-0000-4000-8000-000000000003", "aaaaaaaa-0000-4000-8000-000000000001"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Errors) != 1 || !strings.HasPrefix(s.Errors[0].Error(), "rules/b/bad.yml:1: detection") || s.SourceOf(s.Errors[0].Pos.File) != "shipped" {
		t.Errorf("errors %v", s.Errors)
	}
	if len(s.Notes) != 1 || !strings.Contains(s.Notes[0].Error(), `rules/a/f.yml:10: "Shell" is replaced by the one with the same id at /etc/rules/a.yml:1`) {
		t.Errorf("notes %v", s.Notes)
	}
	for ref, want := range map[string]Entry{
		"Our shell": {Kind: KindRule, Source: "/etc/rules"},
		"archiver":  {Kind: KindRule, Source: "shipped", Off: true, Silent: true}, // a correlation needs it
		"Elsewhere": {Kind: KindRule, Source: "shipped", Off: true},
		"c":         {Kind: KindCorrelation, Source: "/etc/rules"},
		"f":         {Kind: KindFilter, Source: "/etc/rules", Applies: 2},
	} {
		e, ok := s.Find(ref)
		if !ok || e.Kind != want.Kind || e.Source != want.Source || e.Off != want.Off || e.Silent != want.Silent || e.Applies != want.Applies {
			t.Errorf("%s: %+v", ref, e)
		}
	}
	if n := len(s.Engine.Rules()); n != 2 {
		t.Errorf("%d rules are compiled, want the two that are on or needed", n)
	}
}

package sigma

import (
	"slices"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

const filterRules = `title: Archiver
id: aaaaaaaa-0000-4000-8000-000000000001
name: archiver
logsource: {category: process_creation, product: windows}
detection:
    selection_a: {Image|endswith: rar.exe}
    selection_b: {Image|endswith: zip.exe}
    condition: 1 of selection_*
---
title: Shell
id: aaaaaaaa-0000-4000-8000-000000000002
logsource: {category: process_creation, product: windows}
detection: {a: {Image|endswith: cmd.exe}, condition: all of them}
---
title: Elsewhere
id: aaaaaaaa-0000-4000-8000-000000000003
logsource: {product: linux}
detection: {a: {Image|endswith: sh}, condition: a}
---
`

func compileAll(t testing.TB, o Options, text string) (*Engine, []*LoadError) {
	t.Helper()
	c := Parse("f.yml", []byte(text))
	if len(c.Errors) > 0 {
		t.Fatal(c.Errors[0])
	}
	return CompileAll(c, o)
}

func process1(fields ...string) *cybervault.Record {
	r := &cybervault.Record{Category: "process_creation", Product: "windows", Fields: map[string]string{}}
	for _, f := range fields {
		k, v, _ := strings.Cut(f, "=")
		r.Fields[k] = v
	}
	return r
}

func TestFilters(t *testing.T) {
	t.Parallel()
	filter := func(rules, body string) string {
		return "title: Ours\nid: f1\nlogsource: {category: process_creation, product: windows}\nfilter:\n    rules: " + rules + "\n" + indent(body)
	}
	for name, c := range map[string]struct {
		filter       string
		applies      int
		admin, other []string // the titles that match
	}{
		"by id":     {filter("[AAAAAAAA-0000-4000-8000-000000000001]", "sel: {User|startswith: adm_}\ncondition: not sel"), 1, nil, []string{"Archiver"}},
		"by name":   {filter("archiver", "sel: {User|startswith: adm_}\ncondition: not sel"), 1, nil, []string{"Archiver"}},
		"any":       {filter("any", "sel: {User|startswith: adm_}\ncondition: not sel"), 2, nil, []string{"Archiver"}},
		"another":   {filter("[aaaaaaaa-0000-4000-8000-000000000002]", "sel: {User|startswith: adm_}\ncondition: not sel"), 1, []string{"Archiver"}, []string{"Archiver"}},
		"patterns":  {filter("any", "sel_a: {User|startswith: adm_}\nsel_b: {User: nobody}\ncondition: not 1 of sel_*"), 2, nil, []string{"Archiver"}},
		"them":      {filter("any", "a: {User|startswith: adm_}\nb: {Image|contains: rar}\ncondition: not all of them"), 2, nil, []string{"Archiver"}},
		"as a must": {filter("any", "a: {User|startswith: adm_}\ncondition: a"), 2, []string{"Archiver"}, nil},
	} {
		e, errs := compileAll(t, Options{}, filterRules+c.filter)
		if len(errs) > 0 || len(e.Filters()) != 1 || e.Filters()[0].Rules != c.applies {
			t.Errorf("%s: errors %v, applies %+v", name, errs, e.Filters())
			continue
		}
		matched := func(user string) (out []string) {
			for _, h := range e.Match(process1(`Image=C:\rar.exe`, "User="+user)) {
				out = append(out, h.Title)
			}
			return out
		}
		if admin, other := matched("adm_jo"), matched("jo"); !slices.Equal(admin, c.admin) || !slices.Equal(other, c.other) {
			t.Errorf("%s: the administrator's matches %v, another's %v", name, admin, other)
		}
	}
}

func TestFilterErrors(t *testing.T) {
	t.Parallel()
	head := "title: F\nlogsource: {product: windows}\nfilter:\n    rules: "
	for name, c := range map[string]struct{ text, want string }{
		"unknown":    {head + "[nobody]\n    a: {b: c}\n    condition: not a\n", `f.yml:20: filter.rules: there is no rule with the id or name "nobody"`},
		"log source": {head + "[aaaaaaaa-0000-4000-8000-000000000003]\n    a: {b: c}\n    condition: not a\n", "so it filters nothing"},
		"broken":     {head + "any\n    a: {'b|re': '('}\n    condition: not a\n", "f.yml:24: a: b|re:"},
	} {
		e, errs := compileAll(t, Options{}, filterRules+c.text)
		if !slices.ContainsFunc(errs, func(e *LoadError) bool { return strings.Contains(e.Error(), c.want) }) {
			t.Errorf("%s: %v", name, errs)
		}
		if len(e.Rules()) != 3 {
			t.Errorf("%s: the filter took rules with it: %d are left", name, len(e.Rules()))
		}
	}
}

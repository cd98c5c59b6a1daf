package sigma

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const whoami = `title: Whoami Execution
id: 929a690e-bef0-4204-a928-ef5e620d6fcc
logsource:
    category: process_creation
    product: windows
detection:
    selection:
        Image: 'C:\Windows\System32\whoami.exe'
    condition: selection
level: high
tags:
    - attack.discovery
    - attack.t1033
`

func TestParseRule(t *testing.T) {
	t.Parallel()
	c := Parse("r.yml", []byte(whoami))
	if len(c.Errors) != 0 || len(c.Rules) != 1 {
		t.Fatalf("got %d rules, errors %v", len(c.Rules), c.Errors)
	}
	r := c.Rules[0]
	item := r.Detections[0].Groups[0].Items[0]
	if r.Title != "Whoami Execution" || r.Level != "high" || r.LogSource.String() != "windows/process_creation" || len(r.Tags) != 2 ||
		item.Field != "Image" || item.Values[0].Text != `C:\Windows\System32\whoami.exe` || item.Pos.Line != 8 || r.Conditions[0].Pos.Line != 9 {
		t.Errorf("read wrongly: %+v, item %+v", r, item)
	}
}

func TestParseErrorsNameFileAndLine(t *testing.T) {
	t.Parallel()
	head := "title: T\nlogsource:\n    product: windows\n"
	for name, c := range map[string]struct{ text, want string }{
		"no detection":      {head, "r.yml:1: detection:"},
		"no condition":      {head + "detection:\n    sel:\n        A: 1\n", "r.yml:5: condition: is missing"},
		"unknown name":      {head + "detection:\n    sel:\n        A: 1\n    condition: sel and other\n", `r.yml:7: condition: "other" is not defined`},
		"unknown pattern":   {head + "detection:\n    sel:\n        A: 1\n    condition: 1 of filter_*\n", "r.yml:7: condition: 1 of filter_* takes in nothing"},
		"old aggregation":   {head + "detection:\n    sel:\n        A: 1\n    condition: sel | count() > 5\n", "write a correlation rule"},
		"level":             {head + "level: severe\ndetection:\n    sel:\n        A: 1\n    condition: sel\n", `r.yml:4: level: "severe" is unknown`},
		"map as value":      {head + "detection:\n    sel:\n        A:\n            b: 1\n    condition: sel\n", "r.yml:7: A: a value must be"},
		"empty list":        {head + "detection:\n    sel:\n        A: []\n    condition: sel\n", "r.yml:6: A: the list of values is empty"},
		"broken YAML":       {head + "detection: [\n", "not sound YAML"},
		"key given twice":   {head + "title: U\n", "r.yml:4: "},
		"no logsource":      {"title: T\n", "r.yml:1: logsource:"},
		"repeat first":      {"action: repeat\ntitle: T\n", "has no rule before it"},
		"unknown alias":     {"title: *x\n", "has no anchor"},
		"correlation type":  {"title: T\ncorrelation:\n    type: many\n    rules: a\n    timespan: 1m\n", `"many" is unknown`},
		"timespan":          {"title: T\ncorrelation:\n    type: temporal\n    rules: a\n    timespan: soon\n", `r.yml:5: correlation.timespan: "soon"`},
		"filter w/o rules":  {head + "filter:\n    sel:\n        A: 1\n    condition: not sel\n", "filter.rules"},
		"value_count field": {"title: T\ncorrelation:\n    type: value_count\n    rules: a\n    timespan: 1m\n    condition:\n        gte: 3\n", "needs the field"},
	} {
		got := Parse("r.yml", []byte(c.text))
		if len(got.Errors) != 1 || !strings.Contains(got.Errors[0].Error(), c.want) {
			t.Errorf("%s: got %v, want one error with %q", name, got.Errors, c.want)
		}
	}
}

func TestParseCollection(t *testing.T) {
	t.Parallel()
	c := Parse("r.yml", []byte(`action: global
title: Shared
level: low
logsource:
    product: windows
detection:
    condition: selection
---
detection:
    selection:
        EventID: 1
---
action: repeat
title: Repeated
logsource:
    service: security
---
action: reset
---
title: Alone
logsource:
    product: linux
detection:
    selection: word
    condition: selection
`))
	if len(c.Errors) != 0 || len(c.Rules) != 3 {
		t.Fatalf("got %d rules, errors %v", len(c.Rules), c.Errors)
	}
	one, two, three := c.Rules[0], c.Rules[1], c.Rules[2]
	if one.Title != "Shared" || one.LogSource.String() != "windows" || one.Detections[0].Groups[0].Items[0].Values[0].Text != "1" {
		t.Errorf("the global part is not merged in: %+v", one)
	}
	if two.Title != "Repeated" || two.LogSource.String() != "windows/security" || len(two.Detections) != 1 || two.Level != "low" {
		t.Errorf("the rule before is not repeated: %+v", two)
	}
	if three.Level != "" || three.LogSource.String() != "linux" || three.Detections[0].Groups[0].Items[0].Field != "" {
		t.Errorf("the global part is not reset: %+v", three)
	}
}

func TestParseCorrelationAndFilter(t *testing.T) {
	t.Parallel()
	c := Parse("r.yml", []byte(`title: Many failed logins
id: 0e95725d-7320-415d-80f7-004da920fc11
correlation:
    type: value_count
    rules:
        - failed_login
    group-by: [ComputerName]
    timespan: 90m
    aliases:
        ip:
            failed_login: source.ip
    condition:
        field: User
        gt: 100
        lte: 200
---
title: Filter Administrator account
logsource:
    category: process_creation
    product: windows
filter:
    rules:
        - 6f3e2987-db24-4c78-a860-b4f4095a7095
    selection:
        User|startswith: 'adm_'
    condition: not selection
---
title: Anchors
logsource: &source
    product: windows
detection:
    selection: &sel
        EventID: 1
    again:
        <<: *sel
        User: null
    condition:
        - selection
        - again
`))
	if len(c.Errors) != 0 || len(c.Rules) != 1 || len(c.Correlations) != 1 || len(c.Filters) != 1 {
		t.Fatalf("got %+v, errors %v", c, c.Errors)
	}
	k := c.Correlations[0]
	if k.Timespan != 90*time.Minute || k.GroupBy[0] != "ComputerName" || k.Condition.Fields[0] != "User" || len(k.Condition.Terms) != 2 ||
		k.Aliases[0].Fields[0] != (AliasField{"failed_login", "source.ip"}) {
		t.Errorf("correlation read wrongly: %+v", k)
	}
	if f := c.Filters[0]; f.Any || len(f.Rules) != 1 || f.Detections[0].Groups[0].Items[0].Modifiers[0] != "startswith" || f.Conditions[0].Expr.Op != OpNot {
		t.Errorf("filter read wrongly: %+v", f)
	}
	if r := c.Rules[0]; len(r.Conditions) != 2 || len(r.Detections[1].Groups[0].Items) != 2 || r.Detections[1].Groups[0].Items[0].Values[0].Kind != NullValue {
		t.Errorf("merge key read wrongly: %+v", r.Detections[1])
	}
}

func TestParseFS(t *testing.T) {
	t.Parallel()
	c, err := ParseFS(fstest.MapFS{
		"rules/a.yml":      {Data: []byte(whoami)},
		"rules/deep/b.yml": {Data: []byte("title: T\n")},
		"rules/README.md":  {Data: []byte("no rule")},
	}, "rules")
	if err != nil || len(c.Rules) != 1 || len(c.Errors) != 1 || c.Errors[0].Pos.File != "rules/deep/b.yml" {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := ParseFS(fstest.MapFS{}, "none"); err == nil || !strings.Contains(err.Error(), fs.ErrNotExist.Error()) {
		t.Errorf("a root that is missing: %v", err)
	}
}

func TestAliasesCannotExplode(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("a0: &a0 [" + strings.Repeat("x,", 10) + "]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&text, "a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10))
	}
	c := Parse("r.yml", []byte(text.String()))
	if len(c.Errors) != 1 || !strings.Contains(c.Errors[0].Message, "too large") {
		t.Errorf("got %v", c.Errors)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whoami))
	f.Add([]byte("action: global\n---\na: &x [*x]\n<<: *x\n"))
	f.Add([]byte("title: T\ncorrelation:\n  type: temporal\n  rules: [a]\n  timespan: 1m\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Parse("f.yml", data)
		for _, e := range c.Errors {
			if e.Message == "" || e.Pos.File != "f.yml" {
				t.Errorf("an error without a reason or a file: %+v", e)
			}
		}
		for _, r := range c.Rules {
			if len(r.Conditions) == 0 || len(r.Detections) == 0 {
				t.Errorf("a rule without condition or detection: %+v", r)
			}
		}
	})
}

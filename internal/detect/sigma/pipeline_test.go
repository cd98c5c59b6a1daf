package sigma

import (
	"errors"
	"strings"
	"testing"
)

func pipeline(t testing.TB, text string) *Pipeline {
	t.Helper()
	p, err := ParsePipeline("p.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPipelines(t *testing.T) {
	t.Parallel()
	rule := func(detection string) string {
		return "title: R\nlogsource: {category: process_creation, product: windows}\ndetection:\n" + indent(detection)
	}
	const steps = "transformations:\n"
	for name, c := range map[string]struct {
		pipeline, rule string
		hit, miss      string // fields, joined by spaces
	}{
		"mapping":          {steps + "- {type: field_name_mapping, mapping: {proc: Image}}", rule("s: {proc: a}\ncondition: s"), "Image=a", "proc=a"},
		"mapping to two":   {steps + "- {type: field_name_mapping, mapping: {proc: [Image, ParentImage]}}", rule("s: {proc: a, x: b}\ncondition: s"), "ParentImage=a x=b", "ParentImage=a"},
		"prefix":           {steps + "- {type: field_name_prefix, prefix: win.}", rule("s: {proc: a}\ncondition: s"), "win.proc=a", "proc=a"},
		"suffix of one":    {steps + "- {type: field_name_suffix, suffix: .raw, field_name_conditions: [{type: include_fields, fields: [p]}]}", rule("s: {p: a, q: b}\ncondition: s"), "p.raw=a q=b", "p=a q=b"},
		"prefix mapping":   {steps + "- {type: field_name_prefix_mapping, mapping: {'a.b.': 'c.'}}", rule("s: {a.b.x: 1}\ncondition: s"), "c.x=1", "a.b.x=1"},
		"added condition":  {steps + "- {type: add_condition, conditions: {Host: h}}", rule("s: {p: a}\ncondition: s"), "p=a Host=h", "p=a"},
		"added not":        {steps + "- {type: add_condition, negated: true, conditions: {Host: h}}", rule("s: {p: a}\ncondition: s"), "p=a", "p=a Host=h"},
		"for a log source": {steps + "- {type: field_name_mapping, mapping: {p: q}, rule_conditions: [{type: logsource, product: windows}]}", rule("s: {p: a}\ncondition: s"), "q=a", "p=a"},
		"for another":      {steps + "- {type: field_name_mapping, mapping: {p: q}, rule_conditions: [{type: logsource, product: linux}]}", rule("s: {p: a}\ncondition: s"), "p=a", "q=a"},
		"for one of":       {steps + "- {type: field_name_mapping, mapping: {p: q}, rule_cond_op: or, rule_conditions: [{type: logsource, product: linux}, {type: contains_field, field: p}]}", rule("s: {p: a}\ncondition: s"), "q=a", "p=a"},
		"for what is left": {steps + "- {id: one, type: set_state}\n- {type: field_name_mapping, mapping: {p: q}, rule_conditions: [{type: processing_item_applied, processing_item_id: one}]}", rule("s: {p: a}\ncondition: s"), "q=a", "p=a"},
		"dropped":          {steps + "- {type: drop_detection_item, field_name_conditions: [{type: include_fields, fields: [q]}]}", rule("s: {p: a, q: b}\ncondition: s"), "p=a", "q=b"},
		"values":           {"vars: {admins: [jo, 'da*']}\n" + steps + "- {type: value_placeholders}", rule("s: {'User|expand': '%admins%'}\ncondition: s"), "User=dave", "User=eve"},
		"any value":        {steps + "- {type: wildcard_placeholders}", rule("s: {'User|expand': 'x%admins%'}\ncondition: s"), "User=xyz", "User=yz"},
		"replaced":         {steps + `- {type: replace_string, regex: '^C:(.*)$', replacement: 'D:\1'}`, rule("s: {p: 'C:a'}\ncondition: s"), "p=D:a", "p=C:a"},
		"value mapping":    {steps + "- {type: map_string, mapping: {one: '1'}}", rule("s: {p: one}\ncondition: s"), "p=1", "p=one"},
	} {
		e, errs := compileAll(t, Options{Pipelines: []*Pipeline{pipeline(t, c.pipeline)}}, c.rule)
		if len(errs) > 0 {
			t.Errorf("%s: %v", name, errs[0])
			continue
		}
		if len(e.Match(process1(strings.Fields(c.hit)...))) != 1 {
			t.Errorf("%s: %s does not match", name, c.hit)
		}
		if len(e.Match(process1(strings.Fields(c.miss)...))) != 0 {
			t.Errorf("%s: %s matches", name, c.miss)
		}
	}
}

func TestPipelineChangesTheLogSource(t *testing.T) {
	t.Parallel()
	p := pipeline(t, "transformations:\n- {type: change_logsource, category: process_creation, product: windows}")
	text := "title: R\nlogsource: {product: acme}\ndetection: {s: {p: a}, condition: s}\n"
	c := Parse("r.yml", []byte(text))
	e, errs := CompileAll(c, Options{Pipelines: []*Pipeline{p}})
	if len(errs) > 0 || len(e.Match(process1("p=a"))) != 1 {
		t.Errorf("the rule does not match: %v", errs)
	}
	if c.Rules[0].LogSource.Product != "acme" {
		t.Error("the rule that was given has changed")
	}
}

func TestTaxonomyChoosesAPipeline(t *testing.T) {
	t.Parallel()
	for taxonomy, field := range map[string]string{"ecs": "process.executable", "ocsf": "process.file.path", "winlogbeat": "winlog.event_data.Image", "nxlog": "EventData.Image"} {
		text := "title: R\nid: r\ntaxonomy: " + taxonomy + "\nlogsource: {category: process_creation, product: windows}\ndetection: {s: {" + field + ": a}, condition: s}\n" +
			"---\ntitle: C\nid: c\ntaxonomy: " + taxonomy + "\ncorrelation: {type: value_count, rules: [r], group-by: [host], timespan: 1m, condition: {field: " + field + ", gte: 1}}\n"
		e, errs := compileAll(t, Options{}, text)
		hits := e.Match(process1("Image=a", "host=h"))
		if len(errs) > 0 || len(hits) != 1 {
			t.Errorf("%s: %v, %d matches", taxonomy, errs, len(hits))
			continue
		}
		r := process1("Image=a", "host=h")
		if got := e.NewCorrelator().Add(hits, r, r.Time, ""); len(got) != 1 {
			t.Errorf("%s: the correlation does not know the field", taxonomy)
		}
	}
}

func TestPipelineErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"name: x\n": "p.yml:1: transformations: is missing",
		"transformations:\n- {type: field_name_mapping}\n":                         "p.yml:2: mapping:",
		"transformations:\n- type: magic\n":                                        `p.yml:2: type: "magic" is not supported`,
		"transformations:\n- {type: set_state, rule_conditions: [{type: moon}]}\n": `"moon" is not supported`,
		"transformations:\n- {type: replace_string, regex: '(', replacement: a}\n": "p.yml:2: regex:",
		"priority: high\ntransformations: []\n":                                    "p.yml:1: priority:",
		"- a\n":                                                                    "a pipeline is one map",
		"transformations:\n- {type: set_state, field_name_conditions: [{type: is_null, fields: [a]}]}\n": "include_fields or exclude_fields",
	} {
		_, err := ParsePipeline("p.yml", []byte(text))
		if _, ok := errors.AsType[*LoadError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
	refuse := pipeline(t, "transformations:\n- {type: rule_failure, message: not here}")
	if _, errs := compileAll(t, Options{Pipelines: []*Pipeline{refuse}}, filterRules); len(errs) != 3 || !strings.Contains(errs[0].Error(), "f.yml:1: the pipeline's step at p.yml:2: not here") {
		t.Errorf("got %v", errs)
	}
}

func FuzzPipelines(f *testing.F) {
	for name, p := range builtinPipelines {
		data, err := pipelineFiles.ReadFile(p.Pos.File)
		if err != nil {
			f.Fatal(name, err)
		}
		f.Add(data)
	}
	f.Add([]byte("vars: {a: [b]}\ntransformations:\n- {type: add_condition, conditions: {Host: h}}\n- {type: drop_detection_item}"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if p, err := ParsePipeline("p.yml", text); err == nil {
			c := Parse("f.yml", []byte(filterRules))
			e, _ := CompileAll(c, Options{Pipelines: []*Pipeline{p}})
			e.Match(process1(`Image=C:\rar.exe`))
		}
	})
}

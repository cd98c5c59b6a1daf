package catalog

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/cybervault/cybervault"
)

// sample is the data of the sample payload in the product's first documentation.
const sample = `{
"threat_id": "thr_94x2k1",
"severity": "critical",
"source_ip": "203.0.113.42",
"target_asset": "prod-db-01.cybervault.internal",
"vector": "sql_injection",
"confidence": 0.98,
"mitre_id": "T1190"
}`

var ws cybervault.WorkspaceID

func newCatalog(t testing.TB) *Catalog {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// all lists the core types and the test payload's.
func all(t testing.TB, c *Catalog) []cybervault.EventType {
	t.Helper()
	test, ok := c.Lookup(ws, cybervault.EventWebhookTest)
	if !ok {
		t.Fatal("the test payload's type is not in the catalogue")
	}
	return append(c.List(ws), test)
}

func TestListHasTheTwelveInOrder(t *testing.T) {
	t.Parallel()
	var got []string
	for _, e := range newCatalog(t).List(ws) {
		got = append(got, e.Name+" "+string(e.Severity))
	}
	want := []string{
		"threat.detected critical", "incident.created high", "incident.updated medium", "incident.resolved info",
		"auth.suspicious medium", "endpoint.offline low", "endpoint.online info", "patch.deployed info", "patch.failed high",
		"compliance.report.ready info", "compliance.control.failed high", "system.alert medium",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestListIsACopy(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	c.List(ws)[0].Name = "changed"
	if got := c.List(ws)[0].Name; got != cybervault.EventThreatDetected {
		t.Errorf("the catalogue's first type is now %q", got)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	if e, ok := c.Lookup(ws, cybervault.EventWebhookTest); !ok || e.Name != cybervault.EventWebhookTest {
		t.Errorf("the test payload's type: %q, %v", e.Name, ok)
	}
	if e, ok := c.Lookup(ws, "threat.detcted"); ok {
		t.Errorf("an unknown type was found: %q", e.Name)
	}
	if got := c.Severity(cybervault.EventPatchFailed); got != cybervault.SeverityHigh {
		t.Errorf("severity of patch.failed: %q", got)
	}
	if got := c.Severity("no.such"); got != "" {
		t.Errorf("severity of an unknown type: %q", got)
	}
}

func TestEveryExampleIsValid(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	for _, e := range all(t, c) {
		if err := c.Validate(ws, e.Name, e.Example); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		if e.Description == "" || !strings.HasSuffix(e.Description, ".") {
			t.Errorf("%s: description %q", e.Name, e.Description)
		}
	}
	if err := c.Validate(ws, cybervault.EventThreatDetected, []byte(sample)); err != nil {
		t.Errorf("the documented sample: %v", err)
	}
}

// Every file belongs to a type, and every type's example shows every field.
func TestFilesAreComplete(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	types := all(t, c)
	for _, dir := range []string{"schemas", "examples"} {
		found, err := filepath.Glob(dir + "/*")
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != len(types) {
			t.Errorf("%s has %d files for %d types", dir, len(found), len(types))
		}
	}
	for _, e := range types {
		var schema struct {
			ID         string                     `json:"$id"`
			Properties map[string]json.RawMessage `json:"properties"`
			Required   []string                   `json:"required"`
		}
		var example map[string]json.RawMessage
		unmarshal(t, e.Schema, &schema)
		unmarshal(t, e.Example, &example)
		if schema.ID != "urn:cybervault:event-type:"+e.Name {
			t.Errorf("%s: $id is %q", e.Name, schema.ID)
		}
		if a, b := sortedKeys(schema.Properties), sortedKeys(example); !slices.Equal(a, b) {
			t.Errorf("%s: the schema has %q, the example %q", e.Name, a, b)
		}
		for _, name := range schema.Required {
			if _, ok := schema.Properties[name]; !ok {
				t.Errorf("%s: requires %q, which it does not describe", e.Name, name)
			}
		}
	}
}

// Each schema is complete in itself, so what several types share stands in
// several files, where it must stay the same.
func TestSharedPartsAreEqual(t *testing.T) {
	t.Parallel()
	part := func(name, key string) any {
		raw, err := os.ReadFile("schemas/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var schema map[string]any
		unmarshal(t, raw, &schema)
		if schema[key] == nil {
			t.Fatalf("%s has no %s", name, key)
		}
		return schema[key]
	}
	for _, c := range []struct{ key, a, b string }{
		{"$defs", "threat.detected", "auth.suspicious"},
		{"properties", "incident.created", "incident.updated"},
		{"properties", "incident.created", "incident.resolved"},
		{"properties", "endpoint.offline", "endpoint.online"},
		{"properties", "patch.deployed", "patch.failed"},
	} {
		if !reflect.DeepEqual(part(c.a, c.key), part(c.b, c.key)) {
			t.Errorf("%s of %s and %s differ", c.key, c.a, c.b)
		}
	}
}

func unmarshal(t testing.TB, raw []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func TestDetectionsAreValid(t *testing.T) {
	t.Parallel()
	for _, d := range []cybervault.Detection{
		{},
		{Engine: "sigma", RuleID: "5f113a8f-8b61-41ca-b90f-d374fa7e4a39", Level: cybervault.SeverityHigh, MitreIDs: []string{"T1059.004"}, Count: 1},
		{Engine: "login", RuleID: "brute_force", Level: cybervault.SeverityMedium, MitreIDs: []string{}, Record: strings.Repeat("x", cybervault.MaxDetectionRecordBytes+3)},
	} {
		data, err := json.Marshal(map[string]any{
			"threat_id": "thr_1", "severity": "high", "vector": "malware", "confidence": 1,
			"detections": []cybervault.Detection{d},
		})
		if err != nil {
			t.Fatal(err)
		}
		err = newCatalog(t).Validate(ws, cybervault.EventThreatDetected, data)
		if filled := d.Engine != ""; filled != (err == nil) {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	tests := []struct {
		name      string
		event     string
		change    map[string]any // applied to the example; a nil func value removes
		wantField string
		wantText  string
	}{
		{"above maximum", "threat.detected", map[string]any{"confidence": 1.7}, "data.confidence", "must be at most 1, is 1.7"},
		{"below minimum", "threat.detected", map[string]any{"confidence": -0.01}, "data.confidence", "must be at least 0, is -0.01"},
		{"number as text", "threat.detected", map[string]any{"confidence": "0.98"}, "data.confidence", `must be a number, is "0.98"`},
		{"null where known", "threat.detected", map[string]any{"confidence": nil}, "data.confidence", "must be a number, is null"},
		{"missing", "threat.detected", map[string]any{"threat_id": remove}, "data.threat_id", "is missing: The threat's own id; the same threat keeps it"},
		{"empty id", "threat.detected", map[string]any{"threat_id": ""}, "data.threat_id", "must not be empty"},
		{"long id", "threat.detected", map[string]any{"threat_id": strings.Repeat("x", 201)}, "data.threat_id", "must have at most 200 characters, has 201"},
		{"severity", "threat.detected", map[string]any{"severity": "Critical"}, "data.severity", `must be one of "info", "low", "medium", "high", "critical"; is "Critical"`},
		{"address", "threat.detected", map[string]any{"source_ip": "203.0.113.42:443"}, "data.source_ip", `must be an IPv4 address or an IPv6 address, is "203.0.113.42:443"`},
		{"technique", "threat.detected", map[string]any{"mitre_id": "1190"}, "data.mitre_id", `must have the form of "T1190", the pattern ^T[0-9]{4}(\.[0-9]{3})?$; is "1190"`},
		{"count zero", "threat.detected", map[string]any{"count": 0}, "data.count", "must be at least 1, is 0"},
		{"count half", "threat.detected", map[string]any{"count": 1.5}, "data.count", "must be an integer or null, is 1.5"},
		{"time", "threat.detected", map[string]any{"first_seen": "yesterday"}, "data.first_seen", `must be a date and time as in RFC 3339, such as "2025-01-15T14:32:00Z", is "yesterday"`},
		{"within a list", "threat.detected", map[string]any{"detections": []any{map[string]any{"engine": "web", "rule_id": 942100}}}, "data.detections[0].rule_id", "must be a string, is 942100"},
		{"missing within a list", "threat.detected", map[string]any{"detections": []any{map[string]any{"engine": "web", "rule_id": "1"}, map[string]any{"engine": "web"}}}, "data.detections[1].rule_id", "is missing: The rule's own id: a Sigma rule's UUID, a Core Rule Set number, or the name of a login pattern"},
		{"deep in a list", "auth.suspicious", map[string]any{"detections": []any{map[string]any{"engine": "login", "rule_id": "x", "mitre_ids": []any{"T1110", "brute force"}}}}, "data.detections[0].mitre_ids[1]", `the form of "T1190"`},
		{"not a list", "threat.detected", map[string]any{"detections": map[string]any{}}, "data.detections", "must be an array or null, is an object of 0"},
		{"several", "threat.detected", map[string]any{"confidence": 2, "severity": "bad", "mitre_id": 7}, "data.confidence", "must be at most 1, is 2; also wrong: data.mitre_id, data.severity"},
		{"pattern of logins", "auth.suspicious", map[string]any{"pattern": "guessing"}, "data.pattern", `is "guessing"`},
		{"incident status", "incident.updated", map[string]any{"status": "closed"}, "data.status", `must be one of "open", "acknowledged", "resolved"; is "closed"`},
		{"incident entities", "incident.created", map[string]any{"entities": map[string]any{"source_ips": []any{"::1", "somewhere"}}}, "data.entities.source_ips[1]", "must be an IPv4 address or an IPv6 address"},
		{"incident change", "incident.resolved", map[string]any{"change": 3}, "data.change", "must be a string or an object or null, is 3"},
		{"missed heartbeats", "endpoint.offline", map[string]any{"missed": -1}, "data.missed", "must be at least 0, is -1"},
		{"label of another type", "endpoint.online", map[string]any{"labels": map[string]any{"odd name": true}}, `data.labels["odd name"]`, "must be a string, is true"},
		{"no host", "endpoint.online", map[string]any{"hostname": remove}, "data.hostname", "is missing"},
		{"reboot", "patch.deployed", map[string]any{"reboot_required": "no"}, "data.reboot_required", `must be a boolean or null, is "no"`},
		{"cve", "patch.failed", map[string]any{"cves": []any{"2024-6119"}}, "data.cves[0]", `must have the form of "CVE-2024-6119"`},
		{"framework", "compliance.report.ready", map[string]any{"framework": "SOC 2"}, "data.framework", `must be one of "soc2", "iso27001"; is "SOC 2"`},
		{"period", "compliance.report.ready", map[string]any{"period": map[string]any{"since": "2024-10-01"}}, "data.period.since", "RFC 3339"},
		{"hash", "compliance.report.ready", map[string]any{"sha256": "abc"}, "data.sha256", `is "abc"`},
		{"control", "compliance.control.failed", map[string]any{"control_id": remove}, "data.control_id", "is missing"},
		{"alert status", "system.alert", map[string]any{"status": "on"}, "data.status", `must be one of "firing", "resolved"; is "on"`},
		{"test payload", "webhook.test", map[string]any{"message": 1}, "data.message", "must be a string or null, is 1"},
	}
	for _, tt := range tests {
		t.Run(tt.event+"/"+tt.name, func(t *testing.T) {
			t.Parallel()
			e, _ := c.Lookup(ws, tt.event)
			var data map[string]any
			unmarshal(t, e.Example, &data)
			for k, v := range tt.change {
				if v == remove {
					delete(data, k)
				} else {
					data[k] = v
				}
			}
			raw, err := json.Marshal(data)
			if err != nil {
				t.Fatal(err)
			}
			wantInvalid(t, c.Validate(ws, tt.event, raw), tt.wantField, tt.wantText)
		})
	}
}

// remove in a table of changes takes a field away.
const remove = "\x00remove"

func wantInvalid(t *testing.T, err error, field, text string) {
	t.Helper()
	e, ok := errors.AsType[*cybervault.Error](err)
	if !ok || e.Code != cybervault.CodeInvalid {
		t.Fatalf("got %v, want an error of code invalid about %s", err, field)
	}
	if e.Field != field || !strings.Contains(e.Message, text) {
		t.Errorf("got  %s: %s\nwant %s: …%s…", e.Field, e.Message, field, text)
	}
}

func TestValidateUnknownType(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	for name, want := range map[string]string{
		"threat.detcted":           `did you mean "threat.detected"?`,
		"Threat.Detected":          `did you mean "threat.detected"?`,
		"threat_detected":          `did you mean "threat.detected"?`,
		"incident.create":          `did you mean "incident.created"?`,
		"incident.opened":          `did you mean "incident.created" or "incident.updated" or "incident.resolved"?`,
		"endpoint.lost":            `did you mean "endpoint.offline" or "endpoint.online"?`,
		"compliance.report":        `did you mean "compliance.report.ready"`,
		"patch":                    `did you mean "patch.deployed" or "patch.failed"?`,
		"order.paid":               `"order.paid" is not an event type; GET /v1/event-types`,
		"":                         `is missing: give an event type such as "threat.detected"`,
		strings.Repeat("a", 1<<20): "GET /v1/event-types lists all of them",
	} {
		err := c.Validate(ws, name, []byte(`{}`))
		wantInvalid(t, err, "event", want)
		if n := len(err.Error()); n > 300 {
			t.Errorf("the error has %d bytes", n)
		}
	}
}

// Unknown fields pass, wherever they stand and whatever they hold.
func TestUnknownFieldsPass(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	types := all(t, c)
	rapid.Check(t, func(r *rapid.T) {
		e := rapid.SampledFrom(types).Draw(r, "type")
		var data map[string]any
		if err := json.Unmarshal(e.Example, &data); err != nil {
			r.Fatal(err)
		}
		for range rapid.IntRange(1, 5).Draw(r, "fields") {
			data["x"+rapid.String().Draw(r, "key")] = anyValue(3).Draw(r, "value")
		}
		if list, ok := data["detections"].([]any); ok {
			list[0].(map[string]any)["x"+rapid.String().Draw(r, "inner")] = anyValue(2).Draw(r, "value")
		}
		raw, err := json.Marshal(data)
		if err != nil {
			r.Fatal(err)
		}
		if err := c.Validate(ws, e.Name, raw); err != nil {
			r.Fatalf("%s: %v", raw, err)
		}
	})
}

// anyValue draws a JSON value of at most the given depth.
func anyValue(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Float64Range(-1e300, 1e300).AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	return rapid.OneOf(append(scalars,
		rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return anyValue(depth - 1) }), 0, 3).AsAny(),
		rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return anyValue(depth - 1) }), 0, 3).AsAny(),
	)...)
}

func TestErrorsAreTheSameEveryTime(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	bad := []byte(`{"severity":1,"source_ip":1,"target_asset":1,"vector":1,"confidence":"x","mitre_id":1,"count":"x","first_seen":1}`)
	want := c.Validate(ws, cybervault.EventThreatDetected, bad).Error()
	for range 50 {
		if got := c.Validate(ws, cybervault.EventThreatDetected, bad).Error(); got != want {
			t.Fatalf("now  %s\nthen %s", got, want)
		}
	}
	if !strings.Contains(want, "and 3 more") {
		t.Errorf("%s", want)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, e := range c.List(ws) {
				if err := c.Validate(ws, e.Name, e.Example); err != nil {
					t.Error(err)
				}
				if c.Validate(ws, e.Name, []byte(`{"severity":3,"framework":4,"hostname":5}`)) == nil {
					t.Errorf("%s: nonsense was accepted", e.Name)
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkValidate(b *testing.B) {
	c := newCatalog(b)
	e, _ := c.Lookup(ws, cybervault.EventThreatDetected)
	var whole map[string]any
	unmarshal(b, e.Example, &whole)
	compact, err := json.Marshal(whole)
	if err != nil {
		b.Fatal(err)
	}
	for name, data := range map[string][]byte{"sample": []byte(sample), "full": compact} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Validate(ws, cybervault.EventThreatDetected, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

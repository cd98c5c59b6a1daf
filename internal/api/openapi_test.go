package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

// described is the OpenAPI document with a compiler for the schemas in it.
type described struct {
	t        *testing.T
	doc      map[string]any
	compiler *jsonschema.Compiler
}

const documentURL = "https://api.test/openapi.json"

func describe(t *testing.T) *described {
	t.Helper()
	doc := setUp(t).get(request{call: "GET /openapi.json", key: "none"}, 200)
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(documentURL, doc); err != nil {
		t.Fatal(err)
	}
	return &described{t: t, doc: doc, compiler: c}
}

// at walks into the document, through references.
func (d *described) at(path ...string) any {
	var v any = d.doc
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
		if m, ok := v.(map[string]any); ok {
			if ref, ok := m["$ref"].(string); ok {
				v = d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			}
		}
	}
	return v
}

// schema compiles the schema at a place in the document; references to
// responses are followed first.
func (d *described) schema(path ...string) *jsonschema.Schema {
	d.t.Helper()
	pointer := "#"
	for _, p := range path {
		if holder, ok := d.raw(pointer); ok {
			if ref, isRef := holder["$ref"].(string); isRef {
				pointer = ref
			}
		}
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(p)
	}
	s, err := d.compiler.Compile(documentURL + strings.NewReplacer("{", "%7B", "}", "%7D", " ", "%20").Replace(pointer))
	if err != nil {
		d.t.Fatalf("%v: %v", path, err)
	}
	return s
}

func (d *described) raw(pointer string) (map[string]any, bool) {
	var v any = d.doc
	for _, p := range strings.Split(strings.TrimPrefix(pointer, "#"), "/")[1:] {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		v = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(p)]
	}
	m, ok := v.(map[string]any)
	return m, ok
}

func decode(t *testing.T, body string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOpenAPIHasEveryRoute(t *testing.T) {
	t.Parallel()
	d := describe(t)
	if d.doc["openapi"] != "3.1.0" || d.at("info", "version") != "1.2.3" || d.at("info", "title") == "" {
		t.Errorf("openapi %v, info %v", d.doc["openapi"], d.doc["info"])
	}
	ids := map[string]bool{}
	count := 0
	for _, rt := range api.Routes() {
		op, ok := d.at("paths", rt.Pattern, strings.ToLower(rt.Method)).(map[string]any)
		if !ok {
			t.Errorf("%s %s is not described", rt.Method, rt.Pattern)
			continue
		}
		count++
		for _, member := range []string{"operationId", "summary", "description"} {
			if text, _ := op[member].(string); text == "" {
				t.Errorf("%s %s has no %s", rt.Method, rt.Pattern, member)
			}
		}
		id := op["operationId"].(string)
		if ids[id] {
			t.Errorf("operationId %s stands twice", id)
		}
		ids[id] = true
		scopes := []any{map[string]any{"apiKey": []any{string(rt.Scope)}}}
		if rt.Scope == "" {
			scopes = []any{}
		}
		if got, want := jsonOf(t, op["security"]), jsonOf(t, scopes); got != want {
			t.Errorf("%s %s: security %s, want %s", rt.Method, rt.Pattern, got, want)
		}
		if n := strings.Count(rt.Pattern, "{"); n > 0 {
			in := 0
			for _, p := range op["parameters"].([]any) {
				p, _ := p.(map[string]any)
				required, _ := p["required"].(bool)
				if p["in"] == "path" && required && strings.Contains(rt.Pattern, "{"+p["name"].(string)+"}") {
					in++
				}
			}
			if in != n {
				t.Errorf("%s %s: %d of %d path parameters are described", rt.Method, rt.Pattern, in, n)
			}
		}
	}
	described := 0
	for _, item := range d.doc["paths"].(map[string]any) {
		described += len(item.(map[string]any))
	}
	if described != count {
		t.Errorf("%d operations are described, %d exist", described, count)
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Every reference leads somewhere, and every schema is one.
func TestOpenAPISchemasCompile(t *testing.T) {
	t.Parallel()
	d := describe(t)
	for name := range d.at("components", "schemas").(map[string]any) {
		d.schema("components", "schemas", name)
	}
	var walk func(path []string, v any)
	walk = func(path []string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && strings.HasPrefix(ref, "#/components/") {
				if _, ok := d.raw(ref); !ok {
					t.Errorf("%v: %s leads nowhere", path, ref)
				}
			}
			if _, ok := v["x-go-type"]; ok {
				t.Errorf("%v: an unresolved type", path)
			}
			for k, inner := range v {
				if k == "schema" && (len(path) == 0 || path[len(path)-1] != "properties") {
					d.schema(append(slices.Clone(path), k)...)
				}
				walk(append(slices.Clone(path), k), inner)
			}
		case []any:
			for _, inner := range v {
				if m, ok := inner.(map[string]any); ok {
					if _, isRef := m["$ref"]; isRef {
						walk(path, m)
					}
				}
			}
		}
	}
	walk(nil, d.doc)
}

// Every sample answer is what the document says, and so is every sample request.
func TestAnswersAreAsDescribed(t *testing.T) {
	t.Parallel()
	d := describe(t)
	for _, rt := range api.Routes() {
		t.Run(rt.Method+rt.Pattern, func(t *testing.T) {
			call := callOf(rt)
			f := setUp(t)
			w := f.do(call)
			path := []string{"paths", rt.Pattern, strings.ToLower(rt.Method)}
			if media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";"); media == "application/json" {
				s := d.schema(append(path, "responses", strconv.Itoa(w.Code), "content", media, "schema")...)
				// The sample event is no whole envelope: it is there to show that bytes are kept.
				body := strings.ReplaceAll(w.Body.String(), sampleBody, wholeEnvelope)
				if err := s.Validate(decode(t, body)); err != nil {
					t.Errorf("the answer is not as described: %v\n%s", err, body)
				}
			} else if w.Code != http.StatusNoContent && rt.Pattern != "/metrics" && rt.Pattern != "/v1/stream" && rt.Pattern != "/v1/backup" && rt.Pattern != "/v1/audit/actions/export" && rt.Pattern != "/v1/audit/checkpoint" && rt.Pattern != "/v1/audit/tile/{path}" {
				t.Errorf("the answer is %q", media)
			}
			for name := range w.Header() {
				switch name {
				case "Location", "Idempotent-Replayed":
					if d.at(append(path, "responses", strconv.Itoa(w.Code), "headers", name)...) == nil {
						t.Errorf("the header %s is not described", name)
					}
				}
			}
			if call.body != "" && rt.Pattern != "/v1/telemetry" && rt.Pattern != "/v1/events/batch" {
				s := d.schema(append(path, "requestBody", "content", "application/json", "schema")...)
				if err := s.Validate(decode(t, call.body)); err != nil {
					t.Errorf("a good request is not as described: %v", err)
				}
				if err := s.Validate(decode(t, `{"made_up":1}`)); err == nil {
					t.Error("the description allows unknown fields")
				}
			}
		})
	}
}

const wholeEnvelope = `{"id":"wh_01946a2e-1c00-7000-8000-000000000001","event":"threat.detected","timestamp":"2025-01-15T14:32:00Z","data":{},
	"metadata":{"workspace_id":"ws_01946a2e-1c00-7000-8000-000000000002","engine_version":"ai_v1","idempotency_key":"k"}}`

// The problems of the golden files are what the document says, with a status
// that the document names for that call.
func TestProblemsAreAsDescribed(t *testing.T) {
	t.Parallel()
	d := describe(t)
	s := d.schema("components", "schemas", "Problem")
	for _, c := range []request{
		{call: "GET /v1/events", key: "none"}, {call: "POST /v1/events", key: readKey}, {call: "POST /v1/events", body: "x"},
		{call: "POST /v1/webhooks", body: "{}"}, {call: "POST /v1/events", body: "x", media: "text/html"},
		{call: "POST /v1/events", body: padded(cybervault.MaxEventBytes + 1)},
	} {
		w := setUp(t).do(c)
		if err := s.Validate(decode(t, w.Body.String())); err != nil {
			t.Errorf("%s: %v", c.call, err)
		}
		method, path, _ := strings.Cut(c.call, " ")
		if d.at("paths", path, strings.ToLower(method), "responses", strconv.Itoa(w.Code)) == nil {
			t.Errorf("%s: the answer %d is not described", c.call, w.Code)
		}
	}
}

func TestOpenAPIWebhooks(t *testing.T) {
	t.Parallel()
	d := describe(t)
	path := []string{"webhooks", cybervault.EventThreatDetected, "post", "requestBody", "content", "application/json"}
	s := d.schema(append(path, "schema")...)
	example := d.at(append(path, "example")...)
	if err := s.Validate(example); err != nil {
		t.Errorf("the example is not as described: %v", err)
	}
	for _, wrong := range []string{
		strings.Replace(wholeEnvelope, `"data":{}`, `"data":{"severity":"low"}`, 1),
		wholeEnvelope, // its data lacks the severity
		strings.Replace(jsonOf(t, example), "threat.detected", "auth.suspicious", 1),
	} {
		if err := s.Validate(decode(t, wrong)); err == nil {
			t.Errorf("accepted %s", wrong)
		}
	}
	for _, scheme := range []string{"apiKey", "standardWebhooksSignature", "hexSignature"} {
		if d.at("components", "securitySchemes", scheme, "type") == nil {
			t.Errorf("no security scheme %s", scheme)
		}
	}
}

func TestOpenAPIIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	one, two := setUp(t).do(request{call: "GET /openapi.json"}), setUp(t).do(request{call: "GET /openapi.json"})
	if !bytes.Equal(one.Body.Bytes(), two.Body.Bytes()) {
		t.Error("two servers describe themselves differently")
	}
}

package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

var exception1 = id[cybervault.ExceptionID](80)

func sampleException() cybervault.Exception {
	return cybervault.Exception{ID: exception1, Rule: "reconnaissance", Where: map[string][]string{"source_ip|cidr": {"198.51.100.0/24"}}, Reason: "our own scanner", CreatedAt: epoch}
}

func (f *fakes) Rules(_ context.Context, w cybervault.WorkspaceID) ([]cybervault.RuleInfo, error) {
	return []cybervault.RuleInfo{
		{ID: "5e9a6a5c-6f0e-4d0e-9a0b-0f5a9f3a7c11", Title: "Account Created With User ID 0", Kind: "rule", Level: cybervault.SeverityCritical, LogSource: "linux/useradd", Techniques: []string{"T1136.001"}, File: "linux/passwd_uid0_account.yml"},
		{ID: "c1", Title: "Many Failures", Kind: "correlation", Level: cybervault.SeverityLow, File: "own/many.yml", Off: &cybervault.RuleOff{Reason: "too loud", At: epoch}},
	}, f.check(w)
}

func (f *fakes) SetRule(_ context.Context, w cybervault.WorkspaceID, id string, on bool, reason string) error {
	f.ruleSet = id + " " + map[bool]string{true: "on", false: "off"}[on] + " " + reason
	return f.check(w)
}

func (f *fakes) Exceptions(_ context.Context, w cybervault.WorkspaceID) ([]cybervault.Exception, error) {
	over := sampleException()
	over.ID, over.Until, over.Where = id[cybervault.ExceptionID](79), epoch.Add(-time.Hour), nil
	return []cybervault.Exception{sampleException(), over}, f.check(w)
}

func (f *fakes) AddException(_ context.Context, w cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.Exception, error) {
	f.exception = e
	e.ID, e.CreatedAt = exception1, epoch
	return &e, f.check(w)
}

func (f *fakes) RemoveException(_ context.Context, w cybervault.WorkspaceID, id cybervault.ExceptionID) error {
	if id != exception1 {
		return cybervault.Errorf(cybervault.CodeNotFound, "no row")
	}
	return f.check(w)
}

func (f *fakes) PreviewException(_ context.Context, w cybervault.WorkspaceID, e cybervault.Exception) (*cybervault.ExceptionPreview, error) {
	f.exception = e
	return &cybervault.ExceptionPreview{Looked: 12, Hidden: 1, Partly: 0, Findings: []cybervault.HiddenFinding{{Event: event1, Type: cybervault.EventThreatDetected, Timestamp: epoch, Rules: []string{"942100"}, Whole: true}}}, f.check(w)
}

func TestRulesAreListed(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for query, want := range map[string][]string{
		"": {"5e9a6a5c-6f0e-4d0e-9a0b-0f5a9f3a7c11", "c1"}, "?q=t1136": {"5e9a6a5c-6f0e-4d0e-9a0b-0f5a9f3a7c11"}, "?q=USERADD": {"5e9a6a5c-6f0e-4d0e-9a0b-0f5a9f3a7c11"},
		"?enabled=false": {"c1"}, "?enabled=true&q=many": {},
	} {
		got := []string{}
		for _, r := range f.get(request{call: "GET /v1/rules" + query}, 200)["data"].([]any) {
			got = append(got, r.(map[string]any)["id"].(string))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	if w := f.do(request{call: "GET /v1/rules?enabled=perhaps"}); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `"enabled"`) {
		t.Errorf("answered %d: %s", w.Code, w.Body)
	}
	off := f.get(request{call: "GET /v1/rules?enabled=false"}, 200)["data"].([]any)[0].(map[string]any)
	if off["enabled"].(bool) || off["reason"] != "too loud" || off["off_since"] == nil {
		t.Errorf("%v", off)
	}
}

func TestARuleIsTurnedOff(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	if w := f.do(request{call: "PATCH /v1/rules/scan.sensitive_paths", body: `{"enabled":false,"reason":"a known scanner"}`}); w.Code != 204 || f.ruleSet != "scan.sensitive_paths off a known scanner" {
		t.Errorf("answered %d, %s", w.Code, f.ruleSet)
	}
	for body, field := range map[string]string{`{"reason":"x"}`: "enabled", `{"enabled":"no"}`: "enabled", `{"enabled":true,"why":"x"}`: "why"} {
		if w := f.do(request{call: "PATCH /v1/rules/942100", body: body}); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `"`+field+`"`) {
			t.Errorf("%s: answered %d: %s", body, w.Code, w.Body)
		}
	}
}

func TestExceptions(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body := `{"rule":"*","where":{"user":"ann","source_ip|cidr":["10.0.0.0/8","192.0.2.0/24"]},"reason":"a test","until":"2027-06-30T00:00:00Z"}`
	if w := f.do(request{call: "POST /v1/exceptions", body: body}); w.Code != 201 {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	want := cybervault.Exception{Rule: "*", Where: map[string][]string{"user": {"ann"}, "source_ip|cidr": {"10.0.0.0/8", "192.0.2.0/24"}}, Reason: "a test", Until: time.Date(2027, 6, 30, 0, 0, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, f.exception); diff != "" {
		t.Errorf("taken as (-want +got):\n%s", diff)
	}
	for body, field := range map[string]string{
		`{"reason":"x"}`: "rule", `{"rule":"x"}`: "reason", `{"rule":"x","reason":"y","where":["a"]}`: "where", `{"rule":"x","reason":"y","where":{"a":1}}`: "where", `{"rule":"x","reason":"y","until":"soon"}`: "until",
	} {
		if w := f.do(request{call: "POST /v1/exceptions", body: body}); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `"`+field) {
			t.Errorf("%s: answered %d: %s", body, w.Code, w.Body)
		}
	}
	all := f.get(request{call: "GET /v1/exceptions"}, 200)["data"].([]any)
	if len(all) != 2 || all[0].(map[string]any)["ended"].(bool) || !all[1].(map[string]any)["ended"].(bool) {
		t.Errorf("%v", all)
	}
	if got := f.get(request{call: "POST /v1/exceptions/preview", body: body}, 200); got["hidden"] != 1.0 || got["looked"] != 12.0 {
		t.Errorf("%v", got)
	}
	if w := f.do(request{call: "DELETE /v1/exceptions/" + id[cybervault.ExceptionID](81).String()}); w.Code != http.StatusNotFound {
		t.Errorf("answered %d", w.Code)
	}
}

package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func TestPutEventType(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	w := f.do(request{call: "PUT /v1/event-types/acme.badge", body: `{"severity":"high","description":"d","schema":{"type": "object"},"example":null}`})
	want := cybervault.EventType{Name: "acme.badge", Severity: cybervault.SeverityHigh, Description: "d", Schema: []byte(`{"type": "object"}`)}
	if diff := cmp.Diff(want, f.savedType); w.Code != http.StatusCreated || w.Header().Get("Location") != "/v1/event-types/acme.badge" || diff != "" {
		t.Errorf("%d %s\n%s", w.Code, w.Body, diff)
	}
	for body, field := range map[string]string{
		`{"severity":"high"}`:                                  "description",
		`{"severity":1,"description":"d"}`:                     "severity",
		`{"severity":"low","description":"d","schema":true}`:   "schema",
		`{"severity":"low","description":"d","example":[]}`:    "example",
		`{"severity":"low","description":"d","name":"acme.x"}`: "name",
	} {
		f := setUp(t)
		w := f.do(request{call: "PUT /v1/event-types/acme.badge", body: body})
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `"field":"`+field+`"`) || f.savedType.Name != "" {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
}

func TestDeleteEventType(t *testing.T) {
	t.Parallel()
	own := cybervault.EventType{Name: "acme.badge", Severity: cybervault.SeverityHigh}
	for name, c := range map[string]struct {
		chosen []string
		want   int
	}{
		"acme.badge": {[]string{"threat.detected", "acme.*", "*"}, http.StatusNoContent},
		"acme.other": {[]string{"*"}, http.StatusNotFound},
	} {
		f := setUp(t)
		f.ownType, f.webhooks[0].Events = own, c.chosen
		w := f.do(request{call: "DELETE /v1/event-types/" + name})
		if w.Code != c.want || (f.deletedType != "") != (c.want == http.StatusNoContent) {
			t.Errorf("%s: %d %s, deleted %q", name, w.Code, w.Body, f.deletedType)
		}
	}
	f := setUp(t)
	f.ownType, f.webhooks[0].Events = own, []string{"acme.badge"}
	w := f.do(request{call: "DELETE /v1/event-types/acme.badge"})
	if w.Code != http.StatusConflict || f.deletedType != "" {
		t.Errorf("while a webhook chose it: %d %s", w.Code, w.Body)
	}
}

package dashboard_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/audit"
)

func TestAuditLog(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	const log = "/settings/audit-log"
	s.get(log).want(t, 200, "Nothing yet")
	ann := cybervault.Actor{Kind: cybervault.ActorUser, ID: "usr_1", Name: "ann@example.com", Address: "192.0.2.7"}
	hook := "whk_01936f2a-0000-7000-8000-000000000000"
	s.fake.Act(ann, "webhook.update", hook, `{"max_in_flight":10,"events":["*"],"same":1}`, `{"max_in_flight":64,"events":["*"],"same":1,"description":"to the SIEM"}`)
	s.fake.Act(cybervault.Actor{Kind: cybervault.ActorAPIKey, ID: "key_1", Name: "CI"}, "moon.landed", "", "", `[1]`)
	page := s.get(log).want(t, 200, "ann@example.com", "changed a webhook", `href="/settings/integrations/webhooks/`+hook+`"`, "from 192.0.2.7", "<code>max_in_flight</code>", "<code>10</code>", "<code>64</code>",
		"to the SIEM", "API key", "moon.landed", "Line 2").without(t, "<code>events</code>", "<code>same</code>")
	if strings.Index(page.body, "moon.landed") > strings.Index(page.body, "changed a webhook") {
		t.Error("the newest does not come first")
	}
	s.get(log+"?actor=ANN").want(t, 200, "Line 1").without(t, "Line 2")
	s.get(log+"?action=webhook").want(t, 200, "Line 1", `value="webhook" selected`).without(t, "Line 2")
	s.get(log+"?target="+hook).want(t, 200, "Line 1").without(t, "Line 2")
	s.get(log+"?actor=nobody").want(t, 200, "Nothing matches")
	for _, wrong := range []string{"?since=yesterday+noon", "?before=x", "?before=0", "?actor=" + strings.Repeat("a", 255)} {
		s.get(log+wrong).want(t, http.StatusUnprocessableEntity, `role="alert"`)
	}
	for i := range 100 {
		s.fake.Act(ann, "rule.off", strconv.Itoa(i), "", "")
	}
	s.get(log+"?actor=ann").want(t, 200, "Line 102", `rel="next"`, "actor=ann&amp;before=")
	s.get(log+"?before=3").want(t, 200, "Line 2", "Newest").without(t, "Line 3")
}

// What the page exports is what cybervault audit verify takes.
func TestAuditLogIsExported(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	for range 3 {
		s.fake.Act(cybervault.Actor{Kind: cybervault.ActorUser, Name: "ann <b>"}, "rule.off", "x", "", `{"a":"<b>&"}`)
	}
	a := s.get("/settings/audit-log/export").want(t, 200)
	found, err := audit.VerifyActions(strings.NewReader(a.body), nil)
	if err != nil || found.Head.Number != 3 || !strings.Contains(a.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%+v, %v, %v", found, err, a.header)
	}
}

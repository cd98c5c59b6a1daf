package dashboard_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func TestAlertsPage(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.get("/alerts").want(t, 200, "No alert has fired", `aria-current="page"`).without(t, "Filter alerts")
	s.get("/").want(t, 200).without(t, "alerts?status=firing")
	w := s.fake.Hook("https://siem.example.com/", "SIEM", nil, "*")
	agent := s.fake.AddAgent("web-1", cybervault.AgentOnline, nil)
	about := map[string]string{
		w.ID.String():               `href="/settings/integrations/webhooks/` + w.ID.String() + `"`,
		w.ID.String() + " receiver": `href="/settings/integrations/webhooks/` + w.ID.String() + `"`,
		agent.ID.String():           `href="/agents/` + agent.ID.String() + `"`,
	}
	for subject, link := range about {
		s.fake.AddAlert(cybervault.Alert{Code: "made_up", Subject: subject, Severity: cybervault.SeverityHigh, Status: cybervault.AlertFiring, Summary: "About " + subject, Remedy: "Put it right."})
		s.get("/alerts").want(t, 200, "About "+subject, link, "Put it right.", "not yet", "made_up", ">Firing<", ">High<", "data-live")
	}
	for code, link := range map[string]string{"key_ending": "/settings/api-keys", "agents_offline_together": "/agents?status=offline", "source_silent": "/settings/health", "rule_floods": "/rules/942100"} {
		s.fake.AddAlert(cybervault.Alert{Code: code, Subject: "web:942100", Status: cybervault.AlertFiring})
		s.get("/alerts").want(t, 200, `<a href="`+link+`">web:942100</a>`)
	}
	s.get("/").want(t, 200, "7 alerts", `href="/alerts?status=firing"`)
	s.fake.AddAlert(cybervault.Alert{Code: "old", Subject: "x", Status: cybervault.AlertResolved, Summary: "It is over.", Remedy: "Nothing is left", ResolvedAt: time.Now()})
	s.get("/alerts?status=resolved").want(t, 200, "It is over.", ">Resolved<").without(t, "About", "Nothing is left")
	s.get("/alerts?status=firing", "HX-Request", "true").want(t, 200, "About").without(t, "<html", "It is over.")
	for _, wrong := range []string{"?status=gone", "?before=x", "?before=-1"} {
		s.get("/alerts"+wrong).want(t, http.StatusUnprocessableEntity)
	}
	for range 60 {
		s.fake.AddAlert(cybervault.Alert{Code: "many", Subject: "x", Status: cybervault.AlertResolved})
	}
	older := regexp.MustCompile(`href="(/alerts\?before=[0-9]+)"`).FindStringSubmatch(s.get("/alerts").body)
	if older == nil {
		t.Fatal("there is no second page")
	}
	s.get(strings.ReplaceAll(older[1], "&amp;", "&")).want(t, 200, "It is over.", "Newest").without(t, "data-live data-every")
	s.get("/alerts?before=1&status=firing").want(t, 200, "Nothing matches")
}

package dashboard_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func TestSystemHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	const path = "/settings/health"
	s.fake.SetSystem(cybervault.System{Store: "sqlite"})
	s.get(path).want(t, 200, "Nothing keeps the server from its work", "No telemetry yet").without(t, ">Nodes<")
	now := time.Now()
	s.fake.SetSystem(cybervault.System{
		Version: "v1.2.3", Store: "sqlite", Bytes: 3 << 30, Free: 100 << 20, Reserve: 256 << 20, Pending: 1234, StartedAt: now.Add(-time.Hour),
		Problems: []cybervault.Check{{Name: "disk", Status: cybervault.CheckFail, Summary: "nothing is published", Remedy: "Free some space."}},
	}, cybervault.TelemetrySource{Name: "bastion", LastSeen: now.Add(-time.Hour), Batches: 60, Usual: time.Minute, Records: 5000},
		cybervault.TelemetrySource{Name: "nightly", LastSeen: now.Add(-time.Hour), Batches: 60, Usual: 24 * time.Hour})
	page := s.get(path).want(t, 200, "What needs you", "Nothing is published", "Free some space.", "3.0 GiB", "256.0 MiB are kept free", "1,234", "v1.2.3", "bastion", "every 1m", "every 24h")
	if strings.Count(page.body, ">Silent<") != 1 {
		t.Error("one source is silent")
	}
	if got := strings.Count(s.get("/").want(t, 200, "Sources of telemetry").body, ">Silent<"); got != 1 {
		t.Errorf("the overview shows %d silent sources", got)
	}
	s.fake.SetSystem(cybervault.System{Store: "postgres", Nodes: []cybervault.Node{{Number: 3, Host: "cv-3", JoinedAt: now, Me: true}}})
	s.get(path).want(t, 200, ">Nodes<", "cv-3", "this one").without(t, "are kept free")
	s.fake.SetSystem(cybervault.System{Retention: 30 * 24 * time.Hour, RetentionDead: 36 * time.Hour})
	s.get(path).want(t, 200, ">Retention<", "30 days").without(t, "36h")
	s.fake.SetSystem(cybervault.System{Retention: 36 * time.Hour})
	s.get(path).want(t, 200, "36h", "for good", ">Sign-in<", "--oidc-issuer")
	many := make([]cybervault.TelemetrySource, 1000)
	for i := range many {
		many[i].Name = "source-" + strconv.Itoa(i)
	}
	s.fake.SetSystem(cybervault.System{}, many...)
	s.get(path).want(t, 200, "source-199<", "and 800 more").without(t, "source-200<")
	s.get("/").want(t, 200, "and 994 more")
}

func TestSystemIsExamined(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	const path = "/settings/health"
	s.fake.SetChecks(cybervault.Check{Name: "clock", Status: cybervault.CheckOK, Summary: "right"},
		cybervault.Check{Name: "destination", Status: cybervault.CheckWarn, Subject: "whk_01936f2a-0000-7000-8000-000000000000", Summary: "its certificate ends soon", Remedy: "Tell its owner."})
	s.post(path, nil).want(t, 200, "What was looked at", "Its certificate ends soon", "Tell its owner.", `href="/settings/integrations/webhooks/whk_01936f2a-0000-7000-8000-000000000000"`, `data-replace="`+path+`"`)
	s.fake.Fail(cybervault.Errorf(cybervault.CodeForbidden, "ask with the first workspace"))
	s.post(path, nil).want(t, http.StatusForbidden, "Ask with the first workspace")
}

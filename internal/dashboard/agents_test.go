package dashboard_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func TestAgents(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.get("/agents").want(t, 200, "No agents yet", "cybervault agent", "Enrol machines").without(t, "Find by host name")
	web := s.fake.AddAgent("web-1.example.com", cybervault.AgentOnline, map[string]string{"role": "web"})
	lost := s.fake.AddAgent("laptop-7", cybervault.AgentOffline, nil)
	s.get("/agents").want(t, 200, "web-1.example.com", "role=web", ">Offline<", ">Online<", "of 2 agents", "data-live")
	s.get("/agents?status=offline").want(t, 200, "laptop-7").without(t, "web-1.example.com")
	s.get("/agents?q=role:web").want(t, 200, "web-1.example.com").without(t, "laptop-7<")
	s.get("/agents?q=nothing").want(t, 200, "Nothing matches")
	s.get("/agents?status=gone").want(t, http.StatusUnprocessableEntity, "none of online")
	s.get("/agents?before=nonsense").want(t, http.StatusUnprocessableEntity)
	s.get("/agents", "HX-Request", "true").want(t, 200, "web-1.example.com").without(t, "<html")

	page := "/agents/" + web.ID.String()
	s.fake.Publish(cybervault.EventEndpointOffline, []byte(`{"agent_id":"`+web.ID.String()+`","hostname":"web-1.example.com"}`))
	s.get(page).want(t, 200, "web-1.example.com", "endpoint.offline", "192.0.2.17", "every 30s", "Remove agent", "Debian")
	web.Packages = cybervault.PackageState{Manager: "dpkg", Installed: 1412, Broken: 1, Pending: new(5), PendingSecurity: new(2), RebootRequired: true, At: time.Now()}
	s.get(page).want(t, 200, "1,412 installed", "1 not in order", "5 pending, 2 of them for security", "Reboot needed")
	web.Packages = cybervault.PackageState{Manager: "dpkg", Installed: 3, Pending: new(0)}
	s.get(page).want(t, 200, "3 installed", "none pending").without(t, "Reboot needed", "not in order")
	s.get("/agents/"+lost.ID.String()).want(t, 200, "Nothing was told of it yet")
	s.get("/agents/agt_nothing").want(t, http.StatusNotFound)
	s.post(page+"/remove", nil).leadsTo(t, "/agents?done=agent-removed")
	s.get(page).want(t, http.StatusNotFound)
	s.get("/agents?done=agent-removed").want(t, 200, "The agent is removed").without(t, "web-1.example.com")
	for range 60 {
		s.fake.AddAgent("many.example.com", cybervault.AgentEnrolled, nil)
	}
	older := regexp.MustCompile(`href="(/agents\?before=agt_[^"]+)"`).FindStringSubmatch(s.get("/agents").body)
	if older == nil {
		t.Fatal("there is no second page")
	}
	s.get(older[1]).want(t, 200, "laptop-7")
}

func TestAgentTokens(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	a := s.post("/agents/tokens", url.Values{"name": {"web"}, "labels": {" role=web  site=fra "}, "uses": {"20"}})
	a.want(t, 200, "cve_made-for-a-test", "shown this once", "cybervault agent --server http", "role=web", "site=fra", ">20<")
	s.get("/agents").want(t, 200, "role=web").without(t, "cve_made")
	for field, form := range map[string]url.Values{
		"uses": {"uses": {"many"}, "labels": {"<b>=x"}}, "labels": {"uses": {"1"}, "labels": {"<b>nothing"}},
	} {
		s.post("/agents/tokens", form).want(t, http.StatusUnprocessableEntity, `id="`+field+`-error"`, "&lt;b&gt;")
	}
	s.post("/agents/tokens", url.Values{"uses": {"1"}, "labels": {"a=" + strings.Repeat("x", 101)}}).want(t, http.StatusUnprocessableEntity, "more than 100")
	end := regexp.MustCompile(`action="(/agents/tokens/agk_[^"]+/end)"`).FindStringSubmatch(s.get("/agents").body)
	s.post(end[1], nil).leadsTo(t, "/agents?done=token-ended")
	s.get("/agents").want(t, 200, "None may still be used")
	s.post(end[1], nil).want(t, http.StatusNotFound)
}

package dashboard_test

import (
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/dashboard/dashboardtest"
)

const typesPath = "/settings/event-types"

func TestEventTypes(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	s.fake.Hook("https://a.example.com/in", "SIEM", dashboardtest.OK, "threat.*")
	s.fake.Hook("https://b.example.com/in", "Pager", dashboardtest.OK, cybervault.EventThreatDetected, "*")
	page := s.get(typesPath).want(t, 200, cybervault.EventThreatDetected, cybervault.EventSystemAlert, "2 webhooks", "1 webhook<", "Add event type").without(t, ">own<", "nobody")
	if n := strings.Count(page.body, `class="row-link"`); n != 12 {
		t.Errorf("%d event types are listed", n)
	}
	s.get(typesPath+"?q=PATCH.").want(t, 200, cybervault.EventPatchFailed).without(t, cybervault.EventThreatDetected)
	s.get(typesPath+"?q=nothing+like+it").want(t, 200, "Nothing matches", "Show all 12")
	s.get(typesPath+"/"+cybervault.EventThreatDetected).want(t, 200, "The engine flags malicious activity.", "SIEM", "<code>threat.*</code>", "Pager", "<code>threat.detected</code>",
		`href="/events?event=threat.detected"`, "sql_injection", "Authorization: Bearer").without(t, "Change it", "Delete this")
	s.get(typesPath+"/"+cybervault.EventPatchFailed).want(t, 200, "Pager", "<code>*</code>").without(t, "SIEM")
	s.get(typesPath+"/no.such").want(t, http.StatusNotFound, "There is no event type of this name")
	for i := range 300 {
		s.fake.AddType(cybervault.EventType{Name: "many.n" + strconv.Itoa(i), Severity: cybervault.SeverityLow})
	}
	s.get(typesPath).want(t, 200, "112 more are not shown")
}

func TestOwnEventTypes(t *testing.T) {
	t.Parallel()
	s := newSite(t).login()
	const door = typesPath + "/door.opened"
	s.get(typesPath+"/new").want(t, 200, "Add event type", `name="type"`)
	form := url.Values{"type": {"door.opened"}, "severity": {"high"}, "description": {"A door was opened at night."}, "schema": {`{"type":"object"}`}, "example": {`{"door":"it's 4"}`}}
	with := func(field, value string) url.Values {
		changed := maps.Clone(form)
		changed.Set(field, value)
		return changed
	}
	s.post(typesPath, with("type", "door")).want(t, http.StatusUnprocessableEntity, "Is no name", `value="door"`, "A door was opened at night.", `data-replace="/settings/event-types/new"`)
	s.post(typesPath, with("schema", "{")).want(t, http.StatusUnprocessableEntity, "schema.properties is not JSON", ">{</textarea>")
	s.post(typesPath, with("type", cybervault.EventThreatDetected)).want(t, http.StatusUnprocessableEntity, "There is an event type of this name")
	s.post(typesPath, form).leadsTo(t, door+"?done=type-saved")
	s.get(door+"?done=type-saved").want(t, 200, "The event type is saved", "High", ">own<", "Change it", "Delete this", "No webhook chose it", `it&#39;\&#39;&#39;s 4`)
	s.post(door, with("example", "no")).want(t, http.StatusUnprocessableEntity, "Is not JSON", ">no</textarea>", `data-replace="`+door+`"`)
	// The name in the form is not what is saved: a page changes its own type only.
	s.post(door, url.Values{"type": {cybervault.EventSystemAlert}, "severity": {"low"}, "description": {"Changed."}, "schema": {`{}`}, "example": {`{}`}}).leadsTo(t, door+"?done=type-saved")
	s.get(door).want(t, 200, "Changed.", "Low")
	s.get(typesPath+"/"+cybervault.EventSystemAlert).want(t, 200).without(t, "Changed.")

	hook := s.fake.Hook("https://a.example.com/in", "", dashboardtest.OK, "door.opened")
	s.post(door+"/delete", nil).want(t, http.StatusConflict, "chose this event type", hook.ID.String())
	s.post(typesPath+"/"+cybervault.EventSystemAlert+"/delete", nil).want(t, http.StatusConflict, "cannot be deleted")
	hook.Events = []string{"door.*"}
	s.post(door+"/delete", nil).leadsTo(t, typesPath+"?done=type-deleted")
	s.get(door).want(t, http.StatusNotFound)
	s.post(door, form).want(t, http.StatusNotFound)
	s.post(door+"/delete", nil).want(t, http.StatusNotFound)
}

// Who may not change an event type is not offered to.
func TestEventTypesForAViewer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.fake.AddType(cybervault.EventType{Name: "door.opened", Severity: cybervault.SeverityLow, Schema: []byte(`{}`), Example: []byte(`{}`)})
	vera := s.owner().invited("vera@example.com", cybervault.RoleViewer)
	vera.get(typesPath).want(t, 200, "door.opened").without(t, "Add event type")
	vera.get(typesPath+"/door.opened").want(t, 200, "Schema of its data").without(t, "Change it", "Delete this")
}

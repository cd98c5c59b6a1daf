package api_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/cybervault/cybervault"
)

func TestListAlerts(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.more = true
	w := f.do(request{call: "GET /v1/alerts?status=firing&limit=1", key: readKey})
	var page struct {
		Data []struct {
			ID, Code, Subject, Severity, Status, Summary, Remedy string
			Fired                                                *string `json:"fired_at"`
			Resolved                                             *string `json:"resolved_at"`
		}
		Next *string `json:"next_cursor"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || len(page.Data) != 1 || page.Next == nil {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if a := page.Data[0]; a.ID != "alr_1" || a.Code != "breaker_open" || a.Subject != "whk_1" || a.Severity != "high" || a.Status != "firing" || a.Summary == "" || a.Remedy == "" || a.Fired == nil || a.Resolved != nil {
		t.Errorf("%+v", a)
	}
	if q := f.alertsAsked; q.Status != cybervault.AlertFiring || q.Limit != 1 || q.Before != 0 {
		t.Errorf("asked for %+v", q)
	}
	f.do(request{call: "GET /v1/alerts?status=firing&limit=1&cursor=" + *page.Next, key: readKey})
	if f.alertsAsked.Before != 7 {
		t.Errorf("the next page begins before %d", f.alertsAsked.Before)
	}
	f.do(request{call: "GET /v1/alerts?status=firing,resolved", key: readKey})
	if f.alertsAsked.Status != "" {
		t.Errorf("both are all, not %q", f.alertsAsked.Status)
	}
	for _, wrong := range []string{"?status=gone", "?limit=0", "?cursor=x", "?code=x"} {
		if w := f.do(request{call: "GET /v1/alerts" + wrong, key: readKey}); w.Code != http.StatusUnprocessableEntity && w.Code != http.StatusBadRequest {
			t.Errorf("%s is answered %d", wrong, w.Code)
		}
	}
}

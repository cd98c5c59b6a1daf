package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

type logged struct {
	ID     string  `json:"id"`
	Event  string  `json:"event_id"`
	Hook   string  `json:"webhook_id"`
	Status string  `json:"status"`
	Reason *string `json:"reason"`
}

// Nothing is silently gone: an event that nobody chose says so, and one call
// lists all that was not delivered, each with why.
func TestWhatWasNeverDelivered(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		// Nobody has chosen anything yet.
		alone := call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		none := call[struct {
			Data        []logged
			Explanation string
		}](t, server, http.StatusOK, http.MethodGet, "/v1/events/"+alone.ID+"/deliveries", "")
		if alone.Deliveries != 0 || len(none.Data) != 0 || !strings.Contains(none.Explanation, "no webhook had chosen this event type") {
			t.Errorf("an event for nobody: %+v, %+v", alone, none)
		}

		good, bad := testenv.NewPlainReceiver(t), testenv.NewPlainReceiver(t)
		bad.AnswerWith(testenv.Status(http.StatusTeapot))
		hooks := map[string]webhook{
			"delivered":   addWebhook(t, server, good, ""),
			"dead_letter": addWebhook(t, server, bad, `,"retry_schedule":[]`),
			"pending":     addWebhook(t, server, bad, `,"retry_schedule":["24h"]`),
			"cancelled":   addWebhook(t, server, bad, `,"retry_schedule":["24h"]`),
			"held":        addWebhook(t, server, bad, `,"verification":true`),
			"skipped":     addWebhook(t, server, good, `,"filter":"data.severity == \"low\""`),
			"disabled":    addWebhook(t, server, good, ""),
		}
		call[webhook](t, server, http.StatusOK, http.MethodPatch, "/v1/webhooks/"+hooks["disabled"].ID, `{"status":"disabled"}`)
		event := call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		byHook := func(query string) map[string]logged {
			found := map[string]logged{}
			for _, d := range call[list[logged]](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?event="+event.ID+query, "").Data {
				for name, hook := range hooks {
					if hook.ID == d.Hook {
						found[name] = d
					}
				}
			}
			return found
		}
		all := byHook("")
		if len(all) != len(hooks) || event.Deliveries != 5 {
			t.Fatalf("%d deliveries of %d: %+v, %+v", len(all), len(hooks), event, all)
		}
		for name, status := range map[string]string{"delivered": "delivered", "dead_letter": "dead_letter"} {
			waitDelivery(t, server, all[name].ID, func(d delivery) bool { return d.Status == status })
		}
		for _, name := range []string{"pending", "cancelled"} {
			waitDelivery(t, server, all[name].ID, func(d delivery) bool { return d.AttemptCount == 1 })
		}
		call[delivery](t, server, http.StatusOK, http.MethodPost, "/v1/deliveries/"+all["cancelled"].ID+"/cancel", "")

		undelivered := byHook("&status=undelivered")
		if _, ok := undelivered["delivered"]; ok || len(undelivered) != len(hooks)-1 {
			t.Errorf("undelivered: %+v", undelivered)
		}
		for name, want := range map[string][2]string{
			"dead_letter": {"dead_letter", ""}, "pending": {"pending", ""}, "held": {"held", ""}, "cancelled": {"cancelled", "cancelled"},
			"skipped": {"skipped", "filter"}, "disabled": {"skipped", "webhook_disabled"},
		} {
			reason := ""
			if undelivered[name].Reason != nil {
				reason = *undelivered[name].Reason
			}
			if undelivered[name].Status != want[0] || reason != want[1] {
				t.Errorf("%s: %+v, want %v", name, undelivered[name], want)
			}
		}
		if some := byHook("&status=dead_letter,cancelled"); len(some) != 2 {
			t.Errorf("two statuses: %+v", some)
		}
		if p := ask(t, server, server.APIKey, http.MethodGet, "/v1/deliveries?status=dead_letter,lost", ""); p.status != http.StatusUnprocessableEntity || p.Field != "status" || !strings.Contains(p.Detail, "undelivered") {
			t.Errorf("an unknown status: %+v", p)
		}

		unmatched := call[list[published]](t, server, http.StatusOK, http.MethodGet, "/v1/events?unmatched=true&event=threat.*", "").Data
		if len(unmatched) != 1 || unmatched[0].ID != alone.ID {
			t.Errorf("unmatched: %+v", unmatched)
		}
	}, "--dev")
}

// A replay of many says before it begins how many deliveries it means and shows
// ten of them, and takes those of the wanted statuses only.
func TestAReplayIsPlannedByStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewPlainReceiver(t)
		receiver.AnswerWith(testenv.Status(http.StatusTeapot))
		hook := addWebhook(t, server, receiver, `,"retry_schedule":[]`)
		const dead, well = 12, 3
		for range dead {
			call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		}
		waitStatus(t, server, "dead_letter", dead)
		receiver.AnswerWith(testenv.Status(http.StatusOK))
		for range well {
			call[published](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		}
		waitStatus(t, server, "delivered", well)
		path := "/v1/webhooks/" + hook.ID + "/replay"
		for body, want := range map[string]int{
			`"status":"dead_letter"`: dead, `"status":"delivered"`: well, `"status":["dead_letter","delivered"]`: dead + well,
			`"status":"dead_letter","events":["patch.*"]`: 0, `"status":"dead_letter","until":"2026-01-01T00:00:01Z"`: 0,
		} {
			plan := call[struct {
				DryRun  bool `json:"dry_run"`
				Matched int
				Sample  []logged
			}](t, server, http.StatusOK, http.MethodPost, path, `{`+longAgo+`,`+body+`,"dry_run":true}`)
			if !plan.DryRun || plan.Matched != want || len(plan.Sample) != min(want, 10) {
				t.Errorf("%s: %d matched, %d shown, want %d", body, plan.Matched, len(plan.Sample), want)
			}
			for _, d := range plan.Sample {
				if !strings.Contains(body, d.Status) {
					t.Errorf("%s shows one that is %s", body, d.Status)
				}
			}
		}
		begun := call[replay](t, server, http.StatusAccepted, http.MethodPost, path, `{`+longAgo+`,"status":"dead_letter"}`)
		if r := waitReplay(t, server, begun.ID, func(r replay) bool { return r.Status != "running" }); r.Created != dead {
			t.Errorf("the replay: %+v", r)
		}
		waitStatus(t, server, "delivered", dead+well)
	}, "--dev")
}

// waitStatus waits until n deliveries have a status.
func waitStatus(t *testing.T, server *testenv.Server, status string, n int) {
	t.Helper()
	waitFor(t, func() (bool, any) {
		got := len(call[list[delivery]](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries?limit=200&status="+status, "").Data)
		return got == n, got
	}, "deliveries that are "+status)
}

package api_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

var replay1 = id[cybervault.ReplayID](60)

func sampleReplay() *cybervault.Replay {
	return &cybervault.Replay{
		ID: replay1, Workspace: ws, Webhook: webhook1, Rate: 100, Matched: 12, Created: 3, Status: cybervault.ReplayRunning,
		Criteria: cybervault.ReplayCriteria{Since: epoch.Add(-time.Hour), Until: epoch, Events: []string{"threat.*"}},
	}
}

func (f *fakes) PlanReplay(ctx context.Context, w cybervault.WorkspaceID, webhook cybervault.WebhookID, criteria cybervault.ReplayCriteria) (int64, []*cybervault.Delivery, error) {
	f.criteria = criteria
	_, err := f.Webhook(ctx, w, webhook)
	return 12, []*cybervault.Delivery{sampleDelivery()}, err
}

func (f *fakes) StartReplay(ctx context.Context, w cybervault.WorkspaceID, webhook cybervault.WebhookID, criteria cybervault.ReplayCriteria, rate int) (*cybervault.Replay, error) {
	f.criteria, f.rate = criteria, rate
	if _, err := f.Webhook(ctx, w, webhook); err != nil {
		return nil, err
	}
	return sampleReplay(), nil
}

func (f *fakes) Replay(_ context.Context, w cybervault.WorkspaceID, id cybervault.ReplayID) (*cybervault.Replay, error) {
	if err := f.check(w); err != nil {
		return nil, err
	}
	if id != replay1 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "no row")
	}
	return sampleReplay(), nil
}

func (f *fakes) Replays(_ context.Context, w cybervault.WorkspaceID, before cybervault.ReplayID, limit int) (cybervault.Page[*cybervault.Replay], error) {
	f.asked = [2]int64{before.Key(), int64(limit)}
	return cybervault.Page[*cybervault.Replay]{Rows: []*cybervault.Replay{sampleReplay()}, More: f.more}, f.check(w)
}

func (f *fakes) CancelReplay(ctx context.Context, w cybervault.WorkspaceID, id cybervault.ReplayID) (*cybervault.Replay, error) {
	r, err := f.Replay(ctx, w, id)
	if err == nil {
		r.Status, r.FinishedAt = cybervault.ReplayCancelled, epoch
	}
	return r, err
}

func TestReplayWebhook(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	call := "POST /v1/webhooks/" + webhook1.String() + "/replay"
	w := f.do(request{call: call, body: `{"since":"2026-11-01T00:00:00Z","until":"2026-11-01T06:00:00Z","events":["threat.*"],"status":["dead_letter","skipped"],"rate":7}`})
	if w.Code != http.StatusAccepted || w.Header().Get("Location") != "/v1/replays/"+replay1.String() {
		t.Fatalf("answered %d, Location %q: %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	want := cybervault.ReplayCriteria{
		Since: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Until: time.Date(2026, 11, 1, 6, 0, 0, 0, time.UTC), Events: []string{"threat.*"},
		Statuses: []cybervault.DeliveryStatus{cybervault.DeliveryDeadLetter, cybervault.DeliverySkipped},
	}
	if diff := cmp.Diff(want, f.criteria); diff != "" || f.rate != 7 {
		t.Errorf("rate %d, criteria (-want +got):\n%s", f.rate, diff)
	}
	f.get(request{call: call, body: `{"since":"2026-11-01T00:00:00Z","until":null,"status":"delivered"}`}, http.StatusAccepted)
	if f.rate != cybervault.DefaultReplayRate || !f.criteria.Until.IsZero() || len(f.criteria.Statuses) != 1 {
		t.Errorf("rate %d, criteria %+v", f.rate, f.criteria)
	}
	plan := f.get(request{call: call, body: `{"since":"2026-11-01T00:00:00Z","dry_run":true}`}, http.StatusOK)
	if dry, _ := plan["dry_run"].(bool); !dry || plan["matched"] != 12.0 || len(plan["sample"].([]any)) != 1 {
		t.Errorf("dry run: %v", plan)
	}
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	for body, field := range map[string]string{
		`{}`: "since", `{"since":"yesterday"}`: "since", `{"since":"2026-11-01T00:00:00Z","rate":1.5}`: "rate",
		`{"since":"2026-11-01T00:00:00Z","status":7}`: "status", `{"since":"2026-11-01T00:00:00Z","status":["delivered",1]}`: "status[1]",
		`{"since":"2026-11-01T00:00:00Z","dry_run":"yes"}`: "dry_run", `{"since":"2026-11-01T00:00:00Z","events":"*"}`: "events",
	} {
		doc := setUp(t).get(request{call: "POST /v1/webhooks/" + webhook1.String() + "/replay", body: body}, http.StatusUnprocessableEntity)
		if doc["field"] != field {
			t.Errorf("%s: the field is %v, want %s", body, doc["field"], field)
		}
	}
}

func TestReplays(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.more = true
	page := f.get(request{call: "GET /v1/replays?limit=1"}, http.StatusOK)
	f.get(request{call: "GET /v1/replays?limit=1&cursor=" + page["next_cursor"].(string)}, http.StatusOK)
	if f.asked != [2]int64{replay1.Key(), 1} {
		t.Errorf("asked for %v", f.asked)
	}
	got := f.get(request{call: "POST /v1/replays/" + replay1.String() + "/cancel"}, http.StatusOK)
	if got["status"] != "cancelled" || got["finished_at"] == nil || got["created"] != 3.0 {
		t.Errorf("cancelled: %v", got)
	}
	f.get(request{call: "GET /v1/replays/" + id[cybervault.ReplayID](61).String()}, http.StatusNotFound)
}

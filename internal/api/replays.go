package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/cybervault/cybervault"
)

// Replays makes new deliveries of many at once. An id that the workspace does
// not have is an error of CodeNotFound.
type Replays interface {
	// PlanReplay counts what would be chosen, and shows the oldest of it.
	PlanReplay(ctx context.Context, ws cybervault.WorkspaceID, webhook cybervault.WebhookID, criteria cybervault.ReplayCriteria) (int64, []*cybervault.Delivery, error)
	// StartReplay begins a replay, which goes on by itself. CodeConflict where
	// the webhook is disabled.
	StartReplay(ctx context.Context, ws cybervault.WorkspaceID, webhook cybervault.WebhookID, criteria cybervault.ReplayCriteria, rate int) (*cybervault.Replay, error)
	Replay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) (*cybervault.Replay, error)
	Replays(ctx context.Context, ws cybervault.WorkspaceID, before cybervault.ReplayID, limit int) (cybervault.Page[*cybervault.Replay], error)
	// CancelReplay ends one; CodeConflict when it has ended.
	CancelReplay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) (*cybervault.Replay, error)
}

type replayJSON struct {
	ID         cybervault.ReplayID         `json:"id"`
	WebhookID  cybervault.WebhookID        `json:"webhook_id"`
	Status     cybervault.ReplayStatus     `json:"status" doc:"running, done or cancelled."`
	Matched    int64                       `json:"matched" doc:"Deliveries that matched when it was asked for."`
	Created    int64                       `json:"created" doc:"New deliveries so far."`
	Skipped    int64                       `json:"skipped" doc:"Deliveries that matched and had been removed because of their age when their turn came."`
	Since      time.Time                   `json:"since"`
	Until      time.Time                   `json:"until"`
	Events     []string                    `json:"events" doc:"The choices of event types; empty for all."`
	Statuses   []cybervault.DeliveryStatus `json:"statuses" doc:"The statuses of what is replayed; empty for every end."`
	Rate       int                         `json:"rate" doc:"New deliveries a second at most."`
	CreatedAt  time.Time                   `json:"created_at"`
	FinishedAt *time.Time                  `json:"finished_at" doc:"When it ended; null while it is running."`
}

// replayPlanJSON is what a dry run answers.
type replayPlanJSON struct {
	DryRun  bool           `json:"dry_run" doc:"Always true."`
	Matched int64          `json:"matched" doc:"Deliveries that would be replayed."`
	Sample  []deliveryJSON `json:"sample" doc:"The oldest ten of them."`
}

func showReplay(r *cybervault.Replay) replayJSON {
	return replayJSON{
		ID: r.ID, WebhookID: r.Webhook, Status: r.Status, Matched: r.Matched, Created: r.Created, Skipped: r.Skipped,
		Since: r.Criteria.Since.UTC(), Until: r.Criteria.Until.UTC(), Events: append([]string{}, r.Criteria.Events...),
		Statuses: append([]cybervault.DeliveryStatus{}, r.Criteria.Statuses...), Rate: r.Rate,
		CreatedAt: r.ID.Time(), FinishedAt: orNull(r.FinishedAt.UTC()),
	}
}

type replayRequest struct {
	criteria cybervault.ReplayCriteria
	dryRun   bool
	rate     int
}

func replayFields() fields[replayRequest] {
	moment := schema{"type": "string", "format": "date-time"}
	readMoment := func(raw json.RawMessage, into *time.Time) error {
		text, err := readString(raw)
		if err == nil {
			*into, err = readTime(text)
		}
		return err
	}
	ends := enum(cybervault.DeliveryDelivered, cybervault.DeliveryDeadLetter, cybervault.DeliveryCancelled, cybervault.DeliverySkipped)
	return fields[replayRequest]{
		{
			name: "since", required: true, doc: "give the moment from which deliveries are to be replayed", schema: moment,
			read: func(raw json.RawMessage, into *replayRequest) error { return readMoment(raw, &into.criteria.Since) },
		},
		{
			name: "until", doc: "only what was made before this moment; now if not given", schema: moment, null: ignoreNull[replayRequest],
			read: func(raw json.RawMessage, into *replayRequest) error { return readMoment(raw, &into.criteria.Until) },
		},
		{
			name: "events", doc: "only these event types: names, namespaces such as threat.*, or *", null: ignoreNull[replayRequest],
			schema: schema{"type": "array", "items": schema{"type": "string"}, "maxItems": cybervault.MaxReplayChoices},
			read: func(raw json.RawMessage, into *replayRequest) (err error) {
				into.criteria.Events, err = readStrings(raw, "events")
				return err
			},
		},
		{
			name: "status", doc: "only deliveries of this status, or of one of these; every one that has ended if not given", null: ignoreNull[replayRequest],
			schema: schema{"anyOf": []schema{ends, {"type": "array", "items": ends}}},
			read:   readStatuses,
		},
		{
			name: "dry_run", doc: "only say how many there are and show ten", schema: schema{"type": "boolean", "default": false},
			read: func(raw json.RawMessage, into *replayRequest) (err error) {
				into.dryRun, err = readBool(raw)
				return err
			},
		},
		{
			name: "rate", doc: "new deliveries a second at most",
			schema: schema{"type": "integer", "minimum": 1, "maximum": cybervault.MaxReplayRate, "default": cybervault.DefaultReplayRate},
			read: func(raw json.RawMessage, into *replayRequest) (err error) {
				if into.rate, err = strconv.Atoi(string(raw)); err != nil {
					return cybervault.Errorf(cybervault.CodeInvalid, "is no whole number: give one from 1 to %d", cybervault.MaxReplayRate)
				}
				return nil
			},
		},
	}
}

func readStatuses(raw json.RawMessage, into *replayRequest) error {
	var names []string
	if raw[0] == '[' {
		list, err := readStrings(raw, "status")
		if err != nil {
			return err
		}
		names = list
	} else {
		name, err := readString(raw)
		if err != nil {
			return err
		}
		names = []string{name}
	}
	for _, name := range names {
		into.criteria.Statuses = append(into.criteria.Statuses, cybervault.DeliveryStatus(name))
	}
	return nil
}

func (s *server) replayWebhook(c *call) error {
	id, err := pathID[cybervault.WebhookID](c, "webhook")
	if err != nil {
		return err
	}
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	request := replayRequest{rate: cybervault.DefaultReplayRate}
	if err := replayFields().decodeInto(&request, body, bodyOptions{}); err != nil {
		return err
	}
	if request.dryRun {
		matched, sample, err := s.Replays.PlanReplay(c.ctx(), c.workspace(), id, request.criteria)
		if err != nil {
			return named(err, "webhook", id)
		}
		plan := replayPlanJSON{DryRun: true, Matched: matched, Sample: make([]deliveryJSON, len(sample))}
		for i, d := range sample {
			plan.Sample[i] = showDelivery(d)
		}
		return writeJSON(c, http.StatusOK, plan)
	}
	r, err := s.Replays.StartReplay(c.ctx(), c.workspace(), id, request.criteria, request.rate)
	if err != nil {
		return named(err, "webhook", id)
	}
	c.w.Header().Set("Location", "/v1/replays/"+r.ID.String())
	return writeJSON(c, http.StatusAccepted, showReplay(r))
}

func aboutReplayWebhook(rt *route) {
	rt.id, rt.tag, rt.summary = "replayWebhook", tagWebhooks, "Replay many deliveries"
	rt.doc = "Makes a new delivery of every event that matches, in the order in which they were made. It goes on in the background, over restarts; each matching delivery is replayed once. " +
		"Deliveries that are replays or tests themselves are not replayed."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: replayFields().describe(bodyOptions{}),
		example: schema{"since": "2026-11-01T00:00:00Z", "events": []string{"threat.*"}, "status": "dead_letter"}}
	rt.answers = []answer{
		{status: 200, doc: "The dry run.", schema: of[replayPlanJSON]()},
		{status: 202, doc: "The replay, on disk and begun.", schema: of[replayJSON](), headers: []string{"Location"}},
	}
	rt.errors = []int{409, 503}
}

func (s *server) listReplays(c *call) error {
	f := &filters{query: c.query}
	l := newList(c, "replays")
	limit, before := f.limit(), l.before(f)
	if err := f.wrong.err(); err != nil {
		return err
	}
	page, err := s.Replays.Replays(c.ctx(), c.workspace(), cybervault.ReplayID{UUID: before}, limit)
	if err != nil {
		return err
	}
	answer := listJSON[replayJSON]{Data: make([]replayJSON, len(page.Rows))}
	for i, r := range page.Rows {
		answer.Data[i] = showReplay(r)
	}
	if page.More && len(page.Rows) > 0 {
		answer.NextCursor = l.cursor(page.Rows[len(page.Rows)-1].ID.UUID)
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutListReplays(rt *route) {
	rt.id, rt.tag, rt.summary = "listReplays", tagDeliveries, "List replays"
	rt.doc = "The replays of many deliveries, newest first."
	rt.params = pageParams()
	rt.answers = []answer{{status: 200, doc: "One page of replays.", schema: listOf[replayJSON]()}}
}

func (s *server) getReplay(c *call) error {
	id, err := pathID[cybervault.ReplayID](c, "replay")
	if err != nil {
		return err
	}
	r, err := s.Replays.Replay(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "replay", id)
	}
	return writeJSON(c, http.StatusOK, showReplay(r))
}

func aboutGetReplay(rt *route) {
	rt.id, rt.tag, rt.summary = "getReplay", tagDeliveries, "Read one replay"
	rt.doc = "How far a replay of many deliveries has come."
	rt.answers = []answer{{status: 200, doc: "The replay.", schema: of[replayJSON]()}}
}

func (s *server) cancelReplay(c *call) error {
	id, err := pathID[cybervault.ReplayID](c, "replay")
	if err != nil {
		return err
	}
	if err := wantNoFields(c); err != nil {
		return err
	}
	r, err := s.Replays.CancelReplay(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "replay", id)
	}
	return writeJSON(c, http.StatusOK, showReplay(r))
}

func aboutCancelReplay(rt *route) {
	rt.id, rt.tag, rt.summary = "cancelReplay", tagDeliveries, "Cancel a replay"
	rt.doc = "Makes no further deliveries. Those that it has made stay. A replay that has ended is a conflict."
	rt.answers = []answer{{status: 200, doc: "The replay as it is now.", schema: of[replayJSON]()}}
	rt.errors = []int{409, 503}
}

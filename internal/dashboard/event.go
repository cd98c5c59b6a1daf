package dashboard

import (
	"net/http"
	"strconv"

	"github.com/cybervault/cybervault"
)

type eventView struct {
	page
	ID             string
	Type           string
	Severity       badge
	Summary        string
	When           moment
	Stored         moment
	IdempotencyKey string
	OwnKey         bool // CyberVault made the key itself
	Test           bool
	Payload        payloadView
	Fields         []fieldLink
	Deliveries     []deliveryRow
	More           string // address of the rest of the deliveries
	Live           liveView
}

func (d *dashboard) showEvent(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id, err := pathID[cybervault.EventID](r)
	if err != nil {
		return err
	}
	e, err := d.Log.Event(ctx, workspaceOf(ctx), id)
	if err != nil {
		return err
	}
	found, err := d.Log.Deliveries(ctx, cybervault.DeliveryQuery{Workspace: workspaceOf(ctx), Event: id, Limit: cybervault.MaxPageSize})
	if err != nil {
		return err
	}
	severity, summary := digest(e.Body)
	if severity == "" {
		severity = d.severities(ctx).of(e.Type)
	}
	v := &eventView{
		page: d.newPage(r, "events", cut(e.Type, 60)),
		ID:   id.String(), Type: cut(e.Type, shownInList), Severity: severityBadge(severity), Summary: summary,
		When: d.moment(e.Timestamp), Stored: d.moment(e.ID.Time()),
		IdempotencyKey: cut(e.IdempotencyKey, cybervault.MaxIdempotencyKeyBytes), OwnKey: !e.PublisherKey, Test: e.Test,
		Payload: newPayload(e), Fields: fieldLinks(e.Body), Live: liveView{URL: "/events/" + id.String(), Every: 1000},
	}
	if v.Deliveries, err = d.deliveryRows(ctx, found.Rows); err != nil {
		return err
	}
	if found.More {
		v.More = count(len(found.Rows)) + " newest deliveries are shown."
	}
	if wantsPart(r) {
		return d.renderPart(w, "event", "event-deliveries", v)
	}
	return d.render(w, http.StatusOK, "event", v)
}

// rawEvent answers with the envelope's stored bytes, as a file to keep: shown
// in place, another program's JSON viewer might run what is in it.
func (d *dashboard) rawEvent(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.EventID](r)
	if err != nil {
		return err
	}
	e, err := d.Log.Event(r.Context(), workspaceOf(r.Context()), id)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Disposition", `attachment; filename="`+id.String()+`.json"`)
	h.Set("Content-Length", strconv.Itoa(len(e.Body)))
	_, _ = w.Write(e.Body) // the browser went away: nobody is left to tell
	return nil
}

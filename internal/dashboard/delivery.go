package dashboard

import (
	"net/http"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

type deliveryView struct {
	page
	ID          string
	Badge       badge
	Meaning     string
	EventType   string
	Severity    badge
	EventID     string
	WebhookID   string
	WebhookName string
	WebhookURL  string
	WebhookGone bool
	Sequence    string
	Created     moment
	Finished    moment
	Next        moment
	Took        string // from commit to the end
	ReplayOf    string
	Test        bool
	CanReplay   bool
	CanCancel   bool
	Attempts    []attemptView // newest first
	Payload     payloadView
	Curl        string
	CurlNote    string
	Signed      *signedView // of the last attempt; nil where it cannot be made again
	Live        liveView
}

// payloadView is an envelope, pretty-printed.
type payloadView struct {
	EventID string
	Tokens  []token
	Cut     bool
	Size    string
}

func newPayload(e *cybervault.Event) payloadView {
	p := payloadView{EventID: e.ID.String(), Size: byteCount(len(e.Body))}
	p.Tokens, p.Cut = pretty(e.Body, shownPayload)
	return p
}

func (d *dashboard) showDelivery(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id, err := pathID[cybervault.DeliveryID](r)
	if err != nil {
		return err
	}
	dl, err := d.Log.Delivery(ctx, workspaceOf(ctx), id)
	if err != nil {
		return err
	}
	event, err := d.Log.Event(ctx, workspaceOf(ctx), dl.Event)
	if err != nil {
		return err
	}
	attempts, err := d.Log.Attempts(ctx, workspaceOf(ctx), id)
	if err != nil {
		return err
	}
	hook, err := d.webhookOrNil(ctx, dl.Webhook)
	if err != nil {
		return err
	}
	may := mayRespond(ctx)
	v := &deliveryView{
		page: d.newPage(r, "deliveries", "Delivery of "+cut(dl.EventType, 60)),
		ID:   dl.ID.String(), Badge: deliveryBadge(dl),
		EventType: cut(dl.EventType, shownInList), Severity: severityBadge(dl.Severity),
		EventID: dl.Event.String(), WebhookID: dl.Webhook.String(),
		Created: d.moment(dl.CreatedAt()), Finished: d.moment(dl.FinishedAt), Next: d.moment(dl.NextAttemptAt),
		ReplayOf: dl.ReplayOf.String(), Test: dl.Test,
		CanReplay: may && dl.Status.Ended(), CanCancel: may && !dl.Status.Ended(),
		Payload: newPayload(event),
	}
	v.Meaning = statusMeaning(dl)
	if dl.Sequence > 0 {
		v.Sequence = count(dl.Sequence)
	}
	if !dl.FinishedAt.IsZero() {
		v.Took = took(dl.FinishedAt.Sub(dl.CreatedAt()))
	}
	if v.WebhookGone = hook == nil || !hook.DeletedAt.IsZero(); hook != nil {
		v.WebhookName, v.WebhookURL = webhookName(hook), cut(hook.URL, shownInDetail)
	}
	if v.WebhookGone {
		v.CanReplay = false
	}
	for _, attempt := range slices.Backward(attempts) {
		a := d.attemptView(attempt)
		a.Open = len(v.Attempts) == 0
		v.Attempts = append(v.Attempts, a)
	}
	if n := len(attempts); n > 0 {
		v.Curl, v.CurlNote = curl(attempts[n-1], event)
		v.Signed = signed(attempts[n-1], event, hook)
	}
	if !dl.Status.Ended() {
		v.Live = liveView{URL: "/deliveries/" + v.ID, Every: 1000}
	}
	if wantsPart(r) {
		return d.renderPart(w, "delivery", "delivery-live", v)
	}
	return d.render(w, http.StatusOK, "delivery", v)
}

func (d *dashboard) replayDelivery(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.DeliveryID](r)
	if err != nil {
		return err
	}
	dl, err := d.Replayer.ReplayDelivery(r.Context(), workspaceOf(r.Context()), id)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/deliveries/"+dl.ID.String()+"?done=replayed", http.StatusSeeOther)
	return nil
}

func (d *dashboard) cancelDelivery(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.DeliveryID](r)
	if err != nil {
		return err
	}
	if _, err := d.Replayer.CancelDelivery(r.Context(), workspaceOf(r.Context()), id); err != nil {
		return err
	}
	http.Redirect(w, r, "/deliveries/"+id.String()+"?done=cancelled", http.StatusSeeOther)
	return nil
}

// maxCurlBody is how long a payload may be to stand within the command itself.
const maxCurlBody = 8 << 10

// curl writes the request of an attempt as a command. The bytes after
// --data-raw are the payload's own, so that the signatures still fit it; a
// payload that a terminal could misread is taken from a file instead.
func curl(a *cybervault.Attempt, e *cybervault.Event) (command, note string) {
	var b strings.Builder
	b.WriteString("curl -sS -X POST " + shellQuote(cut(a.URL, cybervault.MaxURLBytes)))
	for _, h := range a.Request {
		switch http.CanonicalHeaderKey(h.Name) {
		case "Host", "Content-Length", "Accept-Encoding", "Connection":
			continue // curl sets them itself
		}
		b.WriteString(" \\\n  -H " + shellQuote(h.Name+": "+cut(h.Value, cybervault.MaxHeaderValueBytes)))
	}
	if len(e.Body) <= maxCurlBody && len(visible(e.Body)) == len(e.Body) {
		b.WriteString(" \\\n  --data-raw " + shellQuote(string(e.Body)))
		return b.String(), ""
	}
	file := e.ID.String() + ".json"
	b.WriteString(" \\\n  --data-binary @" + file)
	return b.String(), "Download the raw bytes as " + file + " first."
}

// shellQuote writes s as one word of a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

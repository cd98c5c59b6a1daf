package api

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

type deliveryJSON struct {
	ID            cybervault.DeliveryID     `json:"id"`
	EventID       cybervault.EventID        `json:"event_id"`
	Event         string                    `json:"event" doc:"The event type."`
	Severity      cybervault.Severity       `json:"severity" doc:"The event's own severity where its data names one, else its type's. The more severe overtake the others, unless the webhook is ordered."`
	WebhookID     cybervault.WebhookID      `json:"webhook_id"`
	Status        cybervault.DeliveryStatus `json:"status"`
	Reason        *string                   `json:"reason" doc:"Why it was skipped or cancelled; null otherwise."`
	Sequence      *int64                    `json:"sequence" doc:"The webhook's own gapless number, from 1; null for a skipped delivery."`
	AttemptCount  int                       `json:"attempt_count" doc:"Attempts made so far."`
	CreatedAt     time.Time                 `json:"created_at"`
	NextAttemptAt *time.Time                `json:"next_attempt_at" doc:"When a pending delivery is tried next; null while an attempt is under way and once it has ended."`
	FinishedAt    *time.Time                `json:"finished_at" doc:"When it ended; null until then."`
	ReplayOf      *cybervault.DeliveryID    `json:"replay_of" doc:"The delivery that this one is a replay of, or null."`
	Test          bool                      `json:"test" doc:"Whether it carries a test payload or an example."`
	LastStatus    *int                      `json:"last_status" doc:"The HTTP status of the last answer; null if none came."`
	LastFailure   *cybervault.Failure       `json:"last_failure" doc:"Why the last attempt failed; null after a success."`
}

// deliveryWithAttemptsJSON is what reading one delivery answers.
type deliveryWithAttemptsJSON struct {
	deliveryJSON
	Attempts []attemptJSON `json:"attempts" doc:"Oldest first."`
}

type attemptJSON struct {
	ID                 *cybervault.AttemptID  `json:"id"`
	DeliveryID         *cybervault.DeliveryID `json:"delivery_id"`
	Number             int                    `json:"number" doc:"1, 2, 3 and so on."`
	StartedAt          time.Time              `json:"started_at"`
	Succeeded          bool                   `json:"succeeded"`
	Failure            *cybervault.Failure    `json:"failure" doc:"Why it failed; null after a success."`
	Error              *string                `json:"error" doc:"The failure in words; null after a success."`
	Status             *int                   `json:"status" doc:"The HTTP status of the answer; null if none came."`
	URL                string                 `json:"url"`
	RemoteAddr         *string                `json:"remote_addr" doc:"The address and port that was dialled; null if none was."`
	Protocol           *string                `json:"protocol" doc:"HTTP/1.1 or HTTP/2.0; null if no answer came."`
	RequestHeaders     []headerJSON           `json:"request_headers" doc:"As sent; the values of the webhook's static headers are masked."`
	ResponseHeaders    []headerJSON           `json:"response_headers"`
	ResponseBody       *string                `json:"response_body" doc:"The first part of the answer's body; null if it is not UTF-8 text."`
	ResponseBodyBase64 *string                `json:"response_body_base64" doc:"The same in base64 where it is not UTF-8 text; null otherwise."`
	ResponseBodyCut    bool                   `json:"response_body_truncated" doc:"Whether the body went on."`
	ElapsedMS          float64                `json:"elapsed_ms" doc:"From the start to the end of what was read."`
	Timings            timingsJSON            `json:"timings"`
	TLS                *peerTLSJSON           `json:"tls" doc:"The TLS session and the certificate that the receiver showed, trusted or not; null where none was shown."`
}

// peerTLSJSON is a TLS session and the receiver's own certificate in it.
type peerTLSJSON struct {
	Version     string    `json:"version" doc:"TLS 1.3 or TLS 1.2; empty if the handshake did not come that far."`
	CipherSuite string    `json:"cipher_suite" doc:"Empty if the handshake did not come that far."`
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	Names       []string  `json:"names" doc:"The first of the DNS names and IP addresses it is valid for."`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"sha256" doc:"The fingerprint of the certificate in DER, in lower-case hex."`
}

// timingsJSON holds the parts of an exchange, null for one that did not happen.
type timingsJSON struct {
	DNS       *float64 `json:"dns_ms" doc:"Looking up the name; null on a connection that was open already."`
	Connect   *float64 `json:"connect_ms" doc:"Opening the connection; null on one that was open already."`
	TLS       *float64 `json:"tls_ms" doc:"The TLS handshake; null on a connection that was open already."`
	FirstByte *float64 `json:"first_byte_ms" doc:"From the start to the first byte of the answer; null if none came."`
}

type headerJSON struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func showDelivery(d *cybervault.Delivery) deliveryJSON {
	return deliveryJSON{
		ID: d.ID, EventID: d.Event, Event: d.EventType, Severity: cmp.Or(d.Severity, cybervault.SeverityInfo), WebhookID: d.Webhook,
		Status: d.Status, Reason: orNull(d.Reason), Sequence: orNull(d.Sequence), AttemptCount: d.Attempts,
		CreatedAt: d.CreatedAt(), NextAttemptAt: orNull(d.NextAttemptAt.UTC()), FinishedAt: orNull(d.FinishedAt.UTC()),
		ReplayOf: orNull(d.ReplayOf), Test: d.Test, LastStatus: orNull(d.LastStatus), LastFailure: orNull(d.LastFailure),
	}
}

func showAttempt(a *cybervault.Attempt) attemptJSON {
	shown := attemptJSON{
		ID: orNull(a.ID), DeliveryID: orNull(a.Delivery), Number: a.Number, StartedAt: a.StartedAt.UTC(),
		Succeeded: a.Succeeded(), Failure: orNull(a.Failure), Error: orNull(a.Error), Status: orNull(a.Status),
		URL: a.URL, RemoteAddr: orNull(a.RemoteAddr), Protocol: orNull(a.Protocol),
		RequestHeaders: showHeaders(a.Request), ResponseHeaders: showHeaders(a.Answer),
		ResponseBodyCut: a.BodyCut, ElapsedMS: milliseconds(a.Elapsed),
		Timings: timingsJSON{
			DNS: orNull(milliseconds(a.Timings.DNS)), Connect: orNull(milliseconds(a.Timings.Connect)),
			TLS: orNull(milliseconds(a.Timings.TLS)), FirstByte: orNull(milliseconds(a.Timings.FirstByte)),
		},
	}
	if a.TLS != nil {
		shown.TLS = new(peerTLSJSON(*a.TLS))
		if shown.TLS.Names == nil {
			shown.TLS.Names = []string{}
		}
	}
	if text, ok := asText(a.Body, a.BodyCut); ok {
		shown.ResponseBody = &text
	} else {
		shown.ResponseBodyBase64 = new(base64.StdEncoding.EncodeToString(a.Body))
	}
	return shown
}

// asText returns the body as a string if it is UTF-8. One that was cut may end
// in the middle of a letter, which is left out.
func asText(body []byte, cut bool) (string, bool) {
	if cut {
		for i := 1; i < utf8.UTFMax && i <= len(body); i++ {
			if rest := body[len(body)-i:]; utf8.RuneStart(rest[0]) {
				if !utf8.FullRune(rest) {
					body = body[:len(body)-i]
				}
				break
			}
		}
	}
	return string(body), utf8.Valid(body)
}

func showHeaders(headers []cybervault.Header) []headerJSON {
	shown := make([]headerJSON, len(headers))
	for i, h := range headers {
		shown[i] = headerJSON(h)
	}
	return shown
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func webhookParam() param {
	return param{"webhook", "Only deliveries to this webhook.", of[cybervault.WebhookID]()}
}

func statusParam() param {
	one := "(" + strings.ReplaceAll(statusNames(), ", ", "|") + "|" + cybervault.UndeliveredStatuses + ")"
	return param{"status", "Only deliveries of this status, or of one of these, joined by commas: " + statusNames() + ". undelivered stands for all but delivered.",
		schema{"type": "string", "pattern": "^" + one + "(," + one + ")*$"}}
}

func (s *server) listDeliveries(c *call) error {
	return s.answerDeliveries(c, "deliveries", cybervault.DeliveryQuery{})
}

// answerDeliveries answers one page of the deliveries that the request's
// filters leave of q.
func (s *server) answerDeliveries(c *call, name string, q cybervault.DeliveryQuery) error {
	f := &filters{query: c.query}
	l := newList(c, name)
	q.Workspace, q.Limit, q.Before, q.Text = c.workspace(), f.limit(), cybervault.DeliveryID{UUID: l.before(f)}, f.search()
	q.Since, q.Until = f.span()
	if text, ok := f.text("webhook"); ok {
		id, err := cybervault.ParseID[cybervault.WebhookID](text)
		f.wrong = f.wrong.with("webhook", err)
		q.Webhook = id
	}
	if text, ok := f.text("event"); ok && isEventID(text) {
		id, err := cybervault.ParseID[cybervault.EventID](text)
		f.wrong = f.wrong.with("event", err)
		q.Event = id
	} else if ok {
		q.EventType = f.eventChoice("event", text)
	}
	if text, ok := f.text("status"); ok {
		statuses, err := cybervault.ParseDeliveryStatuses(text)
		f.wrong = f.wrong.with("status", err)
		q.Statuses = statuses
	}
	if err := f.wrong.err(); err != nil {
		return err
	}
	page, err := s.Log.Deliveries(c.ctx(), q)
	if err != nil {
		return err
	}
	answer := deliveryListJSON{listJSON: listJSON[deliveryJSON]{Data: make([]deliveryJSON, len(page.Rows))}}
	if len(page.Rows) == 0 && !q.Event.IsZero() && len(c.query) == 0 {
		answer.Explanation = "no webhook had chosen this event type when the event was published: it is kept, and goes to nobody"
	}
	for i, d := range page.Rows {
		answer.Data[i] = showDelivery(d)
	}
	if page.More && len(page.Rows) > 0 {
		answer.NextCursor = l.cursor(page.Rows[len(page.Rows)-1].ID.UUID)
	}
	return writeJSON(c, http.StatusOK, answer)
}

// deliveryListJSON is a page of deliveries.
type deliveryListJSON struct {
	listJSON[deliveryJSON]

	Explanation string `json:"explanation,omitempty"` // of an event that has none at all
}

func statusNames() string {
	names := make([]string, 0, 6)
	for _, status := range cybervault.DeliveryStatuses() {
		names = append(names, string(status))
	}
	return strings.Join(names, ", ")
}

func aboutListDeliveries(rt *route) {
	rt.id, rt.tag, rt.summary = "listDeliveries", tagDeliveries, "List deliveries"
	rt.doc = "The delivery log, newest first."
	rt.params = append([]param{
		webhookParam(),
		{"event", "Only this event (wh_…) or this event type: a name, a namespace such as threat.*, or *.", schema{"type": "string"}},
		statusParam(), sinceParam(), untilParam(), textParam(),
	}, pageParams()...)
	rt.answers = []answer{{status: 200, doc: "One page of deliveries.", schema: listOf[deliveryJSON]()}}
}

func (s *server) getDelivery(c *call) error {
	id, err := pathID[cybervault.DeliveryID](c, "delivery")
	if err != nil {
		return err
	}
	d, err := s.Log.Delivery(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "delivery", id)
	}
	attempts, err := s.Log.Attempts(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "delivery", id)
	}
	shown := deliveryWithAttemptsJSON{deliveryJSON: showDelivery(d), Attempts: make([]attemptJSON, len(attempts))}
	for i, a := range attempts {
		shown.Attempts[i] = showAttempt(a)
	}
	return writeJSON(c, http.StatusOK, shown)
}

func aboutGetDelivery(rt *route) {
	rt.id, rt.tag, rt.summary = "getDelivery", tagDeliveries, "Read one delivery"
	rt.doc = "With every attempt: what was sent and what was answered."
	rt.answers = []answer{{status: 200, doc: "The delivery.", schema: of[deliveryWithAttemptsJSON]()}}
}

func (s *server) replayDelivery(c *call) error {
	id, err := pathID[cybervault.DeliveryID](c, "delivery")
	if err != nil {
		return err
	}
	if err := wantNoFields(c); err != nil {
		return err
	}
	d, err := s.Replayer.ReplayDelivery(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "delivery", id)
	}
	return writeNewDelivery(c, d)
}

// writeNewDelivery answers with a delivery that is on disk and under way.
func writeNewDelivery(c *call, d *cybervault.Delivery) error {
	c.w.Header().Set("Location", "/v1/deliveries/"+d.ID.String())
	return writeJSON(c, http.StatusAccepted, showDelivery(d))
}

func aboutReplayDelivery(rt *route) {
	rt.id, rt.tag, rt.summary = "replayDelivery", tagDeliveries, "Replay a delivery"
	rt.doc = "Makes a new delivery of the same event to the same webhook. The receiver gets the same body and webhook-id again."
	rt.answers = []answer{{status: 202, doc: "The new delivery.", schema: of[deliveryJSON](), headers: []string{"Location"}}}
	rt.errors = []int{409, 503}
}

func (s *server) cancelDelivery(c *call) error {
	id, err := pathID[cybervault.DeliveryID](c, "delivery")
	if err != nil {
		return err
	}
	if err := wantNoFields(c); err != nil {
		return err
	}
	d, err := s.Replayer.CancelDelivery(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "delivery", id)
	}
	return writeJSON(c, http.StatusOK, showDelivery(d))
}

func aboutCancelDelivery(rt *route) {
	rt.id, rt.tag, rt.summary = "cancelDelivery", tagDeliveries, "Cancel a delivery"
	rt.doc = "Ends a delivery that is pending or held. One that has ended is a conflict."
	rt.answers = []answer{{status: 200, doc: "The delivery as it is now.", schema: of[deliveryJSON]()}}
	rt.errors = []int{409, 503}
}

package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/cybervault/cybervault"
)

// maskedHeader stands for the value of a static header in every answer, and in
// a PATCH for the value it has.
const maskedHeader = "***"

// DefaultRotationOverlap is how long the old secret lives on when a rotation
// does not say; MaxRotationOverlap is the most it may say.
const (
	DefaultRotationOverlap = 24 * time.Hour
	MaxRotationOverlap     = 30 * 24 * time.Hour
)

type webhookJSON struct {
	ID             cybervault.WebhookID     `json:"id"`
	URL            string                   `json:"url" format:"uri"`
	Events         []string                 `json:"events" doc:"The chosen event types: names, namespaces such as threat.*, or *."`
	Description    string                   `json:"description"`
	Status         cybervault.WebhookStatus `json:"status"`
	DisabledReason *string                  `json:"disabled_reason" doc:"Why it is disabled; null while it is enabled."`
	Accept         cybervault.Accept        `json:"accept" doc:"Which answers are success: default is 200 and 201."`
	Headers        map[string]string        `json:"headers" doc:"The static headers. Values are never shown: each is ***."`
	RetrySchedule  *[]string                `json:"retry_schedule" doc:"The delays after each failed attempt; null where the server's schedule applies."`
	Verification   bool                     `json:"verification" doc:"Whether deliveries are held until a test payload was accepted."`
	VerifiedAt     *time.Time               `json:"verified_at" doc:"When a test payload was accepted; null until then."`
	CACertificate  *string                  `json:"ca_certificate" doc:"The CAs to trust instead of the system's, as PEM; null for the system's."`
	tuningJSON
	channelJSON
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// webhookWithSecretJSON is what creating and rotating answer.
type webhookWithSecretJSON struct {
	webhookJSON
	Secret string `json:"secret" doc:"The signing secret. Later, only GET /v1/webhooks/{id}/secret shows it."`
}

type secretJSON struct {
	Secret    string               `json:"secret" doc:"The newest signing secret."`
	CreatedAt time.Time            `json:"created_at"`
	Previous  []previousSecretJSON `json:"previous" doc:"Secrets that live on until a rotation's overlap ends, newest first."`
}

type previousSecretJSON struct {
	Secret    string    `json:"secret"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

func showWebhook(w *cybervault.Webhook) webhookJSON {
	shown := webhookJSON{
		ID: w.ID, URL: w.URL, Events: append([]string{}, w.Events...), Description: w.Description,
		Status: w.Status, DisabledReason: orNull(w.DisabledReason), Accept: w.Accept,
		Headers: make(map[string]string, len(w.Headers)), RetrySchedule: showSchedule(w.RetrySchedule),
		Verification: w.Verification, VerifiedAt: orNull(w.VerifiedAt.UTC()), CACertificate: orNull(w.CACertificate),
		tuningJSON: showTuning(&w.Tuning), channelJSON: showChannel(&w.Channel),
		CreatedAt: w.CreatedAt.UTC(), UpdatedAt: w.UpdatedAt.UTC(),
	}
	for _, h := range w.Headers {
		shown.Headers[h.Name] = maskedHeader
	}
	return shown
}

func showSchedule(schedule []time.Duration) *[]string {
	if schedule == nil {
		return nil
	}
	words := make([]string, len(schedule))
	for i, d := range schedule {
		words[i] = cybervault.FormatDuration(d)
	}
	return &words
}

// orNull returns nil for the zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func (s *server) createWebhook(c *call) error {
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	change, err := webhookFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	if err := unmask(&change, nil); err != nil {
		return err
	}
	if err := unmaskCertificate(&change, false); err != nil {
		return err
	}
	w, err := s.Webhooks.CreateWebhook(c.ctx(), c.workspace(), change)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/v1/webhooks/"+w.ID.String())
	return s.writeWithSecret(c, http.StatusCreated, w)
}

func (s *server) writeWithSecret(c *call, status int, w *cybervault.Webhook) error {
	if len(w.Secrets) == 0 {
		return cybervault.Errorf(cybervault.CodeInternal, "webhook %s has no secret", w.ID)
	}
	return writeJSON(c, status, webhookWithSecretJSON{webhookJSON: showWebhook(w), Secret: w.Secrets[0].Value})
}

func aboutCreateWebhook(rt *route) {
	rt.id, rt.tag, rt.summary = "createWebhook", tagWebhooks, "Create a webhook"
	rt.doc = "The answer shows the signing secret. With verification, deliveries are held until POST /v1/webhooks/{id}/verify has succeeded."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: webhookFields().describe(bodyOptions{}), example: schema{
		"url": "https://example.com/hooks/cybervault", "events": []string{"threat.*", "auth.suspicious"}, "description": "SOC channel",
	}}
	rt.answers = []answer{{status: 201, doc: "Created.", schema: of[webhookWithSecretJSON](), headers: []string{"Location"}}}
	rt.errors = []int{409, 503}
}

func (s *server) listWebhooks(c *call) error {
	all, err := s.Webhooks.Webhooks(c.ctx(), c.workspace())
	if err != nil {
		return err
	}
	rows, next, err := pageOf(c, "webhooks", all, func(w *cybervault.Webhook) cybervault.UUID { return w.ID.UUID })
	if err != nil {
		return err
	}
	answer := listJSON[webhookJSON]{Data: make([]webhookJSON, len(rows)), NextCursor: next}
	for i, w := range rows {
		answer.Data[i] = showWebhook(w)
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutListWebhooks(rt *route) {
	rt.id, rt.tag, rt.summary = "listWebhooks", tagWebhooks, "List webhooks"
	rt.doc = "Newest first."
	rt.params = pageParams()
	rt.answers = []answer{{status: 200, doc: "One page of webhooks.", schema: listOf[webhookJSON]()}}
}

func (s *server) getWebhook(c *call) error {
	w, err := s.webhook(c)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, webhookWithHealthJSON{showWebhook(w), s.showHealth(w.ID)})
}

// webhook finds the webhook of the path.
func (s *server) webhook(c *call) (*cybervault.Webhook, error) {
	id, err := pathID[cybervault.WebhookID](c, "webhook")
	if err != nil {
		return nil, err
	}
	w, err := s.Webhooks.Webhook(c.ctx(), c.workspace(), id)
	return w, named(err, "webhook", id)
}

func aboutGetWebhook(rt *route) {
	rt.id, rt.tag, rt.summary = "getWebhook", tagWebhooks, "Read one webhook"
	rt.doc = "Without its secret and without the values of its headers."
	rt.answers = []answer{{status: 200, doc: "The webhook.", schema: of[webhookWithHealthJSON]()}}
}

func (s *server) updateWebhook(c *call) error {
	id, err := pathID[cybervault.WebhookID](c, "webhook")
	if err != nil {
		return err
	}
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	change, err := webhookFields().decode(body, bodyOptions{partial: true})
	if err != nil {
		return err
	}
	if change.ClientCertificate != nil || change.Headers != nil && slices.ContainsFunc(*change.Headers, isMasked) {
		w, err := s.webhook(c)
		if err != nil {
			return err
		}
		if err := unmask(&change, w.Headers); err != nil {
			return err
		}
		if err := unmaskCertificate(&change, w.ClientCertificate != ""); err != nil {
			return err
		}
	}
	w, err := s.Webhooks.UpdateWebhook(c.ctx(), c.workspace(), id, change)
	if err != nil {
		return named(err, "webhook", id)
	}
	return writeJSON(c, http.StatusOK, showWebhook(w))
}

func aboutUpdateWebhook(rt *route) {
	rt.id, rt.tag, rt.summary = "updateWebhook", tagWebhooks, "Change a webhook"
	rt.doc = "What is absent stays as it is; null sets the default. Headers and events are replaced as a whole; a header whose value is *** keeps the one it has, and so do client_certificate, " +
		"the password of proxy, and the secret of authentication, which may also be left out. " +
		"{\"status\":\"disabled\"} stops new deliveries, {\"status\":\"enabled\"} starts them again."
	rt.body = &bodyDoc{media: []string{"application/json", "application/merge-patch+json"}, schema: webhookFields().describe(bodyOptions{partial: true}),
		example: schema{"status": "disabled"}}
	rt.answers = []answer{{status: 200, doc: "The webhook as it is now.", schema: of[webhookJSON]()}}
	rt.errors = []int{409, 503}
}

func isMasked(h cybervault.Header) bool { return h.Value == maskedHeader }

// unmask replaces the values that are masks by what the headers have now, so
// that a webhook may be read, edited and sent back.
func unmask(change *cybervault.WebhookChange, current []cybervault.Header) error {
	if change.Headers == nil {
		return nil
	}
	headers := slices.Clone(*change.Headers)
	for i, h := range headers {
		if !isMasked(h) {
			continue
		}
		at := slices.IndexFunc(current, func(c cybervault.Header) bool {
			return http.CanonicalHeaderKey(c.Name) == http.CanonicalHeaderKey(h.Name)
		})
		if at < 0 {
			return cybervault.Invalid("headers["+quote(h.Name)+"]", "is %q, which stands for a value that is not shown, but the webhook has no such header: give its value", maskedHeader)
		}
		headers[i].Value = current[at].Value
	}
	change.Headers = &headers
	return nil
}

func quote(s string) string {
	b, err := json.Marshal(shorten(s))
	if err != nil { // a string: cannot fail
		panic(err)
	}
	return string(b)
}

func (s *server) deleteWebhook(c *call) error {
	id, err := pathID[cybervault.WebhookID](c, "webhook")
	if err != nil {
		return err
	}
	if err := s.Webhooks.DeleteWebhook(c.ctx(), c.workspace(), id); err != nil {
		return named(err, "webhook", id)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func aboutDeleteWebhook(rt *route) {
	rt.id, rt.tag, rt.summary = "deleteWebhook", tagWebhooks, "Remove a webhook"
	rt.doc = "Deliveries that have not ended are cancelled. The log keeps what was delivered."
	rt.answers = []answer{{status: 204, doc: "Removed."}}
	rt.errors = []int{503}
}

func (s *server) getSecret(c *call) error {
	w, err := s.webhook(c)
	if err != nil {
		return err
	}
	if len(w.Secrets) == 0 {
		return cybervault.Errorf(cybervault.CodeInternal, "webhook %s has no secret", w.ID)
	}
	shown := secretJSON{Secret: w.Secrets[0].Value, CreatedAt: w.Secrets[0].CreatedAt.UTC(), Previous: []previousSecretJSON{}}
	for _, old := range w.Secrets[1:] {
		if old.ExpiresAt.After(s.Now()) {
			shown.Previous = append(shown.Previous, previousSecretJSON{Secret: old.Value, CreatedAt: old.CreatedAt.UTC(), ExpiresAt: old.ExpiresAt.UTC()})
		}
	}
	return writeJSON(c, http.StatusOK, shown)
}

func aboutGetSecret(rt *route) {
	rt.id, rt.tag, rt.summary = "getWebhookSecret", tagWebhooks, "Show the signing secret"
	rt.doc = "The only call that shows a secret again."
	rt.answers = []answer{{status: 200, doc: "The secrets that are alive.", schema: of[secretJSON]()}}
}

type rotation struct{ overlap time.Duration }

func rotationFields() fields[rotation] {
	return fields[rotation]{{
		name: "overlap", doc: "how long the old secret lives on, from 0s to 720h; 24h if absent",
		schema: schema{"type": "string", "default": "24h", "examples": []string{"24h", "0s"}},
		read: func(raw json.RawMessage, into *rotation) error {
			text, err := readString(raw)
			if err != nil {
				return err
			}
			d, err := time.ParseDuration(text)
			if err != nil || d < 0 || d > MaxRotationOverlap {
				return cybervault.Errorf(cybervault.CodeInvalid, "%q is not a duration from 0s to 720h: use a number and a unit, such as 24h", shorten(text))
			}
			into.overlap = d
			return nil
		},
		null: func(into *rotation) { into.overlap = DefaultRotationOverlap },
	}}
}

func (s *server) rotateSecret(c *call) error {
	id, err := pathID[cybervault.WebhookID](c, "webhook")
	if err != nil {
		return err
	}
	request := rotation{overlap: DefaultRotationOverlap}
	body, err := readOptionalJSON(c)
	if err != nil {
		return err
	}
	if body != nil {
		if err := rotationFields().decodeInto(&request, body, bodyOptions{}); err != nil {
			return err
		}
	}
	w, err := s.Webhooks.RotateSecret(c.ctx(), c.workspace(), id, request.overlap)
	if err != nil {
		return named(err, "webhook", id)
	}
	return s.writeWithSecret(c, http.StatusOK, w)
}

func aboutRotateSecret(rt *route) {
	rt.id, rt.tag, rt.summary = "rotateWebhookSecret", tagWebhooks, "Rotate the signing secret"
	rt.doc = "The answer shows the new secret. While the overlap lasts, both sign every attempt. With ed25519 the key pair is rotated too, and public_key is the new one."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: rotationFields().describe(bodyOptions{}), optional: true, example: schema{"overlap": "24h"}}
	rt.answers = []answer{{status: 200, doc: "Rotated.", schema: of[webhookWithSecretJSON]()}}
	rt.errors = []int{409, 503}
}

func (s *server) verifyWebhook(c *call) error {
	id, err := pathID[cybervault.WebhookID](c, "webhook")
	if err != nil {
		return err
	}
	if err := wantNoFields(c); err != nil {
		return err
	}
	attempt, err := s.Webhooks.VerifyWebhook(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "webhook", id)
	}
	return writeJSON(c, http.StatusOK, showAttempt(attempt))
}

func aboutVerifyWebhook(rt *route) {
	rt.id, rt.tag, rt.summary = "verifyWebhook", tagWebhooks, "Verify a webhook"
	rt.doc = "Sends the test payload (webhook.test) and waits for the answer. The call succeeds whether the receiver did or not: succeeded says so. " +
		"After a success, deliveries that were held are sent."
	rt.answers = []answer{{status: 200, doc: "What was sent and answered.", schema: of[attemptJSON]()}}
	rt.errors = []int{409, 503}
}

type testRequest struct{ eventType string }

func testFields() fields[testRequest] {
	return fields[testRequest]{{
		name: "event", required: true, doc: "name the event type whose example to deliver, such as \"threat.detected\"", schema: schema{"type": "string"},
		read: func(raw json.RawMessage, into *testRequest) (err error) {
			into.eventType, err = readString(raw)
			return err
		},
	}}
}

func (s *server) testWebhook(c *call) error {
	id, err := pathID[cybervault.WebhookID](c, "webhook")
	if err != nil {
		return err
	}
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	request, err := testFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	if _, ok := s.Catalogue.Lookup(c.workspace(), request.eventType); !ok {
		return cybervault.Invalid("event", "there is no event type %q: GET /v1/event-types lists them", shorten(request.eventType))
	}
	d, err := s.Webhooks.TestWebhook(c.ctx(), c.workspace(), id, request.eventType)
	if err != nil {
		return named(err, "webhook", id)
	}
	return writeNewDelivery(c, d)
}

func aboutTestWebhook(rt *route) {
	rt.id, rt.tag, rt.summary = "testWebhook", tagWebhooks, "Send an example"
	rt.doc = "Delivers the event type's example to this webhook alone, with the header X-CyberVault-Test: true, whatever event types it chose."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: testFields().describe(bodyOptions{}), example: schema{"event": cybervault.EventThreatDetected}}
	rt.answers = []answer{{status: 202, doc: "The delivery that will bring it.", schema: of[deliveryJSON](), headers: []string{"Location"}}}
	rt.errors = []int{409, 503}
}

package dashboard

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// maskedValue stands in the form for the value of a static header that is kept
// sealed; a line that still holds it keeps the stored value.
const maskedValue = "••••••••"

// webhookFormView is the page to add a webhook, or to change one.
type webhookFormView struct {
	page
	ID            string // empty: a new one
	Name          string
	URL           string
	Description   string
	Verification  bool
	All           bool
	Groups        []eventGroup
	Accept        string
	RetrySchedule string
	DefaultRetry  string
	CACertificate string
	Headers       string
	tuningForm
	channelForm
	StoredAuth string            // of which type a secret is stored
	Advanced   bool              // the advanced settings stand open
	Errors     map[string]string // by the name of the form's field
	Problem    string            // what is wrong with none of the fields
}

// eventGroup offers the event types of one namespace.
type eventGroup struct {
	Name   string
	Choice string // "threat.*"; empty for choices the catalogue does not know
	Chosen bool
	Types  []eventChoice
}

type eventChoice struct {
	Name        string
	Description string
	Severity    badge
	Chosen      bool
}

// formFields maps the fields that errors name to the fields of the form.
var formFields = map[string]string{ //nolint:gosec // names of fields, not what is in them
	"url": "url", "events": "events", "description": "description", "accept": "accept",
	"headers": "headers", "retry_schedule": "retry_schedule", "ca_certificate": "ca_certificate", "verification": "verification",
	"filter": "filter", "rate_limit": "rate_limit", "concurrency": "concurrency", "ordered": "ordered", "client_certificate": "client_certificate",
	"authentication.type": "auth_type", "authentication.username": "auth_username", "authentication.password": "auth_password", "authentication.token": "auth_token",
	"authentication.token_url": "auth_token_url", "authentication.client_id": "auth_client_id", "authentication.client_secret": "auth_client_secret",
	"authentication.scopes": "auth_scopes", "authentication.audience": "auth_audience", "authentication.client_authentication": "auth_client_authentication",
	"signature": "signature", "proxy": "proxy",
}

func (d *dashboard) newWebhook(w http.ResponseWriter, r *http.Request) error {
	v := &webhookFormView{page: d.newPage(r, "webhooks", "Add webhook"), Accept: string(cybervault.AcceptDefault), channelForm: newChannelForm(&cybervault.Channel{})}
	v.offer(d.Catalogue.List(workspaceOf(r.Context())), nil)
	return d.renderForm(w, http.StatusOK, v)
}

func (d *dashboard) createWebhook(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	change, err := readWebhookForm(r.PostForm, nil)
	var hook *cybervault.Webhook
	if err == nil {
		hook, err = d.Webhooks.CreateWebhook(r.Context(), workspaceOf(r.Context()), change)
	}
	if err != nil {
		v := &webhookFormView{page: d.newPage(r, "webhooks", "Add webhook")}
		return d.refillForm(w, r, v, err)
	}
	show := showOnce{Secret: true, Created: true}
	if hook.Held() {
		if show.Attempt, err = d.verify(r, hook.ID); err != nil {
			show.Problem = "The test payload could not be sent: " + plainError(err)
		}
	}
	return d.renderWebhook(w, r, hook.ID, show)
}

func (d *dashboard) editWebhook(w http.ResponseWriter, r *http.Request) error {
	hook, err := d.webhookAt(r)
	if err != nil {
		return err
	}
	v := &webhookFormView{
		page: d.newPage(r, "webhooks", "Edit webhook"), ID: hook.ID.String(), Name: webhookName(hook),
		URL: hook.URL, Description: hook.Description, Verification: hook.Verification,
		Accept: string(hook.Accept), CACertificate: hook.CACertificate, Headers: maskHeaders(hook.Headers),
		tuningForm: newTuningForm(&hook.Tuning), channelForm: newChannelForm(&hook.Channel), StoredAuth: string(hook.Authentication.Type),
	}
	if hook.RetrySchedule != nil {
		v.RetrySchedule = cybervault.FormatRetrySchedule(hook.RetrySchedule)
	}
	v.Advanced = v.advanced()
	v.offer(d.Catalogue.List(workspaceOf(r.Context())), hook.Events)
	return d.renderForm(w, http.StatusOK, v)
}

func (d *dashboard) updateWebhook(w http.ResponseWriter, r *http.Request) error {
	hook, err := d.webhookAt(r)
	if err != nil {
		return err
	}
	if err := readForm(r); err != nil {
		return err
	}
	change, err := readWebhookForm(r.PostForm, hook)
	var changed *cybervault.Webhook
	if err == nil {
		changed, err = d.Webhooks.UpdateWebhook(r.Context(), workspaceOf(r.Context()), hook.ID, change)
	}
	if err != nil {
		v := &webhookFormView{page: d.newPage(r, "webhooks", "Edit webhook"), ID: hook.ID.String(), Name: webhookName(hook), StoredAuth: string(hook.Authentication.Type)}
		return d.refillForm(w, r, v, err)
	}
	if changed.Held() && !hook.Verification {
		show := showOnce{Notice: notices["saved"]}
		if show.Attempt, err = d.verify(r, hook.ID); err != nil {
			show.Problem = "The test payload could not be sent: " + plainError(err)
		}
		return d.renderWebhook(w, r, hook.ID, show)
	}
	http.Redirect(w, r, hooksPath+"/"+hook.ID.String()+"?done=saved", http.StatusSeeOther)
	return nil
}

// refillForm shows the form again as it was sent, with what is wrong at its field.
func (d *dashboard) refillForm(w http.ResponseWriter, r *http.Request, v *webhookFormView, err error) error {
	code := cybervault.ErrorCode(err)
	if code != cybervault.CodeInvalid && code != cybervault.CodeConflict && code != cybervault.CodeTooLarge {
		return err
	}
	form := r.PostForm
	v.refill(form)
	v.offer(d.Catalogue.List(workspaceOf(r.Context())), form["events"])
	v.Errors = map[string]string{}
	field, message := fieldError(err)
	if field == "" {
		v.Problem = message
	} else {
		v.Errors[field] = message
	}
	switch field {
	case "", "url", "events", "description", "verification":
		v.Advanced = v.advanced()
	default:
		v.Advanced = true
	}
	v.Title = "Error: " + v.Title
	return d.renderForm(w, http.StatusUnprocessableEntity, v)
}

// refill puts what was sent into the form.
func (v *webhookFormView) refill(form url.Values) {
	v.URL, v.Description, v.Verification = form.Get("url"), form.Get("description"), form.Get("verification") != ""
	v.Accept, v.RetrySchedule = form.Get("accept"), form.Get("retry_schedule")
	v.CACertificate, v.Headers = form.Get("ca_certificate"), form.Get("headers")
	v.tuningForm, v.channelForm = sentTuningForm(form), sentChannelForm(form)
}

// advanced reports whether one of the advanced settings is not the default.
func (v *webhookFormView) advanced() bool {
	return v.Accept == string(cybervault.AcceptAny2xx) || v.CACertificate != "" || v.Headers != "" || v.RetrySchedule != "" || v.any() || v.anyChannel()
}

func (d *dashboard) renderForm(w http.ResponseWriter, status int, v *webhookFormView) error {
	v.DefaultRetry = strings.ReplaceAll(cybervault.FormatRetrySchedule(d.RetrySchedule), ",", ", ")
	if v.Errors == nil {
		v.Errors = map[string]string{}
	}
	return d.render(w, status, "webhookform", v)
}

// fieldError splits an error into the form's field and the words for it.
func fieldError(err error) (field, message string) {
	e := asError(err)
	if e == nil {
		return "", plainError(err)
	}
	name, element, _ := strings.Cut(e.Field, "[")
	field, known := formFields[name]
	if !known {
		return "", plainError(err)
	}
	message = e.Message
	// "headers["X-A"]" is about one line of its field: say which.
	if element = strings.Trim(strings.TrimSuffix(element, "]"), `"`); name == "headers" && element != "" {
		return field, element + " " + message
	}
	// Messages of the dictionary go on from the name of the field: "is missing: …".
	if first := message[:min(1, len(message))]; first >= "a" && first <= "z" {
		message = fieldNames[field] + " " + message
	}
	return field, message
}

// fieldNames begin the sentence that an error's message goes on with.
var fieldNames = map[string]string{ //nolint:gosec // words for fields, not what is in them
	"url": "The URL", "events": "The event choice", "description": "The description", "accept": "The choice",
	"headers": "The list", "retry_schedule": "The schedule", "ca_certificate": "The certificate", "verification": "Verification",
	"filter": "The filter", "rate_limit": "The rate", "concurrency": "The number", "ordered": "The order", "client_certificate": "The certificate",
	"auth_type": "The authentication", "auth_username": "The user name", "auth_password": "The password", "auth_token": "The token", "auth_token_url": "The URL",
	"auth_client_id": "The client id", "auth_client_secret": "The client secret", "auth_scopes": "The list", "auth_audience": "The audience",
	"auth_client_authentication": "The choice", "signature": "The choice", "proxy": "The proxy",
}

// readWebhookForm turns a posted form into a change. old is the webhook as it
// stands, nil for a new one.
func readWebhookForm(form url.Values, old *cybervault.Webhook) (change cybervault.WebhookChange, err error) {
	address := strings.TrimSpace(form.Get("url"))
	description := strings.TrimSpace(normalLines(form.Get("description")))
	events := chosenEvents(form["events"])
	verification := form.Get("verification") != ""
	accept := cybervault.AcceptDefault
	if form.Get("accept") == string(cybervault.AcceptAny2xx) {
		accept = cybervault.AcceptAny2xx
	}
	var schedule []time.Duration
	if text := strings.TrimSpace(form.Get("retry_schedule")); text != "" {
		if schedule, err = cybervault.ParseRetrySchedule(normalLines(text)); err != nil {
			return change, err
		}
	}
	headers, err := readHeaders(form.Get("headers"), old)
	if err != nil {
		return change, err
	}
	certificate := strings.TrimSpace(normalLines(form.Get("ca_certificate")))
	if certificate != "" {
		certificate += "\n"
	}
	change = cybervault.WebhookChange{
		URL: &address, Events: &events, Description: &description, Accept: &accept, Headers: &headers,
		RetrySchedule: &schedule, Verification: &verification, CACertificate: &certificate,
	}
	channel := sentChannelForm(form)
	channel.readChannel(&change)
	tuning := sentTuningForm(form)
	return change, tuning.read(&change)
}

// normalLines undoes the CRLF line ends that forms are sent with.
func normalLines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// chosenEvents leaves out what a wider choice covers: everything beside "*",
// and a namespace's own names beside "threat.*".
func chosenEvents(list []string) []string {
	if slices.Contains(list, "*") {
		return []string{"*"}
	}
	events := []string{}
	for _, e := range list {
		namespace, _, _ := strings.Cut(e, ".")
		wider := namespace + ".*"
		if e != wider && slices.Contains(list, wider) || slices.Contains(events, e) {
			continue
		}
		events = append(events, e)
	}
	return events
}

// offer fills the event choice from the catalogue. A choice that the catalogue
// does not know stays on offer, so that saving the form does not lose it.
func (v *webhookFormView) offer(types []cybervault.EventType, chosen []string) {
	v.All = slices.Contains(chosen, "*")
	known := map[string]bool{"*": true}
	for _, g := range groupTypes(types) {
		group := eventGroup{Name: g.Name, Choice: g.Name + ".*"}
		group.Chosen = slices.Contains(chosen, group.Choice)
		known[group.Choice] = true
		for _, t := range g.Types {
			known[t.Name] = true
			group.Types = append(group.Types, eventChoice{
				Name: t.Name, Description: cut(t.Description, 300), Severity: severityBadge(t.Severity), Chosen: slices.Contains(chosen, t.Name),
			})
		}
		v.Groups = append(v.Groups, group)
	}
	var others []eventChoice
	for _, name := range chosen {
		if !known[name] {
			known[name] = true
			others = append(others, eventChoice{Name: name, Description: "Not in the catalogue.", Chosen: true})
		}
	}
	if len(others) > 0 {
		v.Groups = append(v.Groups, eventGroup{Name: "others", Types: others})
	}
}

// readHeaders reads one "Name: value" a line.
func readHeaders(text string, old *cybervault.Webhook) ([]cybervault.Header, error) {
	headers := []cybervault.Header{}
	for line := range strings.Lines(normalLines(text)) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, cybervault.Invalid("headers", "%q has no colon: write one header a line, as \"Name: value\"", cut(line, 60))
		}
		h := cybervault.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)}
		if h.Value == maskedValue {
			kept, found := storedValue(old, h.Name)
			if !found {
				return nil, cybervault.Invalid("headers", "%q has no stored value to keep: write its value", cut(h.Name, 60))
			}
			h.Value = kept
		}
		headers = append(headers, h)
	}
	return headers, nil
}

func storedValue(old *cybervault.Webhook, name string) (string, bool) {
	if old != nil {
		for _, h := range old.Headers {
			if strings.EqualFold(h.Name, name) {
				return h.Value, true
			}
		}
	}
	return "", false
}

func maskHeaders(headers []cybervault.Header) string {
	var b strings.Builder
	for _, h := range headers {
		b.WriteString(h.Name + ": " + maskedValue + "\n")
	}
	return b.String()
}

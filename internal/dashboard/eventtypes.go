package dashboard

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

const (
	eventTypesPath = "/settings/event-types"
	// shownTypes is how many event types the list shows; a workspace may have thousands.
	shownTypes = 200
	// shownListeners is how many of the webhooks that get a type its page names.
	shownListeners = 50
	// shownSchema bounds what is shown of a schema, in bytes.
	shownSchema = 64 << 10
)

type eventTypesView struct {
	page
	Text  string
	Total int
	Rows  []eventTypeRow
	More  string
}

type eventTypeRow struct {
	Name, URL, Description string
	Severity               badge
	Own                    bool
	Listeners              string // "" where nobody is told of it
}

type eventTypeView struct {
	page
	Name, URL   string
	Description string
	Severity    badge
	Own         bool
	Schema      []token
	Example     []token
	Curl        string
	Events      string // where its events are listed
	Listeners   []listener
	MoreOfThem  string
	Form        eventTypeForm
}

// listener is a webhook that gets the events of a type.
type listener struct {
	ID, Name, Choice string
	Badge            badge
	Filtered         bool // some only
}

// eventTypeForm is what a person was about to save.
type eventTypeForm struct {
	New               bool
	URL               string // where it is posted to
	Name, Description string
	Schema, Example   string
	Severities        []choice
	Errors            map[string]string
	Problem           string
	MaxDescription    int
}

var severityOrder = []cybervault.Severity{cybervault.SeverityInfo, cybervault.SeverityLow, cybervault.SeverityMedium, cybervault.SeverityHigh, cybervault.SeverityCritical}

func newEventTypeForm(t *cybervault.EventType, action string, isNew bool) eventTypeForm {
	f := eventTypeForm{
		New: isNew, URL: action, Name: t.Name, Description: t.Description, Schema: indented(t.Schema), Example: indented(t.Example),
		Errors: map[string]string{}, MaxDescription: cybervault.MaxDescriptionBytes,
	}
	for _, s := range severityOrder {
		f.Severities = append(f.Severities, choice{Value: string(s), Label: severityBadge(s).Text, Chosen: s == t.Severity})
	}
	return f
}

// indented is a JSON text to edit; what is none comes back as it was typed.
func indented(raw json.RawMessage) string {
	tokens, wasCut := pretty(raw, cybervault.MaxEventTypeBytes)
	if wasCut { // what cannot be shown whole must not be saved in part
		return string(raw)
	}
	var b strings.Builder
	for _, t := range tokens {
		b.WriteString(t.Text)
	}
	return b.String()
}

func eventTypeURL(name string) string { return eventTypesPath + "/" + url.PathEscape(name) }

// choiceOf is the first of a webhook's choices that covers an event type; "" is none.
func choiceOf(hook *cybervault.Webhook, name string) string {
	if i := slices.IndexFunc(hook.Events, func(choice string) bool { return cybervault.MatchesEventType(choice, name) }); i >= 0 {
		return hook.Events[i]
	}
	return ""
}

func (d *dashboard) listEventTypes(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	hooks, err := d.Webhooks.Webhooks(ctx, workspaceOf(ctx))
	if err != nil {
		return err
	}
	v := &eventTypesView{page: d.newPage(r, "event-types", "Event types"), Text: r.URL.Query().Get("q")}
	text, found := strings.ToLower(strings.TrimSpace(v.Text)), 0
	all := d.Catalogue.List(workspaceOf(ctx))
	v.Total = len(all)
	for i := range all {
		t := &all[i]
		if !strings.Contains(strings.ToLower(t.Name+"\n"+t.Description), text) {
			continue
		}
		if found++; found > shownTypes {
			continue
		}
		row := eventTypeRow{Name: cut(t.Name, shownInList), URL: eventTypeURL(t.Name), Description: cut(t.Description, 300), Severity: severityBadge(t.Severity), Own: !t.Core}
		listeners := 0
		for _, hook := range hooks {
			if choiceOf(hook, t.Name) != "" {
				listeners++
			}
		}
		if listeners > 0 {
			row.Listeners = plural(listeners, "webhook", "webhooks")
		}
		v.Rows = append(v.Rows, row)
	}
	if more := found - len(v.Rows); more > 0 {
		v.More = plural(more, "more is", "more are") + " not shown: search for a part of the name."
	}
	return d.render(w, http.StatusOK, "eventtypes", v)
}

// eventType finds the event type that an address names.
func (d *dashboard) eventType(r *http.Request) (*cybervault.EventType, error) {
	all, name := d.Catalogue.List(workspaceOf(r.Context())), r.PathValue("type")
	if i := slices.IndexFunc(all, func(t cybervault.EventType) bool { return t.Name == name }); i >= 0 {
		return &all[i], nil
	}
	return nil, cybervault.Errorf(cybervault.CodeNotFound, "There is no event type of this name.")
}

func (d *dashboard) showEventType(w http.ResponseWriter, r *http.Request) error {
	t, err := d.eventType(r)
	if err != nil {
		return err
	}
	return d.renderEventType(w, r, http.StatusOK, t, newEventTypeForm(t, eventTypeURL(t.Name), false))
}

func (d *dashboard) renderEventType(w http.ResponseWriter, r *http.Request, status int, t *cybervault.EventType, form eventTypeForm) error {
	ctx := r.Context()
	hooks, err := d.Webhooks.Webhooks(ctx, workspaceOf(ctx))
	if err != nil {
		return err
	}
	v := &eventTypeView{
		page: d.newPage(r, "event-types", cut(t.Name, shownInList)), Name: cut(t.Name, shownInDetail), URL: eventTypeURL(t.Name),
		Description: cut(t.Description, shownInDetail), Severity: severityBadge(t.Severity), Own: !t.Core,
		Events: "/events?" + url.Values{"event": {t.Name}}.Encode(), Form: form,
	}
	v.Schema, _ = pretty(t.Schema, shownSchema)
	v.Example, _ = pretty(t.Example, shownSchema)
	if body, err := json.Marshal(struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
	}{t.Name, t.Example}); err == nil && len(body) <= shownSchema {
		v.Curl = "curl " + d.origin(r) + "/v1/events \\\n  -H \"Authorization: Bearer $CYBERVAULT_API_KEY\" \\\n  -H \"Content-Type: application/json\" \\\n  -d " + shellQuote(string(body))
	}
	for _, hook := range hooks {
		chosen := choiceOf(hook, t.Name)
		if chosen == "" {
			continue
		}
		v.Listeners = append(v.Listeners, listener{hook.ID.String(), webhookName(hook), cut(chosen, shownInList), webhookBadge(hook), hook.Filter != ""})
	}
	if more := len(v.Listeners) - shownListeners; more > 0 {
		v.Listeners, v.MoreOfThem = v.Listeners[:shownListeners], "and "+count(more)+" more"
	}
	if r.Method != http.MethodGet {
		v.Replace, v.Here = v.URL, v.URL
	}
	return d.render(w, status, "eventtype", v)
}

func (d *dashboard) newEventType(w http.ResponseWriter, r *http.Request) error {
	t := &cybervault.EventType{
		Severity: cybervault.SeverityMedium, Schema: json.RawMessage(`{"type":"object","required":["badge"],"properties":{"badge":{"type":"string"}}}`), Example: json.RawMessage(`{"badge":"B-17"}`),
	}
	return d.renderNewEventType(w, r, http.StatusOK, newEventTypeForm(t, eventTypesPath, true))
}

func (d *dashboard) renderNewEventType(w http.ResponseWriter, r *http.Request, status int, form eventTypeForm) error {
	v := &eventTypeView{page: d.newPage(r, "event-types", "Add event type"), Form: form}
	if r.Method != http.MethodGet {
		v.Replace, v.Here = eventTypesPath+"/new", eventTypesPath+"/new"
	}
	return d.render(w, status, "eventtype", v)
}

// readEventType reads the form of an event type.
func readEventType(form url.Values) *cybervault.EventType {
	return &cybervault.EventType{
		Name: strings.TrimSpace(form.Get("type")), Severity: cybervault.Severity(form.Get("severity")), Description: strings.TrimSpace(normalLines(form.Get("description"))),
		Schema: json.RawMessage(strings.TrimSpace(form.Get("schema"))), Example: json.RawMessage(strings.TrimSpace(form.Get("example"))),
	}
}

// refuse takes in why an event type was not saved; false: for a reason that is not the form's.
func (f *eventTypeForm) refuse(err error) bool {
	if code := cybervault.ErrorCode(err); code != cybervault.CodeInvalid && code != cybervault.CodeConflict {
		return false
	}
	e := asError(err)
	field, _, _ := strings.Cut(e.Field, ".")
	field, _, _ = strings.Cut(field, "[")
	words := sentence(e.Message)
	switch field {
	case "type", "severity", "description", "schema", "example":
		if e.Field != field {
			words = e.Field + " " + e.Message
		}
		f.Errors[field] = words
	default:
		f.Problem = sentence(plainError(err))
	}
	return true
}

// createEventType adds one. A name that is taken is refused: saving would replace it.
func (d *dashboard) createEventType(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	t := readEventType(r.PostForm)
	form := newEventTypeForm(t, eventTypesPath, true)
	for _, other := range d.Catalogue.List(workspaceOf(r.Context())) {
		if other.Name == t.Name {
			form.Errors["type"] = "There is an event type of this name: change it on its page, or choose another name."
			return d.renderNewEventType(w, r, http.StatusUnprocessableEntity, form)
		}
	}
	saved, _, err := d.Catalogue.SaveEventType(r.Context(), workspaceOf(r.Context()), *t)
	if err != nil && form.refuse(err) {
		return d.renderNewEventType(w, r, http.StatusUnprocessableEntity, form)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, eventTypeURL(saved.Name)+"?done=type-saved", http.StatusSeeOther)
	return nil
}

func (d *dashboard) changeEventType(w http.ResponseWriter, r *http.Request) error {
	old, err := d.eventType(r)
	if err != nil {
		return err
	}
	if err := readForm(r); err != nil {
		return err
	}
	t := readEventType(r.PostForm)
	t.Name = old.Name
	_, _, err = d.Catalogue.SaveEventType(r.Context(), workspaceOf(r.Context()), *t)
	if err == nil {
		http.Redirect(w, r, eventTypeURL(t.Name)+"?done=type-saved", http.StatusSeeOther)
		return nil
	}
	form := newEventTypeForm(t, eventTypeURL(t.Name), false)
	if !form.refuse(err) {
		return err
	}
	return d.renderEventType(w, r, http.StatusUnprocessableEntity, old, form)
}

// deleteEventType refuses while a webhook names the type, as the API does.
func (d *dashboard) deleteEventType(w http.ResponseWriter, r *http.Request) error {
	t, err := d.eventType(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	hooks, err := d.Webhooks.Webhooks(ctx, workspaceOf(ctx))
	if err != nil {
		return err
	}
	err = cybervault.FreeToDelete(hooks, t.Name)
	if err == nil {
		err = d.Catalogue.DeleteEventType(ctx, workspaceOf(ctx), t.Name)
	}
	if cybervault.ErrorCode(err) == cybervault.CodeConflict {
		form := newEventTypeForm(t, eventTypeURL(t.Name), false)
		form.Problem = sentence(plainError(err))
		return d.renderEventType(w, r, http.StatusConflict, t, form)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, eventTypesPath+"?done=type-deleted", http.StatusSeeOther)
	return nil
}

package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/cybervault/cybervault"
)

// maxChoices bounds how many webhooks a filter offers by name.
const maxChoices = 300

// liveView tells app.js to ask for a part of the page again when something changed.
type liveView struct {
	URL   string // empty: this page does not follow changes
	Every int    // milliseconds between two requests, at least
}

// choice is one entry of a filter.
type choice struct {
	Value, Label string
	Chosen       bool
}

// tab is a link to the same list with another status.
type tab struct {
	Name, URL string
	Current   bool
}

type deliveriesView struct {
	page
	Filter   logFilter
	Webhooks []choice
	Types    []choice
	List     deliveryList
}

// deliveryList is the part of the page that follows changes.
type deliveryList struct {
	Here   string // address of this list
	Tabs   []tab
	Status string
	Rows   []deliveryRow
	Older  string // address of the next page, empty on the last
	First  string // address of the first page, empty on the first
	Any    bool   // a filter is set

	Problem string // what is wrong with the filter
	Live    liveView
}

type deliveryRow struct {
	ID          string
	Badge       badge
	EventType   string
	Severity    badge
	WebhookID   string
	WebhookName string
	Attempts    int
	Answer      badge
	Created     moment
	Next        moment // when it is tried again; zero unless it is waiting for that
	Test        bool
	Replay      bool
	Tickable    bool // stands in a list from which several can be chosen
}

// logFilter is what the person typed, kept as typed.
type logFilter struct {
	Webhook, Event, Status, Since, Until, Text, Before string
	Problem                                            string
}

func readFilter(q url.Values) logFilter {
	return logFilter{
		Webhook: q.Get("webhook"), Event: q.Get("event"), Status: q.Get("status"),
		Since: q.Get("since"), Until: q.Get("until"), Text: q.Get("q"), Before: q.Get("before"),
	}
}

// query is the filter as part of an address, without what is empty.
func (f logFilter) query() url.Values {
	q := url.Values{}
	for key, value := range map[string]string{
		"webhook": f.Webhook, "event": f.Event, "status": f.Status,
		"since": f.Since, "until": f.Until, "q": f.Text, "before": f.Before,
	} {
		if value != "" {
			q.Set(key, value)
		}
	}
	return q
}

func (f logFilter) url(path string) string {
	if q := f.query().Encode(); q != "" {
		return path + "?" + q
	}
	return path
}

func (f logFilter) with(change func(*logFilter)) logFilter {
	change(&f)
	return f
}

// any reports whether something besides the page is asked for.
func (f logFilter) any() bool {
	f.Before = ""
	return len(f.query()) > 0
}

// deliveryQuery reads the filter; the error is for the person who typed it.
func (d *dashboard) deliveryQuery(ctx context.Context, f logFilter) (q cybervault.DeliveryQuery, err error) {
	q = cybervault.DeliveryQuery{Workspace: workspaceOf(ctx), EventType: f.Event, Text: f.Text, Limit: cybervault.DefaultPageSize}
	if f.Status != "" {
		if q.Statuses, err = cybervault.ParseDeliveryStatuses(f.Status); err != nil {
			return q, err
		}
	}
	if q.Webhook, err = optionalID[cybervault.WebhookID]("webhook", f.Webhook); err != nil {
		return q, err
	}
	if q.Before, err = optionalID[cybervault.DeliveryID]("before", f.Before); err != nil {
		return q, err
	}
	if q.Since, err = parseMoment(d.Now(), "since", f.Since); err != nil {
		return q, err
	}
	q.Until, err = parseMoment(d.Now(), "until", f.Until)
	return q, err
}

func (d *dashboard) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v := &deliveriesView{page: d.newPage(r, "deliveries", "Deliveries"), Filter: readFilter(r.URL.Query())}
	f := v.Filter
	query, err := d.deliveryQuery(ctx, f)
	var found cybervault.Page[*cybervault.Delivery]
	if err == nil {
		found, err = d.Log.Deliveries(ctx, query)
	}
	status := http.StatusOK
	if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
		v.Filter.Problem, status = plainError(err), http.StatusUnprocessableEntity
	} else if err != nil {
		return err
	}
	rows, err := d.deliveryRows(ctx, found.Rows)
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i].Tickable = v.May("respond")
	}
	if notice := bulkNotice(r.URL.Query()); notice != "" {
		v.Notice = notice
	}
	v.List = deliveryList{Here: f.url("/deliveries"), Tabs: statusTabs(f), Status: f.Status, Rows: rows, Any: f.any(), Problem: v.Filter.Problem}
	if found.More && len(rows) > 0 {
		v.List.Older = f.with(func(f *logFilter) { f.Before = rows[len(rows)-1].ID }).url("/deliveries")
	}
	if f.Before != "" {
		v.List.First = f.with(func(f *logFilter) { f.Before = "" }).url("/deliveries")
	} else if v.Filter.Problem == "" {
		// Rows that come while an older page is read would push its rows away: only the first page follows.
		v.List.Live = liveView{URL: f.url("/deliveries"), Every: 500}
	}
	if wantsPart(r) {
		if r.Header.Get("HX-Trigger") == "filters" {
			w.Header().Set("HX-Push-Url", f.url("/deliveries")) // the tidy form of what htmx asked for
		}
		return d.renderPart(w, "deliveries", "deliveries-list", v)
	}
	hooks, err := d.Webhooks.Webhooks(ctx, workspaceOf(ctx))
	if err != nil {
		return err
	}
	v.Webhooks = webhookChoices(hooks, f.Webhook)
	v.Types = typeChoices(d.Catalogue.List(workspaceOf(ctx)), f.Event)
	return d.render(w, status, "deliveries", v)
}

// statusTabs links to the same filter with each status.
func statusTabs(f logFilter) []tab {
	link := func(status string) string {
		return f.with(func(f *logFilter) { f.Status, f.Before = status, "" }).url("/deliveries")
	}
	tabs := []tab{
		{Name: "All", URL: link(""), Current: f.Status == ""},
		{Name: "Undelivered", URL: link(cybervault.UndeliveredStatuses), Current: f.Status == cybervault.UndeliveredStatuses},
	}
	for _, s := range cybervault.DeliveryStatuses() {
		tabs = append(tabs, tab{Name: statusLabel(s), URL: link(string(s)), Current: f.Status == string(s)})
	}
	return tabs
}

func webhookChoices(hooks []*cybervault.Webhook, chosen string) []choice {
	var list []choice
	seen := chosen == ""
	for _, w := range hooks {
		id := w.ID.String()
		if len(list) < maxChoices || id == chosen {
			list = append(list, choice{Value: id, Label: webhookName(w), Chosen: id == chosen})
			seen = seen || id == chosen
		}
	}
	if !seen { // a deleted webhook, from a link
		list = append(list, choice{Value: chosen, Label: cut(chosen, 60), Chosen: true})
	}
	return list
}

// typeChoices offers each namespace and each event type.
func typeChoices(types []cybervault.EventType, chosen string) []choice {
	var list []choice
	seen := chosen == ""
	add := func(value, label string) {
		list = append(list, choice{Value: value, Label: label, Chosen: value == chosen})
		seen = seen || value == chosen
	}
	for _, g := range groupTypes(types) {
		add(g.Name+".*", "All of "+g.Name)
		for _, t := range g.Types {
			add(t.Name, t.Name)
		}
	}
	if !seen {
		add(chosen, cut(chosen, 60))
	}
	return list
}

// typeGroup is the event types of one namespace.
type typeGroup struct {
	Name  string
	Types []cybervault.EventType
}

// groupTypes groups by what stands before the first dot, in the catalogue's order.
func groupTypes(types []cybervault.EventType) []typeGroup {
	var groups []typeGroup
	at := make(map[string]int)
	for _, t := range types {
		name, _, _ := strings.Cut(t.Name, ".")
		i, ok := at[name]
		if !ok {
			i = len(groups)
			at[name] = i
			groups = append(groups, typeGroup{Name: name})
		}
		groups[i].Types = append(groups[i].Types, t)
	}
	return groups
}

func (d *dashboard) deliveryRows(ctx context.Context, list []*cybervault.Delivery) ([]deliveryRow, error) {
	names := make(map[cybervault.WebhookID]string)
	rows := make([]deliveryRow, len(list))
	for i, dl := range list {
		name, ok := names[dl.Webhook]
		if !ok {
			w, err := d.webhookOrNil(ctx, dl.Webhook)
			if err != nil {
				return nil, err
			}
			if name = "deleted webhook"; w != nil {
				name = webhookName(w)
			}
			names[dl.Webhook] = name
		}
		rows[i] = deliveryRow{
			ID: dl.ID.String(), Badge: deliveryBadge(dl),
			EventType: cut(dl.EventType, shownInList), Severity: severityBadge(dl.Severity),
			WebhookID: dl.Webhook.String(), WebhookName: name,
			Attempts: dl.Attempts, Answer: answerBadge(dl.LastFailure, dl.LastStatus),
			Created: d.moment(dl.CreatedAt()), Test: dl.Test, Replay: !dl.ReplayOf.IsZero(),
		}
		if dl.Status == cybervault.DeliveryPending && dl.Attempts > 0 && !dl.Running {
			rows[i].Next = d.moment(dl.NextAttemptAt)
		}
	}
	return rows, nil
}

// webhookOrNil reads a webhook that may be gone.
func (d *dashboard) webhookOrNil(ctx context.Context, id cybervault.WebhookID) (*cybervault.Webhook, error) {
	w, err := d.Webhooks.Webhook(ctx, workspaceOf(ctx), id)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		return nil, nil //nolint:nilnil // gone is no failure here: its deliveries stay in the log
	}
	return w, err
}

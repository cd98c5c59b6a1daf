package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// span is a stretch of time that the overview can cover.
type span struct {
	Key, Name, Words string
	Current          bool
	length           time.Duration
	buckets          int
}

var spans = []span{
	{Key: "1h", Name: "1 hour", Words: "the last hour", length: time.Hour, buckets: 60},
	{Key: "24h", Name: "24 hours", Words: "the last 24 hours", length: 24 * time.Hour, buckets: 48},
	{Key: "7d", Name: "7 days", Words: "the last 7 days", length: 7 * 24 * time.Hour, buckets: 56},
}

type overviewView struct {
	page
	Steps      []step // that are next; nil once all are done
	Spans      []span
	Span       span
	Tiles      []tile
	Events     chart
	Deliveries chart
	Types      []typeRow
	MoreTypes  int
	Trouble    []troubleRow
	Newest     []eventRow
	Capped     bool
	// Fresh is set while nothing was ever published: the page then says how to begin.
	Fresh       bool
	HasWebhooks bool
	Origin      string // of this server, for the example command
	Live        liveView
	Sources     []sourceRow
	Alerts      string // how many fire; empty: none
	MoreSources int
}

// typeRow is one event type over time.
type typeRow struct {
	Type, Link, Total string
	Words             string // for who cannot see the line
	Width             int
	Bars              []typeBar
}

type typeBar struct {
	X    int
	Y, H string
}

// overviewTypes is how many event types are shown, those with most events.
const overviewTypes = 8

// tile is one figure of the overview.
type tile struct {
	Name, Value, Unit string
	Note              string
	Tone              string // bad where the figure asks for attention
	Link              string
}

type troubleRow struct {
	ID, Name, URL string
	Badge         badge
	Words         string
}

func (d *dashboard) overview(w http.ResponseWriter, r *http.Request) error {
	ctx, now := r.Context(), d.Now()
	v := &overviewView{page: d.newPage(r, "overview", "Overview"), Spans: make([]span, len(spans)), Origin: d.origin(r)}
	copy(v.Spans, spans)
	chosen := 0
	for i := range v.Spans {
		if v.Spans[i].Key == r.URL.Query().Get("span") {
			chosen = i
		}
	}
	v.Spans[chosen].Current = true
	v.Span = v.Spans[chosen]
	v.Live = liveView{URL: v.Here, Every: 2000}

	since := now.Add(-v.Span.length)
	o, err := d.Log.Overview(ctx, workspaceOf(ctx), since, v.Span.buckets)
	if err != nil {
		return err
	}
	newest, err := d.Log.Events(ctx, cybervault.EventQuery{Workspace: workspaceOf(ctx), Limit: 8})
	if err != nil {
		return err
	}
	hooks, err := d.Webhooks.Webhooks(ctx, workspaceOf(ctx))
	if err != nil {
		return err
	}
	incidents, err := d.Incidents.LiveIncidents(ctx, workspaceOf(ctx))
	if err != nil {
		return err
	}
	firing, err := d.Alerts.Alerts(ctx, cybervault.AlertQuery{Workspace: workspaceOf(ctx), Status: cybervault.AlertFiring, Limit: cybervault.MaxPageSize})
	if err != nil {
		return err
	}
	if n := len(firing.Rows); n > 0 {
		v.Alerts = plural(n, "alert fires", "alerts fire")
	}
	known := d.severities(ctx)
	v.HasWebhooks = len(hooks) > 0
	v.Fresh = len(newest.Rows) == 0
	v.Capped = o.Capped
	v.Newest = d.eventRows(newest.Rows, known)
	v.Tiles = append([]tile{incidentsTile(incidents)}, tiles(o, v.Span)...)
	v.Events = eventsChart(o, known)
	v.Deliveries = deliveriesChart(o)
	v.Types, v.MoreTypes = typeRows(o, v.Span), max(0, len(o.ByType)-overviewTypes)
	if v.Trouble, err = d.trouble(ctx, hooks, since); err != nil {
		return err
	}
	sources := d.System.Sources(workspaceOf(ctx))
	v.Sources, v.MoreSources = d.sourceRows(sources, overviewSources), max(0, len(sources)-overviewSources)
	if v.Steps, err = d.checklist(ctx, &v.page, hooks); err != nil {
		return err
	}
	if wantsPart(r) {
		return d.renderPart(w, "overview", "overview-live", v)
	}
	return d.render(w, http.StatusOK, "overview", v)
}

// incidentsTile counts what is not resolved, and names the severities that matter most.
func incidentsTile(counts []cybervault.IncidentCount) tile {
	t := tile{Name: "Unresolved incidents", Note: "none is open", Link: "/incidents?status=open,acknowledged"}
	t.Value = count(sumOf(counts, func(cybervault.IncidentCount) bool { return true }))
	var words []string
	for _, s := range slices.Backward(cybervault.Severities()) {
		n := sumOf(counts, func(c cybervault.IncidentCount) bool { return c.Severity == s })
		if n == 0 {
			continue
		}
		if len(words) < 2 { // the others are a link away
			words = append(words, count(n)+" "+string(s))
		}
		if s.Rank() >= cybervault.SeverityHigh.Rank() {
			t.Tone = "bad"
		}
	}
	if len(words) > 0 {
		t.Note = strings.Join(words, ", ")
	}
	return t
}

func tiles(o *cybervault.Overview, s span) []tile {
	var events, delivered, failed int64
	for _, n := range o.ByType {
		events += n
	}
	for i := range o.Buckets {
		delivered += o.Buckets[i].Delivered
		failed += o.Buckets[i].Failed
	}
	dead := o.ByStatus[cybervault.DeliveryDeadLetter]
	waiting := o.ByStatus[cybervault.DeliveryPending] + o.ByStatus[cybervault.DeliveryHeld]
	since := "since=" + s.Key
	list := []tile{
		{Name: "Events", Value: count(events), Note: "of " + plural(len(o.ByType), "type", "types"), Link: "/events?" + since},
		{Name: "Delivered", Value: count(delivered), Note: waitingWords(waiting), Link: "/deliveries?status=delivered&" + since},
		{Name: "Failed attempts", Value: count(failed), Note: deadWords(dead), Link: "/deliveries?status=dead_letter&" + since},
		{Name: "Latency p50", Value: "–", Note: "from commit to the answer"},
		{Name: "Latency p99", Value: "–", Note: "one in a hundred is slower"},
	}
	if dead > 0 {
		list[2].Tone = "bad"
	}
	if o.LatencyP50 > 0 || o.LatencyP99 > 0 {
		list[3].Value, list[4].Value = took(o.LatencyP50), took(o.LatencyP99)
	}
	return list
}

func waitingWords(n int64) string {
	if n == 0 {
		return "none waiting"
	}
	return count(n) + " waiting"
}

func deadWords(n int64) string {
	if n == 0 {
		return "no dead letters"
	}
	return plural(n, "dead letter", "dead letters")
}

func eventsChart(o *cybervault.Overview, known severities) chart {
	// Drawn from the bottom up: what matters most stands on the axis, where bars compare best.
	order := []cybervault.Severity{
		cybervault.SeverityCritical, cybervault.SeverityHigh, cybervault.SeverityMedium, cybervault.SeverityLow, cybervault.SeverityInfo,
	}
	series := make([]chartSeries, len(order))
	place := make(map[cybervault.Severity]int, len(order))
	for i, s := range order {
		series[i] = chartSeries{Name: severityBadge(s).Text, Class: "fill-" + string(s)}
		place[s] = i
	}
	buckets := make([]chartBucket, len(o.Buckets))
	for i := range o.Buckets {
		b := &o.Buckets[i]
		values := make([]int64, len(order))
		for name, n := range b.ByType {
			values[place[known.of(name)]] += n
		}
		buckets[i] = chartBucket{momentAt(b.Start, b.Start), bucketLabel(b.Start, o.Width), values}
	}
	return drawChart("chart-events", "Events by severity", "events", series, buckets)
}

// typeRows are the event types with most events, each with bars over time on its own scale.
func typeRows(o *cybervault.Overview, s span) []typeRow {
	names := slices.SortedFunc(maps.Keys(o.ByType), func(a, b string) int {
		return cmp.Or(cmp.Compare(o.ByType[b], o.ByType[a]), strings.Compare(a, b))
	})
	var rows []typeRow
	for _, name := range names[:min(len(names), overviewTypes)] {
		row := typeRow{
			Type: cut(name, shownInList), Link: "/events?" + url.Values{"event": {name}, "since": {s.Key}}.Encode(), Total: count(o.ByType[name]), Width: max(1, len(o.Buckets)) * slot,
		}
		var highest int64
		peak := 0
		for i := range o.Buckets {
			if n := o.Buckets[i].ByType[name]; n > highest {
				highest, peak = n, i
			}
		}
		for i := range o.Buckets {
			if n := o.Buckets[i].ByType[name]; n > 0 {
				h := float64(n) / float64(highest) * chartHeight
				row.Bars = append(row.Bars, typeBar{i * slot, fmt.Sprintf("%.1f", chartHeight-h), fmt.Sprintf("%.1f", h)})
			}
		}
		if highest > 0 {
			row.Words = "most at " + bucketLabel(o.Buckets[peak].Start, o.Width) + " UTC: " + count(highest)
		}
		rows = append(rows, row)
	}
	return rows
}

func deliveriesChart(o *cybervault.Overview) chart {
	series := []chartSeries{{Name: "Delivered", Class: "fill-ok"}, {Name: "Failed attempts", Class: "fill-bad"}}
	buckets := make([]chartBucket, len(o.Buckets))
	for i := range o.Buckets {
		b := &o.Buckets[i]
		buckets[i] = chartBucket{momentAt(b.Start, b.Start), bucketLabel(b.Start, o.Width), []int64{b.Delivered, b.Failed}}
	}
	return drawChart("chart-deliveries", "Deliveries", "attempts", series, buckets)
}

// trouble lists the webhooks that need a person: disabled by failure, not
// verified, or failing now. It looks at the newest deliveries only, which is
// enough to find what fails at this moment.
func (d *dashboard) trouble(ctx context.Context, hooks []*cybervault.Webhook, since time.Time) ([]troubleRow, error) {
	recent, err := d.Log.Deliveries(ctx, cybervault.DeliveryQuery{Workspace: workspaceOf(ctx), Since: since, Limit: cybervault.MaxPageSize})
	if err != nil {
		return nil, err
	}
	health := make(map[cybervault.WebhookID]*tally)
	for _, dl := range recent.Rows {
		t := health[dl.Webhook]
		if t == nil {
			t = &tally{}
			health[dl.Webhook] = t
		}
		t.add(dl)
	}
	const most = 6
	var rows []troubleRow
	for _, w := range hooks {
		row := troubleRow{ID: w.ID.String(), Name: webhookName(w), URL: cut(w.URL, shownInList)}
		t := health[w.ID]
		switch {
		case !w.Live() && w.DisabledReason != "":
			row.Badge, row.Words = badge{"bad", "Disabled"}, sentence(cut(w.DisabledReason, shownInList))
		case w.Live() && w.Held():
			row.Badge, row.Words = badge{"warn", "Not verified"}, "Its deliveries are held until a test payload is accepted."
		case w.Live() && d.breaker(w.ID).Badge.Text != "":
			b := d.breaker(w.ID)
			row.Badge, row.Words = b.Badge, "Its breaker is "+b.Words+"."
		case w.Live() && t != nil && t.failing > 0:
			row.Badge, row.Words = badge{"bad", "Failing"}, plural(t.failing, "delivery", "deliveries")+" of the last "+count(t.total)+" failing"+t.lastWords()
		default:
			continue
		}
		if rows = append(rows, row); len(rows) == most {
			break
		}
	}
	return rows, nil
}

// tally sums up a webhook's latest deliveries.
type tally struct {
	total, delivered, failing int
	last                      *cybervault.Delivery // the newest failing one
	latencies                 []time.Duration      // from commit to the answer, where the first attempt succeeded
}

func (t *tally) add(d *cybervault.Delivery) {
	switch {
	case d.Status == cybervault.DeliveryDelivered:
		t.delivered++
		if d.Attempts == 1 && !d.FinishedAt.IsZero() {
			t.latencies = append(t.latencies, max(0, d.FinishedAt.Sub(d.CreatedAt())))
		}
	case failing(d):
		t.failing++
		if t.last == nil {
			t.last = d
		}
	default:
		return // not sent yet, skipped or cancelled: that says nothing about the receiver
	}
	t.total++
}

func (t *tally) lastWords() string {
	if t.last == nil || t.last.LastFailure == "" {
		return "."
	}
	return ". " + failureWords(t.last.LastFailure, t.last.LastStatus) + "."
}

// failing reports whether a delivery has failed at least once and not succeeded since.
func failing(d *cybervault.Delivery) bool {
	return d.Status == cybervault.DeliveryDeadLetter || d.Status == cybervault.DeliveryPending && d.LastFailure != ""
}

// origin is this server's address as the browser sees it.
func (d *dashboard) origin(r *http.Request) string {
	if d.PublicURL != "" {
		return d.PublicURL
	}
	if overTLS(r) {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

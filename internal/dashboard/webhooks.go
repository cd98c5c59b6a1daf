package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cybervault/cybervault"
)

const (
	hooksPath = "/settings/integrations/webhooks"
	// webhooksPerPage keeps the page cheap: each row asks for its latest deliveries.
	webhooksPerPage = 25
	// healthDeliveries is how many of a webhook's latest deliveries its health is read from.
	healthDeliveries = 20
	// pageDeliveries is the same on the page of one.
	pageDeliveries = 100
	// readers is how many questions one page asks the store at a time.
	readers = 4
)

type webhooksView struct {
	page
	Rows     []webhookRow
	Text     string
	Total    int
	Found    int
	Previous string
	Next     string
}

type webhookRow struct {
	ID, Name, URL string
	Badge         badge
	Events        []string
	MoreEvents    int
	Health        healthView
}

// healthView is how the latest deliveries of a webhook went, oldest first, and how its
// receiver stands.
type healthView struct {
	Marks   []healthMark
	Words   string // of all of them: "19 of 20 delivered, 1 failing"
	Rate    string // "95 %"
	P95     string // from commit to the answer, of those that succeeded at once
	Waiting string // deliveries that have not ended
	Breaker breakerView
}

type breakerView struct {
	Badge badge // empty while it is closed
	Words string
	Probe moment // when the next attempt may be made
}

type healthMark struct {
	X     int
	Class string
}

func webhookBadge(w *cybervault.Webhook) badge {
	switch {
	case !w.DeletedAt.IsZero():
		return badge{"mute", "Deleted"}
	case w.Status == cybervault.WebhookDisabled && w.DisabledReason != "":
		return badge{"bad", "Disabled"}
	case w.Status == cybervault.WebhookDisabled:
		return badge{"mute", "Disabled"}
	case w.Held():
		return badge{"warn", "Not verified"}
	}
	return badge{"ok", "Enabled"}
}

// badgeOf is webhookBadge for one whose breaker is known: an enabled webhook to which
// nothing is sent is not well.
func badgeOf(w *cybervault.Webhook, b breakerView) badge {
	if own := webhookBadge(w); own.Tone != "ok" || b.Badge.Text == "" {
		return own
	}
	return b.Badge
}

func (d *dashboard) listWebhooks(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	all, err := d.Webhooks.Webhooks(ctx, workspaceOf(ctx))
	if err != nil {
		return err
	}
	v := &webhooksView{page: d.newPage(r, "webhooks", "Webhooks"), Text: r.URL.Query().Get("q"), Total: len(all)}
	found := all
	if text := strings.ToLower(strings.TrimSpace(v.Text)); text != "" {
		found = nil
		for _, hook := range all {
			if strings.Contains(strings.ToLower(hook.URL+"\n"+hook.Description+"\n"+hook.ID.String()), text) {
				found = append(found, hook)
			}
		}
	}
	v.Found = len(found)
	number, _ := strconv.Atoi(r.URL.Query().Get("page")) // no number: the first page
	start := min(max(0, number-1)*webhooksPerPage, max(0, len(found)-1)/webhooksPerPage*webhooksPerPage)
	end := min(start+webhooksPerPage, len(found))
	link := func(start int) string {
		q := url.Values{"page": {strconv.Itoa(start/webhooksPerPage + 1)}}
		if v.Text != "" {
			q.Set("q", v.Text)
		}
		return hooksPath + "?" + q.Encode()
	}
	if start > 0 {
		v.Previous = link(start - webhooksPerPage)
	}
	if end < len(found) {
		v.Next = link(end)
	}
	shown := found[start:end]
	healths, err := d.healths(ctx, shown)
	if err != nil {
		return err
	}
	for i, hook := range shown {
		row := webhookRow{ID: hook.ID.String(), Name: webhookName(hook), URL: cut(hook.URL, shownInList), Badge: badgeOf(hook, healths[i].Breaker), Health: healths[i]}
		row.Events, row.MoreEvents = shownChoices(hook.Events, 3)
		v.Rows = append(v.Rows, row)
	}
	return d.render(w, http.StatusOK, "webhooks", v)
}

// shownChoices is the first few of a webhook's event choices, "*" in words.
func shownChoices(events []string, most int) (shown []string, more int) {
	for i, e := range events {
		if i == most {
			return shown, len(events) - most
		}
		if e == "*" {
			e = "all events"
		}
		shown = append(shown, cut(e, 60))
	}
	return shown, 0
}

func (d *dashboard) health(ctx context.Context, id cybervault.WebhookID) (healthView, error) {
	found, err := d.Log.Deliveries(ctx, cybervault.DeliveryQuery{Workspace: workspaceOf(ctx), Webhook: id, Limit: healthDeliveries})
	if err != nil {
		return healthView{}, err
	}
	return d.newHealth(ctx, id, found.Rows)
}

// healths reads several at a time, which a list of webhooks waits for.
func (d *dashboard) healths(ctx context.Context, hooks []*cybervault.Webhook) ([]healthView, error) {
	all := make([]healthView, len(hooks))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, hook := range hooks {
		g.Go(func() (err error) {
			all[i], err = d.health(ctx, hook.ID)
			return err
		})
	}
	return all, g.Wait()
}

// newHealth is the health of a webhook with those latest deliveries, newest first.
func (d *dashboard) newHealth(ctx context.Context, id cybervault.WebhookID, latest []*cybervault.Delivery) (healthView, error) {
	waiting, err := d.Receivers.Waiting(ctx, id)
	if err != nil {
		return healthView{}, err
	}
	v := healthView{Breaker: d.breaker(id)}
	switch {
	case waiting >= cybervault.MaxWaiting:
		v.Waiting = count(cybervault.MaxWaiting) + " or more"
	case waiting > 0:
		v.Waiting = count(waiting)
	}
	var t tally
	for _, dl := range slices.Backward(latest) {
		t.add(dl)
	}
	for _, dl := range slices.Backward(latest[:min(len(latest), healthDeliveries)]) {
		class := "fill-mute"
		switch {
		case dl.Status == cybervault.DeliveryDelivered:
			class = "fill-ok"
		case dl.Status == cybervault.DeliveryDeadLetter:
			class = "fill-bad"
		case failing(dl):
			class = "fill-high"
		}
		v.Marks = append(v.Marks, healthMark{X: len(v.Marks) * 6, Class: class})
	}
	switch {
	case len(latest) == 0:
		v.Words = "no deliveries yet"
	case t.total == 0:
		v.Words = "none sent lately"
	default:
		v.Words = count(t.delivered) + " of " + count(t.total) + " delivered"
		if t.failing > 0 {
			v.Words += ", " + count(t.failing) + " failing"
		}
		v.Rate = rate(t.delivered, t.total)
	}
	if len(t.latencies) > 0 {
		slices.Sort(t.latencies)
		v.P95 = took(t.latencies[(95*len(t.latencies)+99)/100-1]) // the nearest rank
	}
	return v, nil
}

// rate rounds down, so that only all of them are 100 %.
func rate(n, of int) string { return strconv.Itoa(100*n/of) + " %" }

func (d *dashboard) breaker(id cybervault.WebhookID) breakerView {
	h := d.Receivers.Health(id)
	switch h.Breaker {
	case cybervault.BreakerOpen:
		return breakerView{badge{"bad", "Paused"}, "open: nothing is attempted until the next probe, and what waits loses no try", d.moment(h.ProbeAt)}
	case cybervault.BreakerHalfOpen:
		return breakerView{Badge: badge{"warn", "Probing"}, Words: "half open: one attempt is under way, and decides"}
	case cybervault.BreakerClosed:
	}
	return breakerView{Words: "closed: attempts are made as they are due"}
}

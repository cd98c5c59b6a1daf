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

// healthView is how the latest deliveries of a webhook went, oldest first.
type healthView struct {
	Marks []healthMark
	Words string
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
		row := webhookRow{ID: hook.ID.String(), Name: webhookName(hook), URL: cut(hook.URL, shownInList), Badge: webhookBadge(hook), Health: healths[i]}
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
	return newHealth(found.Rows), nil
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

func newHealth(newestFirst []*cybervault.Delivery) healthView {
	var v healthView
	var t tally
	for _, dl := range slices.Backward(newestFirst) {
		t.add(dl)
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
	case len(newestFirst) == 0:
		v.Words = "no deliveries yet"
	case t.total == 0:
		v.Words = "none sent lately"
	default:
		v.Words = count(t.delivered) + " of " + count(t.total) + " delivered"
		if t.failing > 0 {
			v.Words += ", " + count(t.failing) + " failing"
		}
	}
	return v
}

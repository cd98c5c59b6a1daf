package dashboard

import (
	"net/http"

	"github.com/cybervault/cybervault"
)

type webhookView struct {
	page
	ID             string
	Name           string
	URL            string
	Description    string
	Badge          badge
	Enabled        bool
	Held           bool
	DisabledReason string
	Events         []string
	Accept         string
	Retry          []string
	OwnRetry       bool
	HeaderNames    []string
	HasCA          bool
	HasCertificate bool
	Channel        channelView
	Filter         string
	Pace           []string
	Verified       moment
	Created        moment
	Updated        moment
	Secrets        []secretView
	Health         healthView
	Deliveries     []deliveryRow
	TestTypes      []choice
	Show           showOnce
	Secret         string // in the clear, only when it was asked for
	OldSecret      string // the one that a rotation replaced, while it still signs
	Attempt        *attemptView
}

// channelView is the way to the receiver.
type channelView struct {
	Authentication string
	PublicKey      string
	Proxy          string
}

func newChannelView(c *cybervault.Channel) channelView {
	return channelView{Authentication: authenticationWords(&c.Authentication), PublicKey: c.PublicKey(), Proxy: cut(cybervault.ShowProxy(c.Proxy), shownInDetail)}
}

type secretView struct {
	Created moment
	Expires moment
	Newest  bool
}

// showOnce is what a page shows in answer to a POST, and never again on a reload.
type showOnce struct {
	Secret  bool // the signing secret in the clear
	Created bool // the webhook is new
	Rotated bool
	Attempt *cybervault.Attempt // of a verification
	Notice  string
	Problem string
}

func (d *dashboard) showWebhook(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.WebhookID](r)
	if err != nil {
		return err
	}
	return d.renderWebhook(w, r, id, showOnce{})
}

// webhookAt reads the webhook whose id is in the address.
func (d *dashboard) webhookAt(r *http.Request) (*cybervault.Webhook, error) {
	id, err := pathID[cybervault.WebhookID](r)
	if err != nil {
		return nil, err
	}
	hook, err := d.Webhooks.Webhook(r.Context(), workspaceOf(r.Context()), id)
	if err != nil {
		return nil, err
	}
	if !hook.DeletedAt.IsZero() {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "This webhook was deleted.")
	}
	return hook, nil
}

func (d *dashboard) renderWebhook(w http.ResponseWriter, r *http.Request, id cybervault.WebhookID, show showOnce) error {
	ctx := r.Context()
	hook, err := d.Webhooks.Webhook(ctx, workspaceOf(ctx), id)
	if err != nil {
		return err
	}
	if !hook.DeletedAt.IsZero() {
		return cybervault.Errorf(cybervault.CodeNotFound, "This webhook was deleted.")
	}
	found, err := d.Log.Deliveries(ctx, cybervault.DeliveryQuery{Workspace: workspaceOf(ctx), Webhook: id, Limit: pageDeliveries})
	if err != nil {
		return err
	}
	health, err := d.newHealth(ctx, id, found.Rows)
	if err != nil {
		return err
	}
	v := &webhookView{
		page: d.newPage(r, "webhooks", webhookName(hook)), ID: id.String(), Name: webhookName(hook),
		URL: cut(hook.URL, shownInDetail), Description: cut(hook.Description, shownInDetail), Badge: badgeOf(hook, health.Breaker),
		Enabled: hook.Status == cybervault.WebhookEnabled, Held: hook.Held(), DisabledReason: sentence(cut(hook.DisabledReason, shownInDetail)),
		Accept: acceptWords(hook.Accept), HasCA: hook.CACertificate != "", HasCertificate: hook.ClientCertificate != "", Channel: newChannelView(&hook.Channel),
		Filter: cut(hook.Filter, cybervault.MaxFilterBytes), Pace: tuningWords(&hook.Tuning), Verified: d.moment(hook.VerifiedAt),
		Created: d.moment(hook.CreatedAt), Updated: d.moment(hook.UpdatedAt),
		Health: health, Show: show,
	}
	v.Events, _ = shownChoices(hook.Events, len(hook.Events))
	schedule := hook.RetrySchedule
	if v.OwnRetry = schedule != nil; !v.OwnRetry {
		schedule = d.RetrySchedule
	}
	for _, delay := range schedule {
		v.Retry = append(v.Retry, cybervault.FormatDuration(delay))
	}
	for _, h := range hook.Headers {
		v.HeaderNames = append(v.HeaderNames, cut(h.Name, 100))
	}
	for i, s := range hook.Secrets {
		v.Secrets = append(v.Secrets, secretView{Created: d.moment(s.CreatedAt), Expires: d.moment(s.ExpiresAt), Newest: i == 0})
	}
	if show.Secret && len(hook.Secrets) > 0 {
		v.Secret = hook.Secrets[0].Value
		if len(hook.Secrets) > 1 {
			v.OldSecret = hook.Secrets[1].Value
		}
	}
	if show.Attempt != nil {
		a := d.attemptView(show.Attempt)
		a.Open = true
		v.Attempt = &a
	}
	if r.Method == http.MethodPost {
		v.Replace = hooksPath + "/" + v.ID
		v.Here = v.Replace
		v.Notice = show.Notice
	}
	v.Deliveries, err = d.deliveryRows(ctx, found.Rows[:min(10, len(found.Rows))])
	if err != nil {
		return err
	}
	for _, t := range d.Catalogue.List(workspaceOf(ctx)) {
		v.TestTypes = append(v.TestTypes, choice{Value: t.Name, Label: t.Name, Chosen: hook.Subscribes(t.Name) && !anyChosen(v.TestTypes)})
	}
	return d.render(w, http.StatusOK, "webhook", v)
}

func anyChosen(list []choice) bool {
	for _, c := range list {
		if c.Chosen {
			return true
		}
	}
	return false
}

func acceptWords(a cybervault.Accept) string {
	if a == cybervault.AcceptAny2xx {
		return "any 2xx status"
	}
	return "200 or 201"
}

// verify sends the test payload and answers with the attempt, failed or not.
func (d *dashboard) verify(r *http.Request, id cybervault.WebhookID) (*cybervault.Attempt, error) {
	return d.Webhooks.VerifyWebhook(r.Context(), workspaceOf(r.Context()), id)
}

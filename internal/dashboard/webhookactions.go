package dashboard

import (
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

func (d *dashboard) setWebhookStatus(w http.ResponseWriter, r *http.Request) error {
	hook, err := d.webhookAt(r)
	if err != nil {
		return err
	}
	if err := readForm(r); err != nil {
		return err
	}
	status := cybervault.WebhookStatus(r.PostForm.Get("status"))
	if status != cybervault.WebhookEnabled && status != cybervault.WebhookDisabled {
		return cybervault.Invalid("status", "choose enabled or disabled")
	}
	if _, err := d.Webhooks.UpdateWebhook(r.Context(), workspaceOf(r.Context()), hook.ID, cybervault.WebhookChange{Status: &status}); err != nil {
		return err
	}
	http.Redirect(w, r, hooksPath+"/"+hook.ID.String()+"?done="+string(status), http.StatusSeeOther)
	return nil
}

func (d *dashboard) verifyWebhook(w http.ResponseWriter, r *http.Request) error {
	hook, err := d.webhookAt(r)
	if err != nil {
		return err
	}
	attempt, err := d.verify(r, hook.ID)
	if err != nil {
		return err
	}
	return d.renderWebhook(w, r, hook.ID, showOnce{Attempt: attempt})
}

func (d *dashboard) testWebhook(w http.ResponseWriter, r *http.Request) error {
	hook, err := d.webhookAt(r)
	if err != nil {
		return err
	}
	if err := readForm(r); err != nil {
		return err
	}
	dl, err := d.Webhooks.TestWebhook(r.Context(), workspaceOf(r.Context()), hook.ID, r.PostForm.Get("event"))
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/deliveries/"+dl.ID.String()+"?done=tested", http.StatusSeeOther)
	return nil
}

func (d *dashboard) revealSecret(w http.ResponseWriter, r *http.Request) error {
	hook, err := d.webhookAt(r)
	if err != nil {
		return err
	}
	return d.renderWebhook(w, r, hook.ID, showOnce{Secret: true})
}

// overlaps are how long the old secret may go on signing beside a new one.
var overlaps = map[string]time.Duration{"0": 0, "1h": time.Hour, "24h": 24 * time.Hour, "168h": 7 * 24 * time.Hour}

func (d *dashboard) rotateSecret(w http.ResponseWriter, r *http.Request) error {
	hook, err := d.webhookAt(r)
	if err != nil {
		return err
	}
	if err := readForm(r); err != nil {
		return err
	}
	overlap, ok := overlaps[r.PostForm.Get("overlap")]
	if !ok {
		return cybervault.Invalid("overlap", "choose one of the spans on offer")
	}
	if _, err := d.Webhooks.RotateSecret(r.Context(), workspaceOf(r.Context()), hook.ID, overlap); err != nil {
		return err
	}
	return d.renderWebhook(w, r, hook.ID, showOnce{Secret: true, Rotated: true})
}

func (d *dashboard) deleteWebhook(w http.ResponseWriter, r *http.Request) error {
	hook, err := d.webhookAt(r)
	if err != nil {
		return err
	}
	if err := readForm(r); err != nil {
		return err
	}
	if r.PostForm.Get("confirm") != "yes" {
		return cybervault.Invalid("confirm", "must be ticked to delete the webhook")
	}
	if err := d.Webhooks.DeleteWebhook(r.Context(), workspaceOf(r.Context()), hook.ID); err != nil {
		return err
	}
	http.Redirect(w, r, hooksPath+"?done=deleted", http.StatusSeeOther)
	return nil
}

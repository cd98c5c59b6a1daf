package dashboardtest

import "github.com/cybervault/cybervault"

func apply(w *cybervault.Webhook, c cybervault.WebhookChange) error {
	set(&w.URL, c.URL)
	set(&w.Events, c.Events)
	set(&w.Description, c.Description)
	set(&w.Accept, c.Accept)
	set(&w.Headers, c.Headers)
	set(&w.RetrySchedule, c.RetrySchedule)
	set(&w.Verification, c.Verification)
	set(&w.CACertificate, c.CACertificate)
	set(&w.Filter, c.Filter)
	set(&w.RateLimit, c.RateLimit)
	set(&w.Concurrency, c.Concurrency)
	set(&w.Ordered, c.Ordered)
	set(&w.ClientCertificate, c.ClientCertificate)
	if c.Authentication != nil {
		w.Authentication = c.Authentication.Keeping(&w.Authentication)
	}
	set(&w.Signature, c.Signature)
	if w.SigningKeys = nil; w.Signature == cybervault.SignatureEd25519 {
		w.SigningKeys = []cybervault.SigningKey{cybervault.NewSigningKey(w.CreatedAt)}
	}
	if c.Proxy != nil {
		kept, err := cybervault.KeepProxyPassword(*c.Proxy, w.Proxy)
		if err != nil {
			return err
		}
		w.Proxy = kept
	}
	if set(&w.Status, c.Status); c.Status != nil {
		w.DisabledReason = ""
	}
	return nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

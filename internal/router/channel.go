package router

import (
	"context"
	"errors"
	"time"

	"github.com/cybervault/cybervault"
)

// changeChannel applies the settings of the way to the receiver. A choice of
// Ed25519 makes the key pair; a choice against it ends the keys.
func changeChannel(w *cybervault.Webhook, c cybervault.WebhookChange, now time.Time) (err error) {
	if c.Authentication != nil {
		w.Authentication = c.Authentication.Keeping(&w.Authentication)
	}
	if c.Proxy != nil {
		if w.Proxy, err = cybervault.KeepProxyPassword(*c.Proxy, w.Proxy); err != nil {
			return err
		}
	}
	set(&w.Signature, c.Signature)
	switch {
	case w.Signature != cybervault.SignatureEd25519:
		w.SigningKeys = nil
	case len(w.SigningKeys) == 0:
		w.SigningKeys = []cybervault.SigningKey{cybervault.NewSigningKey(now)}
	}
	return nil
}

// rotateKeys puts a new key before the ones there are, as RotateSecret does with
// secrets; it leaves none none.
func rotateKeys(keys []cybervault.SigningKey, now time.Time, overlap time.Duration) []cybervault.SigningKey {
	if len(keys) == 0 {
		return nil
	}
	rotated := []cybervault.SigningKey{cybervault.NewSigningKey(now)}
	for i, k := range keys {
		if i == 0 || k.ExpiresAt.After(now.Add(overlap)) {
			k.ExpiresAt = now.Add(overlap)
		}
		if k.ExpiresAt.After(now) {
			rotated = append(rotated, k)
		}
	}
	return rotated
}

// checkDestinations refuses what attempts may not go to or through. A
// destination that cannot be looked up or is refused by now must not keep its
// owner from disabling it, so each is checked where it is about to be used.
func (r *Router) checkDestinations(ctx context.Context, w, before *cybervault.Webhook) error {
	if w.Polled() {
		return nil // nothing is sent
	}
	enabled := w.Live() && !before.Live()
	rerouted := w.Proxy != before.Proxy
	if w.Proxy != "" && (rerouted || enabled) {
		if err := r.cfg.Destinations.CheckProxy(ctx, w.Proxy); err != nil {
			return err
		}
	}
	check := func(url string) error {
		if w.Proxy != "" {
			return r.cfg.Destinations.CheckProxiedURL(url)
		}
		return r.cfg.Destinations.CheckURL(ctx, url)
	}
	if w.URL != before.URL || rerouted || enabled {
		if err := check(w.URL); err != nil {
			return err
		}
	}
	if endpoint := w.Authentication.TokenURL; endpoint != "" && (endpoint != before.Authentication.TokenURL || rerouted || enabled) {
		err := check(endpoint)
		if e, ok := errors.AsType[*cybervault.Error](err); ok && e.Field == "url" {
			return &cybervault.Error{Code: e.Code, Field: "authentication.token_url", Message: e.Message, Err: e.Err}
		}
		return err
	}
	return nil
}

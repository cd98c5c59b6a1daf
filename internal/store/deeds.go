package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"reflect"

	"github.com/cybervault/cybervault"
)

// What the log of who did what says of the things that people and programs change:
// every setting that is no secret as it is, and of a secret only that it is another.

// fields is a thing as the log shows it.
type fields map[string]any

// differing returns of two states of a thing what differs; nil for a state that there
// is not.
func differing(before, after fields) (was, is fields) {
	if before == nil || after == nil {
		return before, after
	}
	was, is = fields{}, fields{}
	for name := range maps.Keys(after) {
		if !reflect.DeepEqual(before[name], after[name]) {
			was[name], is[name] = before[name], after[name]
		}
	}
	return was, is
}

// orNothing keeps an empty map from being written as one.
func (f fields) orNothing() any {
	if len(f) == 0 {
		return nil
	}
	return f
}

// seen stands for a secret: the same secret is the same mark, and nothing can be
// learned from it, since a key that only the server has goes in.
func (s *Store) seen(secret any) string {
	raw, err := json.Marshal(secret)
	if err != nil || reflect.ValueOf(secret).IsZero() {
		return ""
	}
	return "secret " + hex.EncodeToString(s.seal.mark(raw)[:6])
}

func (s *Store) webhookFields(w *cybervault.Webhook) fields {
	names := make([]string, len(w.Headers))
	values := make([]string, len(w.Headers))
	for i, h := range w.Headers {
		names[i], values[i] = h.Name, h.Value
	}
	secrets := make([]string, len(w.Secrets))
	for i, secret := range w.Secrets {
		secrets[i] = s.seen(secret.Value)
	}
	f := fields{
		"url": w.URL, "events": w.Events, "description": w.Description, "status": w.Status, "disabled_reason": w.DisabledReason, "accept": w.Accept,
		"headers": names, "header_values": s.seen(values), "secrets": secrets, "retry_schedule": "", "ca_certificate": w.CACertificate,
		"verification": w.Verification, "verified": !w.VerifiedAt.IsZero(), "filter": w.Filter, "rate_limit": w.RateLimit, "concurrency": w.Concurrency,
		"ordered": w.Ordered, "client_certificate": s.seen(w.ClientCertificate), "authentication": w.Authentication.Type, "credentials": s.seen(w.Authentication),
		"signature": w.Signature, "signing_keys": len(w.SigningKeys), "proxy": s.seen(w.Proxy), "deleted": !w.DeletedAt.IsZero(),
	}
	if w.RetrySchedule != nil {
		f["retry_schedule"] = cybervault.FormatRetrySchedule(w.RetrySchedule)
	}
	if len(w.CACertificate) > 200 { // a bundle may have a megabyte
		sum := sha256.Sum256([]byte(w.CACertificate))
		f["ca_certificate"] = "sha256:" + hex.EncodeToString(sum[:])
	}
	return f
}

// actWebhook writes down what becomes of a webhook by a change; before is nil for a
// new one.
func (s *Store) actWebhook(ctx context.Context, tx transaction, before, after *cybervault.Webhook) error {
	is := s.webhookFields(after)
	action := "webhook.create"
	var was fields
	if before != nil {
		was = s.webhookFields(before)
		action = webhookAction(before, after)
	}
	was, is = differing(was, is)
	return s.act(ctx, tx, after.Workspace, action, after.ID.String(), was.orNothing(), is.orNothing())
}

func webhookAction(before, after *cybervault.Webhook) string {
	switch {
	case !after.DeletedAt.IsZero():
		return "webhook.delete"
	case before.Status != after.Status && after.Status == cybervault.WebhookDisabled:
		return "webhook.disable"
	case before.Status != after.Status:
		return "webhook.enable"
	case before.VerifiedAt.IsZero() && !after.VerifiedAt.IsZero():
		return "webhook.verify"
	case len(before.Secrets) > 0 && len(after.Secrets) > 0 && before.Secrets[0].Value != after.Secrets[0].Value:
		return "webhook.rotate_secret"
	}
	return "webhook.update"
}

// actControls writes down each rule that is turned off or on, and each exception that
// is added or removed.
func (s *Store) actControls(ctx context.Context, tx transaction, ws cybervault.WorkspaceID, before, after *cybervault.Controls) error {
	for rule, off := range after.Off {
		if was, there := before.Off[rule]; !there || was != off {
			if err := s.act(ctx, tx, ws, "rule.off", rule, nil, fields{"reason": off.Reason}); err != nil {
				return err
			}
		}
	}
	for rule, off := range before.Off {
		if _, still := after.Off[rule]; !still {
			if err := s.act(ctx, tx, ws, "rule.on", rule, fields{"reason": off.Reason}, nil); err != nil {
				return err
			}
		}
	}
	had, has := map[cybervault.ExceptionID]bool{}, map[cybervault.ExceptionID]bool{}
	for _, e := range before.Exceptions {
		had[e.ID] = true
	}
	for _, e := range after.Exceptions {
		has[e.ID] = true
		if !had[e.ID] {
			if err := s.act(ctx, tx, ws, "exception.add", e.ID.String(), nil, e); err != nil {
				return err
			}
		}
	}
	for _, e := range before.Exceptions {
		if !has[e.ID] {
			if err := s.act(ctx, tx, ws, "exception.remove", e.ID.String(), e, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// actDeed writes the context's deed down, if it has one.
func (s *Store) actDeed(ctx context.Context, tx transaction, ws cybervault.WorkspaceID) error {
	d, ok := cybervault.DeedOf(ctx)
	if !ok {
		return nil
	}
	return s.act(ctx, tx, ws, d.Action, d.Target, d.Before, d.After)
}

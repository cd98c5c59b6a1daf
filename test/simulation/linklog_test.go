package simulation

import (
	"context"
	"time"

	"github.com/cybervault/cybervault"
)

// The link as the router sees it.

// number of the event in its data, or of its first delivery: what a publish is
// about.
func publishSubject(pubs []*cybervault.Publication) (subject uint64) {
	for _, p := range pubs {
		for _, b := range p.Event.Type {
			subject = mix(subject ^ uint64(b))
		}
		subject = mix(subject ^ uint64(numberOf(p.Event.Body)))
	}
	return subject
}

func (l *link) Publish(ctx context.Context, pubs []*cybervault.Publication) (out []cybervault.Published, errs []error) {
	called := time.Now()
	err := l.call(callPublish, publishSubject(pubs), func() error {
		out, errs = l.s.Publish(context.WithoutCancel(ctx), pubs)
		l.w.ledger.published(l.node, pubs, out, errs, called)
		return nil
	})
	if err != nil {
		out, errs = make([]cybervault.Published, len(pubs)), make([]error, len(pubs))
		for i := range errs {
			errs[i] = err
		}
	}
	return out, errs
}

func (l *link) AddDelivery(ctx context.Context, event *cybervault.Event, d *cybervault.NewDelivery) error {
	return l.call(callReplay, l.delivery(d.ReplayOf), func() error {
		err := l.s.AddDelivery(context.WithoutCancel(ctx), event, d)
		if err == nil {
			l.w.ledger.added(l.node, event.ID, d)
		}
		return err
	})
}

// read makes a call that changes nothing.
func read[T any](l *link, subject uint64, fn func() (T, error)) (out T, err error) {
	err = l.call(callRead, subject, func() error {
		out, err = fn()
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

func (l *link) Original(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, int, error) {
	type original struct {
		event *cybervault.Event
		n     int
	}
	o, err := read(l, 0, func() (o original, err error) {
		o.event, o.n, err = l.s.Original(context.WithoutCancel(ctx), ws, id)
		return o, err
	})
	return o.event, o.n, err
}

func (l *link) Event(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.EventID) (*cybervault.Event, error) {
	return read(l, 0, func() (*cybervault.Event, error) { return l.s.Event(context.WithoutCancel(ctx), ws, id) })
}

func (l *link) Events(ctx context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error) {
	return read(l, 0, func() (cybervault.Page[*cybervault.Event], error) { return l.s.Events(context.WithoutCancel(ctx), q) })
}

func (l *link) Delivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID) (*cybervault.Delivery, error) {
	return read(l, l.delivery(id), func() (*cybervault.Delivery, error) { return l.s.Delivery(context.WithoutCancel(ctx), ws, id) })
}

func (l *link) CancelDelivery(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.DeliveryID, reason string) error {
	return l.call(callCancel, l.delivery(id), func() error {
		err := l.s.CancelDelivery(context.WithoutCancel(ctx), ws, id, reason)
		l.w.ledger.cancelled(id, err)
		return err
	})
}

func (l *link) Webhooks(ctx context.Context) (hooks []*cybervault.Webhook, err error) {
	err = l.call(callWebhooks, 0, func() error {
		hooks, err = l.s.Webhooks(context.WithoutCancel(ctx))
		if err == nil {
			l.w.ledger.checkWebhooks(hooks)
		}
		return err
	})
	return kept(hooks, err)
}

func (l *link) WebhooksByKey(ctx context.Context, keys []int64) ([]*cybervault.Webhook, error) {
	return read(l, 0, func() ([]*cybervault.Webhook, error) { return l.s.WebhooksByKey(context.WithoutCancel(ctx), keys) })
}

func (l *link) SaveWebhook(ctx context.Context, hook *cybervault.Webhook) error {
	l.w.mu.Lock()
	v := l.w.ledger.saving(hook)
	l.w.mu.Unlock()
	err := l.call(callSave, l.hook(hook.ID), func() error {
		err := l.s.SaveWebhook(context.WithoutCancel(ctx), hook)
		if err == nil {
			l.w.ledger.saved(v)
		}
		return err
	})
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.ledger.told(v, err)
	return err
}

func (l *link) CancelDeliveries(ctx context.Context, webhook cybervault.WebhookID, reason string) (n int64, err error) {
	err = l.call(callCancel, mix(l.hook(webhook)), func() error {
		n, err = l.s.CancelDeliveries(context.WithoutCancel(ctx), webhook, reason)
		if err == nil {
			l.w.ledger.cancelledAll(webhook, n)
		}
		return err
	})
	return n, err
}

func (l *link) FreeHeld(ctx context.Context, webhook cybervault.WebhookID) (n int64, err error) {
	err = l.call(callFree, l.hook(webhook), func() error {
		n, err = l.s.FreeHeld(context.WithoutCancel(ctx), webhook)
		if err == nil {
			l.w.ledger.freed(webhook, n)
		}
		return err
	})
	return n, err
}

func (l *link) MarkOrdered(ctx context.Context, webhook cybervault.WebhookID) (n int64, err error) {
	err = l.call(callMark, l.hook(webhook), func() error {
		n, err = l.s.MarkOrdered(context.WithoutCancel(ctx), webhook)
		return err
	})
	return n, err
}

func (l *link) Pending(ctx context.Context) (pending, held int64, err error) {
	err = l.call(callRead, 0, func() error {
		pending, held, err = l.s.Pending(context.WithoutCancel(ctx))
		return err
	})
	return pending, held, err
}

func (l *link) SaveReplay(ctx context.Context, r *cybervault.Replay) error {
	return l.call(callReplay, mix(l.hook(r.Webhook)), func() error {
		err := l.s.SaveReplay(context.WithoutCancel(ctx), r)
		if err == nil {
			l.w.ledger.replays[r.ID] = &replay{made: map[cybervault.DeliveryID]bool{}}
		}
		return err
	})
}

func (l *link) Replay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) (*cybervault.Replay, error) {
	return read(l, 0, func() (*cybervault.Replay, error) { return l.s.Replay(context.WithoutCancel(ctx), ws, id) })
}

func (l *link) Replays(ctx context.Context, ws cybervault.WorkspaceID, before cybervault.ReplayID, limit int) (cybervault.Page[*cybervault.Replay], error) {
	return read(l, 0, func() (cybervault.Page[*cybervault.Replay], error) {
		return l.s.Replays(context.WithoutCancel(ctx), ws, before, limit)
	})
}

// RunningReplays asks the store only if there ever was one: it is asked all the time.
func (l *link) RunningReplays(ctx context.Context) ([]*cybervault.Replay, error) {
	return read(l, 0, func() ([]*cybervault.Replay, error) {
		if len(l.w.ledger.replays) == 0 {
			return nil, nil
		}
		return l.s.RunningReplays(context.WithoutCancel(ctx))
	})
}

func (l *link) EndReplay(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.ReplayID) error {
	return l.call(callReplay, 0, func() error { return l.s.EndReplay(context.WithoutCancel(ctx), ws, id) })
}

func (l *link) MatchReplay(ctx context.Context, r *cybervault.Replay) (n int64, sample []*cybervault.Delivery, err error) {
	err = l.call(callRead, l.hook(r.Webhook), func() error {
		n, sample, err = l.s.MatchReplay(context.WithoutCancel(ctx), r)
		return err
	})
	return n, sample, err
}

func (l *link) StepReplay(ctx context.Context, r *cybervault.Replay, limit int, due time.Time, birth func() cybervault.NewDelivery) error {
	return l.call(callStep, l.hook(r.Webhook), func() error {
		var born []cybervault.DeliveryID
		err := l.s.StepReplay(context.WithoutCancel(ctx), r, limit, due, func() cybervault.NewDelivery {
			d := birth()
			born = append(born, d.ID)
			return d
		})
		if err == nil {
			l.w.ledger.stepped(l.node, r, born)
		}
		return err
	})
}

func (l *link) Line(ctx context.Context, webhook cybervault.WebhookID, polled bool, limit int) ([]*cybervault.Assignment, error) {
	return read(l, l.hook(webhook), func() ([]*cybervault.Assignment, error) {
		line, err := l.s.Line(context.WithoutCancel(ctx), webhook, polled, limit)
		if err == nil {
			l.w.ledger.handedOut(webhook, line)
		}
		return line, err
	})
}

func (l *link) Acknowledge(ctx context.Context, webhook cybervault.WebhookID, polled bool, last cybervault.DeliveryID, fresh func() *cybervault.Attempt) (ended []*cybervault.Result, err error) {
	err = l.call(callAcknowledge, l.hook(webhook), func() error {
		ended, err = l.s.Acknowledge(context.WithoutCancel(ctx), webhook, polled, last, fresh)
		if err == nil {
			l.w.ledger.acknowledged(webhook, last, ended)
		}
		return err
	})
	return ended, err
}

package simulation

import (
	"context"

	"github.com/cybervault/cybervault"
)

// fan stands between one router and the dispatchers of several nodes. Each webhook
// has a node that its deliveries are claimed for at birth; all of them claim from
// the store. What changes is known to all at once.
type fan struct {
	w *world
	n *node
}

type place struct {
	webhook  cybervault.WebhookID
	severity cybervault.Severity
	test     bool
}

// home is the node that a webhook's new deliveries go to.
func (f fan) home(webhook cybervault.WebhookID) *node {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.nodes[f.w.ledger.hooks[webhook].n%len(f.w.nodes)]
}

func (f fan) NewLease() cybervault.Lease {
	f.w.mu.Lock()
	n := f.w.nodes[0]
	f.w.mu.Unlock()
	return n.dispatcher.NewLease()
}

func (f fan) Admit(webhook cybervault.WebhookID, size int, severity cybervault.Severity, test bool) bool {
	n := f.home(webhook)
	if n.dead() || !n.dispatcher.Admit(webhook, size, severity, test) {
		return false
	}
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	n.reserved[place{webhook, severity, false}]++
	return true
}

// reserver takes a reservation back, from the node that is there now; nil if that
// went down with another.
func (f fan) reserver(p place) *node {
	n := f.home(p.webhook)
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if n.reserved[p] == 0 || n.dead() {
		return nil
	}
	n.reserved[p]--
	return n
}

func (f fan) Withdraw(webhook cybervault.WebhookID, size int, severity cybervault.Severity) {
	if n := f.reserver(place{webhook, severity, false}); n != nil {
		n.dispatcher.Withdraw(webhook, size, severity)
	}
}

func (f fan) Dispatch(assignments []*cybervault.Assignment) {
	for _, a := range assignments {
		n := f.reserver(place{a.Webhook, a.Severity, false})
		f.w.mu.Lock()
		if e := f.w.ledger.deliveries[a.Delivery]; e != nil {
			e.handOver(a.Lease.Token, n)
		}
		f.w.mu.Unlock()
		if n != nil {
			n.dispatcher.Dispatch([]*cybervault.Assignment{a})
		}
	}
}

// each does something with every dispatcher.
func (f fan) each(do func(*node)) {
	f.w.mu.Lock()
	nodes := append([]*node(nil), f.w.nodes...)
	f.w.mu.Unlock()
	for _, n := range nodes {
		do(n)
	}
}

func (f fan) Wake(webhook cybervault.WebhookID, severity cybervault.Severity) {
	f.each(func(n *node) { n.dispatcher.Wake(webhook, severity) })
}

func (f fan) Forget(webhook cybervault.WebhookID) {
	f.each(func(n *node) { n.dispatcher.Forget(webhook) })
}

func (f fan) Drop(webhook cybervault.WebhookID, delivery cybervault.DeliveryID) {
	f.each(func(n *node) { n.dispatcher.Drop(webhook, delivery) })
}

func (f fan) Await(id cybervault.DeliveryID) (<-chan *cybervault.Attempt, func()) {
	out := make(chan *cybervault.Attempt, len(f.w.nodes))
	ctx, cancel := context.WithCancel(f.w.ctx)
	f.each(func(n *node) {
		ch, unwatch := n.dispatcher.Await(id)
		f.w.work.Go(func() {
			defer unwatch()
			select {
			case a := <-ch:
				out <- a
			case <-ctx.Done():
			}
		})
	})
	return out, cancel
}

package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// maxDestinations bounds how many are connected to, and atOnce how many at the
	// same time.
	maxDestinations = 200
	atOnce          = 8
	// A certificate should last for so long: those of others are renewed by
	// machines, those in settings by people.
	receiverDays = 10
	settingDays  = 30
	// recentAttempt is how old an attempt may be whose Date header is compared.
	recentAttempt = day
)

// destination is what webhooks share that are connected to in the same way.
type destination struct{ origin, ca, client, proxy string }

// destinations connects to every receiver once.
func (s *Server) destinations(ctx context.Context, hooks []*cybervault.Webhook) []cybervault.Check {
	const name = "destination"
	var order []*cybervault.Webhook
	shared := map[destination]int{}
	for _, w := range live(hooks) {
		key := destination{origin(w.URL), w.CACertificate, w.ClientCertificate, w.Proxy}
		if shared[key]++; shared[key] == 1 {
			order = append(order, w)
		}
	}
	left := len(order) - maxDestinations
	order = order[:min(len(order), maxDestinations)]
	found := make([]cybervault.Check, len(order))
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, w := range order {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			found[i] = s.reach(ctx, w)
		})
	}
	wg.Wait()
	byStatus(found)
	checks := slices.Clip(found)
	if left > 0 {
		checks = append(checks, warn(name, "", fmt.Sprintf("%d further destinations were not looked at", left), "Look at their webhooks' attempts."))
	}
	return orOK(checks, name, "no webhook is sent to")
}

// reach connects to a webhook's receiver.
func (s *Server) reach(ctx context.Context, w *cybervault.Webhook) cybervault.Check {
	const name = "destination"
	id, where := w.ID.String(), origin(w.URL)
	by := ""
	if w.Proxy != "" {
		by = " through its proxy " + origin(w.Proxy)
	}
	x, err := s.Probe(ctx, w)
	if err != nil {
		return warn(name, id, where+" was not looked at: there was no time left", "Ask again, or look at the webhook's attempts.")
	}
	if x.Failure != "" {
		return fail(name, id, fmt.Sprintf("%s cannot be reached%s (%s): %s", where, by, x.Failure, x.Error), remedies()[x.Failure])
	}
	if x.TLS != nil {
		switch left := x.TLS.NotAfter.Sub(s.Now()); {
		case left < receiverDays*day:
			return warn(name, id, fmt.Sprintf("%s is reached%s, and its certificate ends in %s, on %s", where, by, span(left), x.TLS.NotAfter.UTC().Format(time.DateOnly)),
				"Tell whoever runs the receiver to renew it: attempts fail after that.")
		default:
			return ok(name, id, fmt.Sprintf("%s is reached%s, and its certificate lasts for %s", where, by, span(left)))
		}
	}
	return ok(name, id, where+" is reached"+by+", without TLS")
}

// remedies say what to do about a receiver that cannot be reached.
func remedies() map[cybervault.Failure]string {
	return map[cybervault.Failure]string{
		cybervault.FailureDNS:            "Look whether the name is right, and whether this machine's name servers know it.",
		cybervault.FailureConnect:        "Look whether the receiver runs, and whether a firewall stands between this machine and it.",
		cybervault.FailureTimeout:        "Look whether a firewall drops what this machine sends there.",
		cybervault.FailureTLS:            "Look at the receiver's certificate and the webhook's ca_certificate and client_certificate.",
		cybervault.FailureBlockedAddress: "If the address is to be reached, open its range with --allow-destination.",
		cybervault.FailureProtocol:       "Look at what answers there.",
	}
}

// origin is of a URL what is no secret.
func origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "its URL"
	}
	return u.Scheme + "://" + u.Host
}

// certificates looks at those in the settings of webhooks.
func (s *Server) certificates(hooks []*cybervault.Webhook) []cybervault.Check {
	const name = "certificate"
	var checks []cybervault.Check
	count := 0
	for _, w := range live(hooks) {
		for what, text := range map[string]string{"ca_certificate": w.CACertificate, "client_certificate": w.ClientCertificate} {
			for _, c := range CertificatesIn(text) {
				count++
				left, end := c.NotAfter.Sub(s.Now()), c.NotAfter.UTC().Format(time.DateOnly)
				switch {
				case left <= 0:
					checks = append(checks, fail(name, w.ID.String(), fmt.Sprintf("its %s holds a certificate that ended on %s", what, end), "Give the webhook a new one (PATCH /v1/webhooks/{id})."))
				case left < settingDays*day:
					checks = append(checks, warn(name, w.ID.String(), fmt.Sprintf("its %s holds a certificate that ends in %s, on %s", what, span(left), end), "Give the webhook a new one in time (PATCH /v1/webhooks/{id})."))
				}
			}
		}
	}
	return orOK(checks, name, fmt.Sprintf("%d certificates in settings, none about to end", count))
}

// CertificatesIn reads the certificates in PEM, leaving out what cannot be read.
func CertificatesIn(text string) (all []*x509.Certificate) {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, c)
		}
	}
}

// receiversClocks compares this machine's clock with the Date headers of answers
// to recent attempts: nobody is asked anything for that. One clock that differs
// is its owner's; where most differ, it is ours.
func (s *Server) receiversClocks(ctx context.Context, hooks []*cybervault.Webhook) []cybervault.Check {
	const name = "clock"
	var off []cybervault.Check
	asked := 0
	for _, w := range live(hooks) {
		a, err := s.Store.LastAttempt(ctx, w.ID)
		if err != nil {
			return []cybervault.Check{fail(name, w.ID.String(), "its newest attempt cannot be read: "+said(err), tryLater)}
		}
		skew, known := skewOf(a, s.Now())
		if !known {
			continue
		}
		asked++
		if c := Clock(origin(w.URL), skew); c.Status != cybervault.CheckOK {
			c.Status, c.Subject = cybervault.CheckWarn, w.ID.String() // it may be theirs
			off = append(off, c)
		}
	}
	if asked >= 3 && 2*len(off) > asked {
		return []cybervault.Check{fail(name, "", fmt.Sprintf("%d of %d receivers' clocks differ from this machine's: it is most likely this one that is wrong", len(off), asked),
			"Let this machine follow a time server: receivers refuse signatures whose time is five minutes off.")}
	}
	if asked == 0 {
		return []cybervault.Check{ok(name, "", "no receiver has told the time lately")}
	}
	return orOK(off, name, fmt.Sprintf("agrees with those of %d receivers", asked))
}

// skewOf is how far a receiver's clock was ahead. Date has whole seconds, and was
// written between the attempt's start and its end.
func skewOf(a *cybervault.Attempt, now time.Time) (skew time.Duration, known bool) {
	if a == nil || now.Sub(a.StartedAt) > recentAttempt {
		return 0, false
	}
	for _, h := range a.Answer {
		if http.CanonicalHeaderKey(h.Name) != "Date" {
			continue
		}
		at, err := http.ParseTime(h.Value)
		if err != nil {
			return 0, false
		}
		switch {
		case at.Add(time.Second).Before(a.StartedAt):
			return at.Add(time.Second).Sub(a.StartedAt), true
		case at.After(a.StartedAt.Add(a.Elapsed)):
			return at.Sub(a.StartedAt.Add(a.Elapsed)), true
		}
		return 0, true
	}
	return 0, false
}

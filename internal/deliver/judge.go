package deliver

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// maxLocation bounds what of a redirect's target is repeated.
const maxLocation = 200

// judge says whether an answer counts as success, by the webhook's own rule, and
// otherwise in words what it means and what a person can do.
func judge(w *cybervault.Webhook, x *cybervault.Exchange) {
	if x.Failure != "" || w.Accept.Accepts(x.Status) {
		return
	}
	x.Failure = cybervault.FailureStatus
	x.Error = "answered " + strings.TrimSpace(fmt.Sprintf("%d %s", x.Status, http.StatusText(x.Status)))
	switch {
	case x.Status == http.StatusNotModified:
		x.Failure = cybervault.FailureRedirect
		x.Error += ", which is no answer to a POST"
	case x.Status >= 300 && x.Status <= 399:
		x.Failure = cybervault.FailureRedirect
		x.Error += leadsTo(x) + "; redirects are never followed: give the webhook the final URL"
	case x.Status >= 200 && x.Status <= 299:
		x.Error = fmt.Sprintf("answered %d; this webhook counts only 200 and 201 as success: change it under Accept", x.Status)
	default:
		x.Error += meaning(x)
	}
}

// leadsTo names the target of a redirect, fit for a page.
func leadsTo(x *cybervault.Exchange) string {
	for _, h := range x.Answer {
		if strings.EqualFold(h.Name, "Location") {
			target := h.Value
			if len(target) > maxLocation {
				target = strings.ToValidUTF8(target[:maxLocation], "") + "…"
			}
			return fmt.Sprintf(", which leads to %q", target)
		}
	}
	return ""
}

// meaning says what a status that is no success and no redirect usually means.
func meaning(x *cybervault.Exchange) string {
	switch x.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ": the receiver does not accept who is asking; compare the signing secret, and the headers of the webhook"
	case http.StatusNotFound:
		return ": the receiver has nothing at this path; check the URL"
	case http.StatusMethodNotAllowed:
		return ": the receiver takes no POST at this path; check the URL"
	case http.StatusGone:
		return ": the receiver wants no more, so the webhook is disabled"
	case http.StatusRequestEntityTooLarge:
		return ": the event is larger than the receiver takes; raise its limit, 256 KiB is the most that comes"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if x.RetryAfter >= cybervault.MaxRetryAfter {
			return "; the receiver asks for a pause of a day or more: a day is waited"
		}
		if x.RetryAfter > 0 {
			return fmt.Sprintf("; the receiver asks for a pause of %s", cybervault.FormatDuration(x.RetryAfter.Round(time.Second)))
		}
	}
	if x.Status >= 500 {
		return ": the receiver failed; its own log says why"
	}
	return ""
}

package oidc

import (
	"slices"
	"strings"
	"unicode"

	"github.com/cybervault/cybervault"
)

// maxQuoted bounds what is quoted of a provider, in characters.
const maxQuoted = 200

// transient are the errors that pass by themselves (RFC 6749, section 4.1.2.1).
var transient = []string{"server_error", "temporarily_unavailable"}

// misconfigured are those that an administrator must mend, here or there.
var misconfigured = []string{
	"invalid_request", "invalid_scope", "unauthorized_client", "unsupported_response_type", "invalid_request_uri",
	"invalid_request_object", "request_not_supported", "request_uri_not_supported", "registration_not_supported",
}

// answerError puts the provider's refusal into words. Its own are a stranger's, and
// are shown as a quotation.
func answerError(code, description string) error {
	quoted := " (it says: " + clean(code)
	if description = clean(description); description != "" {
		quoted += ", " + description
	}
	quoted += ")"
	switch {
	case code == "access_denied":
		return unauthorized(nil, "the log-in was refused at the OpenID provider%s: begin again, or ask an administrator of the provider for access to this application", quoted)
	case slices.Contains(transient, code):
		return unavailable("cannot log anybody in at the moment"+quoted, nil)
	case slices.Contains(misconfigured, code):
		return unavailable("does not take the request of this server"+quoted+": ask an administrator to compare the client's settings on both sides", nil)
	}
	return unauthorized(nil, "the OpenID provider did not log you in%s: begin again", quoted)
}

// clean makes a stranger's text fit for a page, a log and a terminal: printable,
// on one line, bounded. Marks that turn the direction of writing are not printable.
func clean(s string) string {
	if len(s) > 4*maxQuoted {
		s = s[:4*maxQuoted] // what is thrown away need not be looked at
	}
	printable := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return ' '
	}, s)
	runes := []rune(strings.Join(strings.Fields(printable), " "))
	if len(runes) > maxQuoted {
		return string(runes[:maxQuoted-1]) + "…"
	}
	return string(runes)
}

// briefly is a cause whose text is bounded: libraries put whole answers into theirs.
type briefly struct{ cause error }

func brief(cause error) error {
	if cause == nil {
		return nil
	}
	return &briefly{cause}
}

func (b *briefly) Error() string { return clean(b.cause.Error()) }
func (b *briefly) Unwrap() error { return b.cause }

func forbidden(format string, args ...any) *cybervault.Error {
	return cybervault.Errorf(cybervault.CodeForbidden, format, args...)
}

package cybervault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cybervault/cybervault"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk full")
	err := &cybervault.Error{Code: cybervault.CodeUnavailable, Field: "data", Message: "try again", Err: cause}
	if err.Error() != "data: try again: disk full" || !errors.Is(err, cause) {
		t.Errorf("it reads %q", err)
	}
	for want, e := range map[cybervault.Code]error{
		"":                         nil,
		cybervault.CodeInternal:    cause,
		cybervault.CodeUnavailable: fmt.Errorf("publish: %w", err),
		cybervault.CodeInvalid:     cybervault.Invalid("url", "is %s", "missing"),
		cybervault.CodeNotFound:    errors.Join(cause, cybervault.Errorf(cybervault.CodeNotFound, "no such thing")),
	} {
		if got := cybervault.ErrorCode(e); got != want {
			t.Errorf("%v has code %q, want %q", e, got, want)
		}
	}
}

func TestAPIKeyAllows(t *testing.T) {
	t.Parallel()
	for _, scope := range cybervault.Scopes() {
		for _, asked := range cybervault.Scopes() {
			key := cybervault.APIKey{Scopes: []cybervault.Scope{scope}}
			if got, want := key.Allows(asked), scope == asked || scope == cybervault.ScopeAdmin; got != want {
				t.Errorf("a key for %s allows %s: %v", scope, asked, got)
			}
		}
	}
	if (&cybervault.APIKey{}).Allows(cybervault.ScopeRead) {
		t.Error("a key without scopes allows reading")
	}
}

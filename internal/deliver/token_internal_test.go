package deliver

import (
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
)

// Whatever a token endpoint sends, there is either a token that fits into a
// header and a life within bounds, or a failure that repeats none of it.
func FuzzReadToken(f *testing.F) {
	f.Add(200, []byte(`{"access_token":"a","token_type":"Bearer","expires_in":3600}`))
	f.Add(200, []byte(`{"access_token":"a","token_type":"bearer","expires_in":"1e300"}`))
	f.Add(400, []byte(`{"error":"invalid_scope","error_description":"SENTINEL"}`))
	f.Add(200, []byte(`{"access_token":"SENTINEL\r\n","token_type":"Bearer","expires_in":-1}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		value, life, failure, text := readToken(&cybervault.Exchange{Status: status, Body: body}, "the token endpoint")
		if failure != "" {
			if value != "" || strings.Contains(text, "SENTINEL") {
				t.Errorf("failed with %q, token %q", text, value)
			}
			return
		}
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || life <= 0 || life > maxTokenLife {
			t.Errorf("token %q for %v", value, life)
		}
	})
}

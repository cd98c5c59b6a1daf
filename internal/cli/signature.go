package cli

import (
	"crypto/hmac"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// timestampTolerance is how far webhook-timestamp may lie from the receiver's
// clock, as Standard Webhooks 1.0 recommends.
const timestampTolerance = 5 * time.Minute

// checkRequest checks both signatures of a request that was received, each with
// any of the secrets, and says what is wrong in words, "" for nothing. Public
// keys alone leave X-CyberVault-Signature unchecked.
func checkRequest(secrets []string, header http.Header, body []byte, now time.Time) string {
	if given := header.Get("X-CyberVault-Signature"); given == "" {
		return "X-CyberVault-Signature is missing"
	} else if slices.ContainsFunc(secrets, isShared) && !matchesHex(secrets, given, body) && !matchesHex(secrets, header.Get("X-CyberVault-Signature-Next"), body) {
		return "X-CyberVault-Signature does not match"
	}
	seconds, err := strconv.ParseInt(header.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return "webhook-timestamp is not a number of seconds"
	}
	if !matchesStandard(secrets, header.Get("webhook-signature"), header.Get("webhook-id"), seconds, body) {
		return "webhook-signature does not match"
	}
	if age := now.Sub(time.Unix(seconds, 0)); age.Abs() > timestampTolerance {
		return fmt.Sprintf("webhook-timestamp is %s away from this clock", age.Abs().Round(time.Second))
	}
	return ""
}

// isShared tells a secret from a public key.
func isShared(secret string) bool { return !strings.HasPrefix(secret, cybervault.PublicKeyPrefix) }

func matchesHex(secrets []string, given string, body []byte) bool {
	for _, s := range secrets {
		if !isShared(s) {
			continue // what everybody may know is no secret
		}
		if hmac.Equal([]byte(cybervault.SignHex(s, body)), []byte(given)) {
			return true
		}
	}
	return false
}

// matchesStandard checks a list of "v1,<base64>" and "v1a,<base64>", of which one
// has to match a secret or a public key.
func matchesStandard(secrets []string, given, id string, seconds int64, body []byte) bool {
	for _, s := range secrets {
		if !isShared(s) {
			for signature := range strings.FieldsSeq(given) {
				if ok, err := cybervault.VerifyEd25519(s, signature, id, seconds, body); err == nil && ok {
					return true
				}
			}
			continue
		}
		want, err := cybervault.SignStandard(s, id, seconds, body)
		if err != nil {
			continue
		}
		for signature := range strings.FieldsSeq(given) {
			if hmac.Equal([]byte(want), []byte(signature)) {
				return true
			}
		}
	}
	return false
}

package cybervault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
)

// SignHex returns the value of X-CyberVault-Signature: the lower-case hex
// HMAC-SHA256 of body, keyed with the bytes of the secret as it is shown.
func SignHex(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// SignStandard returns one signature of Standard Webhooks 1.0, "v1,<base64>":
// HMAC-SHA256 over "id.timestamp.body", keyed with the base64 decoding of what
// follows "whsec_". timestamp is in Unix seconds. A secret whose rest is not
// base64 is an error of CodeInvalid.
func SignStandard(secret, id string, timestamp int64, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, SecretPrefix))
	if err != nil {
		return "", Invalid("secret", "is not base64 after %q", SecretPrefix)
	}
	mac := hmac.New(sha256.New, key)
	head := make([]byte, 0, len(id)+24)
	head = append(append(head, id...), '.')
	head = append(strconv.AppendInt(head, timestamp, 10), '.')
	mac.Write(head)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

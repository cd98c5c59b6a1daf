package store

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// The headers of an attempt are most of what its row weighs, and all but a few
// bytes of them are the same in every attempt or have a shape: ids, signatures,
// numbers. Each name and each value is therefore packed by what it is, behind a
// byte that says so. What has no shape is kept as text, and whatever is packed
// comes back to the letter: a value is only packed where unpacking gives it back.

// How a name or a value is packed. The codes stand in the data: they may be
// added to, never changed. From packedWord on a code is a word of the list.
const (
	packedText    = 0 // a length and bytes
	packedHex     = 1 // the 32 bytes of a signature in lower-case hex
	packedID      = 2 // a prefix, as a word, and a UUID
	packedBase64  = 3 // the 32 bytes of a signature that follows "v1,"
	packedInteger = 4 // decimal, as a varint
	packedWord    = 16
)

// packedWords are names and values that come often. The place of a word stands
// in the data: append only, 240 at most.
var packedWords = [...]string{
	"Content-Type", "User-Agent", "X-CyberVault-Event", "X-CyberVault-Delivery", "X-CyberVault-Attempt", "X-CyberVault-Sequence",
	"X-CyberVault-Test", "X-CyberVault-Signature", "X-CyberVault-Signature-Next", "webhook-id", "webhook-timestamp", "webhook-signature",
	"Authorization", "Host", "Content-Length", "Connection", "Date", "Server", "Via", "Cache-Control", "Retry-After", "Vary", "Etag",
	"Strict-Transport-Security", "X-Content-Type-Options", "X-Request-Id", "Keep-Alive", "Transfer-Encoding", "Location", "Allow", "Set-Cookie",
	"application/json", "application/json; charset=utf-8", "text/plain", "text/plain; charset=utf-8", "text/html", "text/html; charset=utf-8",
	"application/problem+json", "true", "false", "keep-alive", "close", "nosniff", "no-store", "no-cache", "***", "HTTP/1.1", "HTTP/2.0", "HTTP/1.0",
	"wh_", "dlv_", "att_", "ws_", "whk_", "idm_", "thr_", "inc_",
	cybervault.EventThreatDetected, cybervault.EventIncidentCreated, cybervault.EventIncidentUpdated, cybervault.EventIncidentResolved,
	cybervault.EventAuthSuspicious, cybervault.EventEndpointOffline, cybervault.EventEndpointOnline, cybervault.EventPatchDeployed,
	cybervault.EventPatchFailed, cybervault.EventComplianceReportReady, cybervault.EventComplianceControlFailed, cybervault.EventSystemAlert,
	cybervault.EventWebhookTest,
}

// packedCodes finds the code of a word.
var packedCodes = func() map[string]byte {
	codes := make(map[string]byte, len(packedWords))
	for i, word := range packedWords {
		codes[word] = byte(packedWord + i)
	}
	return codes
}()

const (
	uuidText       = 36    // digits and hyphens
	hexText        = 64    // of an HMAC-SHA256
	base64Prefix   = "v1," // of a signature of Standard Webhooks
	base64Bytes    = 32
	base64Text     = 44
	longestInteger = 18 // digits that an int64 holds for certain
)

// appendHeaders packs a list.
func appendHeaders(b []byte, headers []cybervault.Header) []byte {
	b = binary.AppendUvarint(b, uint64(len(headers)))
	next := 0 // our own headers are sent in the order of the words
	for i := range headers {
		name := headers[i].Name
		if next < len(packedWords) && packedWords[next] == name {
			b = append(b, byte(packedWord+next))
			next++
		} else if b = appendPacked(b, name); b[len(b)-1] >= packedWord {
			next = int(b[len(b)-1]) - packedWord + 1 // a guess, wherever that byte comes from
		}
		b = appendPacked(b, headers[i].Value)
	}
	return b
}

func appendPacked(b []byte, s string) []byte {
	if packed, ok := appendShaped(b, s); ok {
		return packed
	}
	if code, ok := packedCodes[s]; ok {
		return append(b, code)
	}
	return appendText(append(b, packedText), s)
}

// appendShaped packs what has a shape, and reports false for the rest.
func appendShaped(b []byte, s string) ([]byte, bool) {
	switch {
	case s == "":
	case s[0] >= '1' && s[0] <= '9' && len(s) <= longestInteger:
		if strings.Trim(s, "0123456789") == "" {
			n, _ := strconv.ParseUint(s, 10, 64)
			return binary.AppendUvarint(append(b, packedInteger), n), true
		}
	case len(s) == hexText:
		var raw [hexText / 2]byte
		if strings.ToLower(s) == s {
			if _, err := hex.Decode(raw[:], []byte(s)); err == nil {
				return append(append(b, packedHex), raw[:]...), true
			}
		}
	case len(s) == len(base64Prefix)+base64Text && s[:len(base64Prefix)] == base64Prefix:
		var raw [base64Text / 4 * 3]byte
		n, err := base64.StdEncoding.Strict().Decode(raw[:], []byte(s[len(base64Prefix):]))
		if err == nil && n == base64Bytes { // fewer where line breaks were passed over
			return append(append(b, packedBase64), raw[:n]...), true
		}
	case len(s) > uuidText:
		prefix := len(s) - uuidText
		if uuid, ok := parseUUID(s[prefix:]); ok {
			if code, ok := packedCodes[s[:prefix]]; ok {
				return append(append(b, packedID, code), uuid[:]...), true
			}
		}
	}
	return b, false
}

// parseUUID reads the lower-case form with hyphens, and nothing else.
func parseUUID(s string) (id [16]byte, ok bool) {
	if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || strings.ToLower(s) != s {
		return id, false
	}
	var digits [32]byte
	n := copy(digits[:], s[:8])
	for _, part := range [...]string{s[9:13], s[14:18], s[19:23], s[24:]} {
		n += copy(digits[n:], part)
	}
	_, err := hex.Decode(id[:], digits[:])
	return id, err == nil
}

func appendUUID(b []byte, id []byte) []byte {
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

// packed reads what appendPacked wrote.
func (r *detailReader) packed() string {
	switch code := r.octet(); code {
	case packedText:
		return r.text()
	case packedHex:
		return hex.EncodeToString(r.bytes(hexText / 2))
	case packedBase64:
		return base64Prefix + base64.StdEncoding.EncodeToString(r.bytes(base64Bytes))
	case packedInteger:
		return strconv.FormatUint(r.uvarint(), 10)
	case packedID:
		prefix := r.word(r.octet())
		if uuid := r.bytes(len(cybervault.UUID{})); uuid != nil {
			return string(appendUUID([]byte(prefix), uuid))
		}
		return ""
	default:
		return r.word(code)
	}
}

func (r *detailReader) word(code byte) string {
	if int(code) < packedWord || int(code)-packedWord >= len(packedWords) {
		r.damage()
		return ""
	}
	return packedWords[code-packedWord]
}

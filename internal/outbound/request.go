package outbound

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// appendRequest writes the head of a request: the headers as they are spelled
// and in their order, after Host. A name or value that would end its line early
// is refused, whoever let it through.
func appendRequest(b []byte, t *target, list []cybervault.Header, length int) ([]byte, error) {
	b = append(b, t.line...)
	agent := false
	for i := range list {
		name, value := list[i].Name, list[i].Value
		if ownedByHTTP(name) {
			continue
		}
		if !isToken(name) {
			return b, fmt.Errorf("invalid header field name %q", name)
		}
		if !isFieldValue(value) {
			return b, fmt.Errorf("invalid header field value for %q", name) // which may be a secret
		}
		if len(name) == len("User-Agent") && strings.EqualFold(name, "User-Agent") {
			name, agent = "User-Agent", true
		}
		b = append(b, name...)
		b = append(b, ": "...)
		b = append(b, trimSpace(value)...)
		b = append(b, "\r\n"...)
	}
	if !agent {
		b = append(b, "User-Agent: CyberVault-Webhooks\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	return append(b, "\r\n\r\n"...), nil
}

// trimSpace removes the white space that is not part of a header's value
// (RFC 9110, section 5.5).
func trimSpace[T string | []byte](s T) T {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// isToken reports whether s is a header's name (RFC 9110, section 5.6.2).
func isToken[T string | []byte](s T) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return len(s) > 0
}

func isTokenByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	case c < 0x80:
		return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
	}
	return false
}

// isFieldValue reports whether s can be a header's value: no control character
// but the tab (RFC 9110, section 5.5).
func isFieldValue[T string | []byte](s T) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

package api

import (
	"encoding/base64"
	"encoding/binary"
	"math"

	"github.com/cybervault/cybervault"
)

// A position in the change log is written as three varints in base64url. It is
// checked against the log itself, which knows each of its rows, so it needs no sum.

func encodePosition(p cybervault.ChangePosition) string {
	b := binary.AppendUvarint(nil, uint64(p.Transaction))
	b = binary.AppendUvarint(b, uint64(p.Mark))
	return base64.RawURLEncoding.EncodeToString(binary.AppendUvarint(b, uint64(p.Done)))
}

func decodePosition(s string) (p cybervault.ChangePosition, ok bool) {
	if len(s) > 4*binary.MaxVarintLen64 {
		return p, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return p, false
	}
	var parts [3]uint64
	for i := range parts {
		part, n := binary.Uvarint(b)
		if n <= 0 || part > math.MaxInt64 {
			return p, false
		}
		parts[i], b = part, b[n:]
	}
	if len(b) > 0 || parts[2] > math.MaxInt32 {
		return p, false
	}
	p = cybervault.ChangePosition{Transaction: int64(parts[0]), Mark: int64(parts[1]), Done: int(parts[2])}
	return p, encodePosition(p) == s // written in one way only
}

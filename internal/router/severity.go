package router

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/cybervault/cybervault"
)

// severity is how severe an event is: what its data says of it where that is one
// of the five words, else what its type is, else info.
func (r *Router) severity(ws cybervault.WorkspaceID, req *cybervault.PublishRequest) cybervault.Severity {
	if own := ownSeverity(req.Data); own.Rank() >= 0 {
		return own
	}
	if t, ok := r.cfg.Catalogue.Lookup(ws, req.Type); ok && t.Severity.Rank() >= 0 {
		return t.Severity
	}
	return cybervault.SeverityInfo
}

// ownSeverity reads the text of the member "severity" of a JSON object, "" if
// there is none or it is no text. The object has been validated: decoding all of
// it again for one word is what this saves every publish.
func ownSeverity(data []byte) (own cybervault.Severity) {
	if !bytes.Contains(data, []byte("severity")) && !bytes.Contains(data, []byte(`\u`)) {
		return ""
	}
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := textEnd(data, i)
			after := skipSpace(data, end)
			if depth == 1 && after < len(data) && data[after] == ':' && named(data[i:end]) {
				own = ""
				if from := skipSpace(data, after+1); from < len(data) && data[from] == '"' {
					end = textEnd(data, from)
					own = cybervault.Severity(text(data[from:end]))
				}
			}
			i = end - 1
		}
	}
	return own
}

// named reports whether a JSON string says severity, however it is written.
func named(quoted []byte) bool {
	return string(quoted) == `"severity"` || bytes.IndexByte(quoted, '\\') >= 0 && text(quoted) == "severity"
}

// textEnd is where the JSON string that begins at from ends.
func textEnd(data []byte, from int) int {
	for i := from + 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

func skipSpace(data []byte, from int) int {
	for from < len(data) && strings.IndexByte(" \t\r\n", data[from]) >= 0 {
		from++
	}
	return from
}

// text reads a JSON string, "" if it is none.
func text(quoted []byte) string {
	if len(quoted) >= 2 && bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}

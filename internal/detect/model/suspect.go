package model

import (
	"strings"

	"github.com/cybervault/cybervault/internal/detect/decode"
)

// Suspect reports whether a value is worth a score: whether it has a sign that
// attacks need, is encoded, or is words with one of the lexicon among them. It
// costs a hundredth of a score, and most values of real requests end here. A
// single plain word is no attack, whatever it says: sort=id.
func Suspect(value string) bool {
	space := false
	for i := range len(value) {
		switch c := value[i]; {
		case letter(c|0x20) || digit(c) || c >= 0x80 || c == '-' || c == '_' || c == ',' || c == '@' || c == ':':
		case c == '.':
			if i > 0 && value[i-1] == '.' {
				return true
			}
		case c == ' ' || c == '+':
			space = true
		default:
			return true
		}
	}
	if space {
		for w := range strings.FieldsSeq(strings.ToLower(value)) {
			if kind := lexicon[strings.TrimSuffix(w, ".exe")]; kind == kindSQL || kind == kindSQLFunc || kind == kindCommand || kind == kindLogic {
				return true
			}
		}
	}
	return encoded(value)
}

// SuspectPath is the same for the path of a target, in which slashes say nothing.
func SuspectPath(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case letter(c|0x20) || digit(c) || c >= 0x80 || c == '-' || c == '_' || c == '/' || c == '~' || c == ',' || c == '@' || c == ':' || c == '+':
		case c == '.':
			if i > 0 && path[i-1] == '.' {
				return true
			}
		default:
			return true
		}
	}
	for part := range strings.SplitSeq(path, "/") {
		if encoded(part) {
			return true
		}
	}
	return false
}

// SuspectHeader is the same for a header, whose programs use brackets,
// semicolons and equals signs freely.
func SuspectHeader(value string) bool {
	return strings.ContainsAny(value, "'<>$`|{}\\%\n\r\x00") || strings.Contains(value, "..") || encoded(value)
}

func encoded(value string) bool {
	if len(value) < 10 {
		return false
	}
	_, undone := decode.Reveal(value)
	return len(undone) > 0
}

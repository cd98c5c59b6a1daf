package cybervault

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on a search.
const (
	MaxSearchLength = 1000 // characters
	MaxSearchTerms  = 16
)

// Search is what somebody looks for among events: terms that all hold.
//
//	event:threat.* severity:>=high data.source_ip:203.0.113.42 -data.user:root "failed password"
//
// What begins with the name of a field and a colon is a filter, a minus before it
// turns it round; every other word is text that stands anywhere in the envelope.
type Search struct {
	Terms []SearchTerm
	// Severities are those of the event types, for events that name none themselves.
	Severities map[string]Severity
}

// SearchTerm is one term of a search.
type SearchTerm struct {
	Field     string // "event", "severity", "id" or "data." and a path; "" for text anywhere
	Not       bool
	Compare   string // ">", ">=", "<", "<=", or "" for equal
	Value     string
	WildStart bool // anything may stand before Value
	WildEnd   bool // anything may stand after it
}

// The fields that a search knows besides those of the data.
const (
	searchEvent    = "event"
	searchSeverity = "severity"
	searchID       = "id"
	searchData     = "data."
)

// ParseSearch reads a search as a person types it. The field of its errors is the
// term that is wrong.
func ParseSearch(text string) (Search, error) {
	var s Search
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return s, Invalid("q", "is not UTF-8 text, or holds a NUL character")
	}
	if n := utf8.RuneCountInString(text); n > MaxSearchLength {
		return s, Invalid("q", "is %d characters long, more than %d", n, MaxSearchLength)
	}
	for rest := strings.TrimSpace(text); rest != ""; rest = strings.TrimSpace(rest) {
		if len(s.Terms) == MaxSearchTerms {
			return Search{}, Invalid("q", "has more than %d terms: put quotes around words that belong together", MaxSearchTerms)
		}
		term, after, problem := nextTerm(rest)
		if problem != "" {
			return Search{}, Invalid(truncate(rest[:len(rest)-len(after)], 60), "%s", problem)
		}
		s.Terms, rest = append(s.Terms, term), after
	}
	return s, nil
}

// nextTerm reads the term that text begins with. problem is what is wrong with it.
func nextTerm(text string) (t SearchTerm, rest, problem string) {
	if text[0] == '"' {
		if t.Value, rest, problem = quoted(text); problem == "" && t.Value == "" {
			problem = "is empty: put what to look for between the quotes"
		}
		return t, rest, problem
	}
	name, not := strings.CutPrefix(text, "-")
	end := strings.IndexFunc(name, func(r rune) bool { return r == ':' || r == '"' || unicode.IsSpace(r) })
	if end < 0 || name[end] != ':' || !searchable(name[:end]) {
		t.Value, rest = word(text)
		return t, rest, ""
	}
	t.Field, t.Not = name[:end], not
	rest, problem = t.readValue(name[end+1:])
	if problem == "" {
		problem = t.check()
	}
	return t, rest, problem
}

func searchable(name string) bool {
	return name == searchEvent || name == searchSeverity || name == searchID || strings.HasPrefix(name, searchData)
}

// word cuts text at its first space.
func word(text string) (first, rest string) {
	if i := strings.IndexFunc(text, unicode.IsSpace); i >= 0 {
		return text[:i], text[i:]
	}
	return text, ""
}

// quoted reads what stands between quotes; \" and \\ are a quote and a backslash.
func quoted(text string) (value, rest, problem string) {
	value, rest, closed := unquote(text)
	if !closed {
		return "", "", `a quote is not closed: end it with "`
	}
	if junk, after := word(rest); junk != "" {
		return "", after, `a space stands after the closing quote; \" is a quote within`
	}
	return value, rest, ""
}

func unquote(text string) (value, rest string, closed bool) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], true
		case c == '\\' && i+1 < len(text) && (text[i+1] == '"' || text[i+1] == '\\'):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// readValue reads what stands after the colon.
func (t *SearchTerm) readValue(text string) (rest, problem string) {
	for _, op := range []string{">=", "<=", ">", "<"} {
		if after, ok := strings.CutPrefix(text, op); ok {
			t.Compare, text = op, after
			break
		}
	}
	if inner := strings.TrimPrefix(text, "*"); t.Compare == "" && strings.HasPrefix(inner, `"`) {
		var closed bool
		t.WildStart = inner != text
		if t.Value, rest, closed = unquote(inner); !closed {
			return "", `a quote is not closed: end it with "`
		}
		rest, t.WildEnd = strings.CutPrefix(rest, "*")
		if junk, after := word(rest); junk != "" {
			return after, `a space stands after the closing quote; \" is a quote within`
		}
		return rest, ""
	}
	t.Value, rest = word(text)
	if t.Value == "" {
		return rest, "nothing stands after it: give a value, * for any, or \"\" for the empty one"
	}
	if t.Compare == "" {
		t.Value, t.WildStart = strings.CutPrefix(t.Value, "*")
		t.Value, t.WildEnd = strings.CutSuffix(t.Value, "*")
	}
	return rest, ""
}

// check says what is wrong with a filter.
func (t *SearchTerm) check() string {
	switch t.Field {
	case searchEvent:
		t.Value = strings.ToLower(t.Value)
		if t.Compare != "" {
			return "event types are not compared: name one, or a namespace such as event:threat.*"
		}
	case searchSeverity:
		t.Value = strings.ToLower(t.Value)
		if !t.Any() && (t.WildStart || t.WildEnd || Severity(t.Value).Rank() < 0) {
			return "a severity is info, low, medium, high or critical, or from one on: severity:>=high"
		}
	case searchID:
		if id, err := ParseID[EventID](t.Value); err != nil || t.Compare != "" || t.WildStart || t.WildEnd || id.IsZero() {
			return "an event's whole id stands after id:, such as id:" + EventID{}.Prefix() + "0192f0c1-…"
		}
	default:
		path := strings.TrimPrefix(t.Field, searchData)
		if slices.Contains(strings.Split(path, "."), "") {
			return "name the field after data., such as data.source_ip"
		}
		if t.Compare != "" && !isNumber(t.Value) {
			return "a number stands after " + t.Compare + "; put quotes around a text that begins with it"
		}
	}
	return ""
}

// Any reports whether the term asks only whether the field is there.
func (t *SearchTerm) Any() bool { return t.Value == "" && (t.WildStart || t.WildEnd) }

// Path is where in the data the term's field is; empty for another field.
func (t *SearchTerm) Path() []string {
	path, ok := strings.CutPrefix(t.Field, searchData)
	if !ok {
		return nil
	}
	return strings.Split(path, ".")
}

// Number reports whether the term asks for a number, which can be written in
// several ways.
func (t *SearchTerm) Number() bool { return !t.WildStart && !t.WildEnd && isNumber(t.Value) }

// Filters reports whether a term is about a field.
func (s *Search) Filters() bool {
	return slices.ContainsFunc(s.Terms, func(t SearchTerm) bool { return t.Field != "" })
}

// Words are the texts that stand anywhere in the envelope.
func (s *Search) Words() []string {
	var words []string
	for i := range s.Terms {
		if s.Terms[i].Field == "" {
			words = append(words, s.Terms[i].Value)
		}
	}
	return words
}

// Match reports whether an event fits all terms about fields; Words are not looked
// for.
func (s *Search) Match(e *Event) bool {
	var data any
	read := false
	for i := range s.Terms {
		t := &s.Terms[i]
		var fits bool
		switch t.Field {
		case "":
			continue
		case searchEvent:
			fits = t.fitsText(e.Type)
		case searchID:
			fits = t.Value == e.ID.String()
		default:
			if !read {
				data, read = dataOf(e.Body), true
			}
			if t.Field == searchSeverity {
				fits = t.fitsSeverity(s.severity(e.Type, data))
			} else {
				fits = t.fitsAt(data, strings.TrimPrefix(t.Field, searchData))
			}
		}
		if fits == t.Not {
			return false
		}
	}
	return true
}

// dataOf decodes the data of a stored envelope; nil where it cannot be read.
func dataOf(body []byte) any {
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(envelope.Data)))
	decoder.UseNumber()
	var data any
	if decoder.Decode(&data) != nil {
		return nil
	}
	return data
}

// severity is what the event says itself, else its type's, else info.
func (s *Search) severity(eventType string, data any) Severity {
	if object, ok := data.(map[string]any); ok {
		if own, ok := object["severity"].(string); ok && Severity(own).Rank() >= 0 {
			return Severity(own)
		}
	}
	if of := s.Severities[eventType]; of.Rank() >= 0 {
		return of
	}
	return SeverityInfo
}

func (t *SearchTerm) fitsSeverity(severity Severity) bool {
	return t.Any() || t.compared(severity.Rank()-Severity(t.Value).Rank())
}

func (t *SearchTerm) compared(order int) bool {
	switch t.Compare {
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	}
	return order == 0
}

// fitsAt looks for a value that fits at a path. One of a list is enough, and a key
// may itself hold the rest of the path, dots and all.
func (t *SearchTerm) fitsAt(value any, path string) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, func(one any) bool { return t.fitsAt(one, path) })
	case map[string]any:
		if path == "" {
			return t.Any()
		}
		if whole, ok := v[path]; ok && t.fitsAt(whole, "") {
			return true
		}
		first, rest, nested := strings.Cut(path, ".")
		return nested && t.fitsAt(v[first], rest)
	}
	return path == "" && t.fitsScalar(value)
}

func (t *SearchTerm) fitsScalar(value any) bool {
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case bool:
		text = fmt.Sprint(v)
	default: // null: there is no value
		return false
	}
	if t.Any() {
		return true
	}
	if _, number := value.(json.Number); t.Compare != "" || number && t.Number() {
		return isNumber(text) && t.compared(compareNumbers(text, t.Value))
	}
	return t.fitsText(text)
}

func (t *SearchTerm) fitsText(text string) bool {
	text, value := foldText(text), foldText(t.Value)
	switch {
	case t.WildStart && t.WildEnd:
		return strings.Contains(text, value)
	case t.WildStart:
		return strings.HasSuffix(text, value)
	case t.WildEnd:
		return strings.HasPrefix(text, value)
	}
	return text == value
}

// foldText puts letters into lower case. No other character becomes an ASCII one,
// so that a database that folds only those can be asked for them.
func foldText(s string) string {
	return strings.Map(func(r rune) rune {
		if lower := unicode.ToLower(r); r < utf8.RuneSelf || lower >= utf8.RuneSelf {
			return lower
		}
		return r
	}, s)
}

// SearchFor writes a term that finds the events whose data has a value at a path.
func SearchFor(path, value string) string {
	return searchData + path + `:"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}

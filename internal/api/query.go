package api

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// param is one query parameter that a route knows.
type param struct {
	name   string
	doc    string
	schema schema
}

// MaxQueryTextBytes bounds the filter q.
const MaxQueryTextBytes = 200

// readQuery refuses what the route does not know, and what stands twice: a
// filter that is silently ignored shows more than was asked for.
func readQuery(r *http.Request, known []param) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return url.Values{}, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, unreadable("the query of the URL cannot be read: join name=value pairs with & and percent-encode what is special")
	}
	var wrong fieldErrors
	names := make([]string, 0, len(query))
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case !slices.ContainsFunc(known, func(p param) bool { return p.name == name }):
			wrong = wrong.with(shorten(name), cybervault.Errorf(cybervault.CodeInvalid, "is not a query parameter of this call: it knows %s", paramNames(known)))
		case len(query[name]) > 1:
			wrong = wrong.with(name, cybervault.Errorf(cybervault.CodeInvalid, "stands twice in the query"))
		}
	}
	return query, wrong.err()
}

func paramNames(known []param) string {
	if len(known) == 0 {
		return "none"
	}
	names := make([]string, 0, len(known))
	for _, p := range known {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

// The query parameters that several calls share.

func limitParam() param {
	return param{"limit", "How many rows to answer at once.",
		schema{"type": "integer", "minimum": 1, "maximum": cybervault.MaxPageSize, "default": cybervault.DefaultPageSize}}
}

func cursorParam() param {
	return param{"cursor", "The next_cursor of the page before, with the same filters.", schema{"type": "string"}}
}

func sinceParam() param {
	return param{"since", "Only what was stored at or after this moment.", schema{"type": "string", "format": "date-time"}}
}

func untilParam() param {
	return param{"until", "Only what was stored before this moment.", schema{"type": "string", "format": "date-time"}}
}

func textParam() param {
	return param{"q", "Only events with this text anywhere in their envelope, upper and lower case alike.",
		schema{"type": "string", "maxLength": MaxQueryTextBytes}}
}

func searchParam() param {
	return param{"q", "A search: words that stand anywhere in the envelope, upper and lower case alike, and filters such as event:threat.*, severity:>=high, " +
		"data.source_ip:203.0.113.42 and -data.user:root, joined by spaces. All of them must hold.",
		schema{"type": "string", "maxLength": cybervault.MaxSearchLength}}
}

func pageParams() []param { return []param{limitParam(), cursorParam()} }

// filters reads query parameters and gathers what is wrong with them.
type filters struct {
	query url.Values
	wrong fieldErrors
}

// text returns a parameter's value. ok is false where there is none; one that is
// given and empty is wrong, since it would filter nothing.
func (f *filters) text(name string) (value string, ok bool) {
	if !f.query.Has(name) {
		return "", false
	}
	value = f.query.Get(name)
	if value == "" {
		f.refusef(name, "is empty: give a value, or leave it out")
		return "", false
	}
	return value, true
}

func (f *filters) refusef(name, format string, args ...any) {
	f.wrong = f.wrong.with(name, cybervault.Errorf(cybervault.CodeInvalid, format, args...))
}

func (f *filters) time(name string) time.Time {
	value, ok := f.text(name)
	if !ok {
		return time.Time{}
	}
	t, err := readTime(value)
	f.wrong = f.wrong.with(name, err)
	return t
}

// span reads since and until.
func (f *filters) span() (since, until time.Time) {
	since, until = f.time("since"), f.time("until")
	if !since.IsZero() && !until.IsZero() && !since.Before(until) {
		f.refusef("until", "is not after since")
	}
	return since, until
}

func (f *filters) search() string {
	q, _ := f.text("q")
	if len(q) > MaxQueryTextBytes {
		f.refusef("q", "is %d bytes long, more than %d", len(q), MaxQueryTextBytes)
	}
	if strings.ToValidUTF8(q, "") != q || strings.ContainsRune(q, 0) {
		f.refusef("q", "is not valid UTF-8 text")
	}
	return q
}

// events reads q as a search of events.
func (f *filters) events(types []cybervault.EventType) (search cybervault.Search) {
	q, ok := f.text("q")
	if !ok {
		return search
	}
	search, err := cybervault.ParseSearch(q)
	switch known, is := errors.AsType[*cybervault.Error](err); {
	case is && known.Field != "q": // the term that is wrong
		f.refusef("q", "%s", known.Error())
	case err != nil:
		f.wrong = f.wrong.with("q", err)
	case len(search.Terms) == 0:
		f.refusef("q", "is nothing but spaces: give a word, or leave it out")
	case search.Filters():
		search.Severities = make(map[string]cybervault.Severity, len(types))
		for i := range types {
			search.Severities[types[i].Name] = types[i].Severity
		}
	}
	return search
}

// eventChoice checks a name, "threat.*" or "*".
func (f *filters) eventChoice(name, value string) string {
	if value == "*" {
		return value
	}
	checked := value
	if namespace, ok := strings.CutSuffix(value, ".*"); ok {
		checked = namespace + ".x"
	}
	if cybervault.CheckEventTypeName(checked) != nil {
		f.refusef(name, "%q is no event type name, no namespace such as \"threat.*\", and not \"*\"", shorten(value))
	}
	return value
}

func (f *filters) limit() int {
	value, ok := f.text("limit")
	if !ok {
		return cybervault.DefaultPageSize
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > cybervault.MaxPageSize {
		f.refusef("limit", "%q is not a whole number from 1 to %d", shorten(value), cybervault.MaxPageSize)
	}
	return n
}

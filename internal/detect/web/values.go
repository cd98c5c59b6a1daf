package web

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strings"

	"github.com/cybervault/cybervault/internal/detect/decode"
	"github.com/cybervault/cybervault/internal/detect/model"
)

// value is a part of a request that a client fills in freely, as an application
// sees it: a parameter, a cookie, a string in a JSON body.
type value struct {
	where, text string
	suspect     bool // worth a score
	header      bool
}

// Bounds of what is taken apart. What is beyond them the rules see as it is.
const (
	maxValues   = 512
	maxUnzipped = 1 << 20
	maxJSONDeep = 64
)

// values takes a request apart. The order is the request's.
func values(r *Request) []value {
	var v collector
	path, query, _ := strings.Cut(r.Target, "?")
	if plain := decode.Path(path); model.SuspectPath(plain) {
		v.take(value{where: "REQUEST_FILENAME", text: plain, suspect: true})
		for part := range strings.SplitSeq(strings.Trim(plain, "/"), "/") {
			if _, undone := decode.Reveal(part); len(undone) > 0 {
				v.add("REQUEST_FILENAME", part)
			}
		}
	}
	v.form("ARGS_GET", query)
	for _, h := range r.Headers {
		v.header(h[0], h[1])
	}
	if r.Body != "" {
		v.body(contentOf(r), unzipped(r))
	}
	return v.out
}

type collector struct{ out []value }

func (v *collector) take(x value) {
	if len(v.out) < maxValues && x.text != "" {
		v.out = append(v.out, x)
	}
}

func (v *collector) add(where, text string) {
	v.take(value{where: where, text: text, suspect: model.Suspect(text)})
}

// form splits a query or a form. A name is a value of its own where it has signs.
func (v *collector) form(where, s string) {
	for s != "" && len(v.out) < maxValues {
		var pair string
		pair, s, _ = strings.Cut(s, "&")
		name, text, ok := strings.Cut(pair, "=")
		name = decode.Query(name)
		if !ok && model.Suspect(name) {
			v.add(where+"_NAMES", name)
			continue
		}
		if strings.ContainsAny(name, "'\"<>(){};|`\\$\n") {
			v.add(where+"_NAMES", name)
		}
		v.add(where+":"+printable(name, 60), decode.Query(text))
	}
}

// Headers that programs fill in, or that hold what stands elsewhere, too.
var dullHeaders = set("host", "accept", "accept-encoding", "accept-language", "accept-charset", "connection", "content-length", "content-type", "content-encoding",
	"transfer-encoding", "authorization", "proxy-authorization", "if-none-match", "if-modified-since", "if-match", "etag", "date", "range", "cache-control", "pragma", "te",
	"upgrade", "upgrade-insecure-requests", "dnt", "origin", "via", "priority", "keep-alive", "content-security-policy", "traceparent", "tracestate", "x-csrf-token")

func (v *collector) header(name, text string) {
	lower := strings.ToLower(name)
	switch {
	case lower == "cookie":
		for pair := range strings.SplitSeq(text, ";") {
			key, text, _ := strings.Cut(strings.TrimSpace(pair), "=")
			v.take(value{where: "REQUEST_COOKIES:" + printable(key, 60), text: decode.Query(text), suspect: model.SuspectHeader(decode.Query(text)), header: true})
		}
	case dullHeaders[lower] || strings.HasPrefix(lower, "sec-"):
	default:
		v.take(value{where: "REQUEST_HEADERS:" + printable(name, 60), text: text, suspect: model.SuspectHeader(text), header: true})
	}
}

func header(r *Request, name string) string {
	for _, h := range r.Headers {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

// contentOf is the kind of body: as it is declared, or else as it looks.
func contentOf(r *Request) string {
	declared := header(r, "Content-Type")
	kind, params, err := mime.ParseMediaType(declared)
	switch body := strings.TrimSpace(r.Body); {
	case err == nil && kind == "multipart/form-data":
		return "multipart " + params["boundary"]
	case strings.Contains(declared, "json"), declared == "" && (strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[")):
		return "json"
	case strings.Contains(declared, "xml"), declared == "" && strings.HasPrefix(body, "<?xml"):
		return "xml"
	case kind == "application/x-www-form-urlencoded", declared == "" && strings.Contains(body, "=") && !strings.ContainsAny(body, " \n<"):
		return "form"
	}
	return ""
}

// unzipped is the body as the application gets it.
func unzipped(r *Request) string {
	if !strings.EqualFold(header(r, "Content-Encoding"), "gzip") && !strings.HasPrefix(r.Body, "\x1f\x8b") {
		return r.Body
	}
	z, err := gzip.NewReader(strings.NewReader(r.Body))
	if err != nil {
		return r.Body
	}
	out, _ := io.ReadAll(io.LimitReader(z, maxUnzipped)) // of a broken one, what there is
	return string(out)
}

func (v *collector) body(kind, body string) {
	before := len(v.out)
	boundary, isMultipart := strings.CutPrefix(kind, "multipart ")
	switch {
	case isMultipart:
		v.multipart(boundary, body)
	case kind == "json":
		v.json(body)
	case kind == "xml":
		v.xml(body)
	case kind == "form":
		v.form("ARGS_POST", body)
	}
	if len(v.out) == before {
		v.add("REQUEST_BODY", body)
	}
}

func (v *collector) multipart(boundary, body string) {
	parts := multipart.NewReader(strings.NewReader(body), boundary)
	for len(v.out) < maxValues {
		p, err := parts.NextRawPart()
		if err != nil {
			return
		}
		text, err := io.ReadAll(io.LimitReader(p, maxUnzipped))
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return
		}
		if name := p.FileName(); name != "" {
			v.add("FILES:"+printable(p.FormName(), 60), name)
		}
		v.add("ARGS_POST:"+printable(p.FormName(), 60), string(text))
	}
}

// json takes the strings of a JSON body, each with the names that lead to it. A
// name is looked at as well: operators of databases stand there.
func (v *collector) json(body string) {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	type level struct {
		object bool
		name   string
		key    bool // the next token is a name
	}
	var stack []level
	for len(v.out) < maxValues {
		t, err := d.Token()
		if err != nil {
			return
		}
		top := len(stack) - 1
		switch x := t.(type) {
		case json.Delim:
			if x == '}' || x == ']' {
				stack = stack[:max(top, 0)]
				if len(stack) > 0 {
					stack[len(stack)-1].key = stack[len(stack)-1].object
				}
				continue
			}
			if len(stack) >= maxJSONDeep {
				return
			}
			stack = append(stack, level{object: x == '{', key: x == '{'})
			continue
		case string:
			if top >= 0 && stack[top].key {
				stack[top].name, stack[top].key = x, false
				if strings.HasPrefix(x, "$") || strings.HasPrefix(x, "__") || strings.ContainsAny(x, "'\"<>(){};|`\\") {
					v.take(value{where: "ARGS_NAMES", text: `{"` + x + `":""}`, suspect: true})
				}
				continue
			}
			names := make([]string, 0, len(stack))
			for _, l := range stack {
				if l.name != "" {
					names = append(names, l.name)
				}
			}
			v.add("ARGS_POST:json."+printable(strings.Join(names, "."), 60), x)
		}
		if top >= 0 {
			stack[top].key = stack[top].object
		}
	}
}

// xml takes text and attributes. A document type is looked at as a whole: what it
// defines is the attack.
func (v *collector) xml(body string) {
	if strings.Contains(body, "<!DOCTYPE") || strings.Contains(body, "<!ENTITY") || strings.Contains(body, "xi:include") {
		v.add("REQUEST_BODY", body)
	}
	d := xml.NewDecoder(bytes.NewReader([]byte(body)))
	d.Strict = false
	var path []string
	for len(v.out) < maxValues {
		t, err := d.RawToken()
		if err != nil {
			return
		}
		switch x := t.(type) {
		case xml.StartElement:
			if len(path) < maxJSONDeep {
				path = append(path, x.Name.Local)
			}
			for _, a := range x.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" && !strings.HasPrefix(a.Value, "http://schemas.") {
					v.add("XML:@"+printable(a.Name.Local, 60), a.Value)
				}
			}
		case xml.EndElement:
			path = path[:max(len(path)-1, 0)]
		case xml.CharData:
			if text := strings.TrimSpace(string(x)); text != "" {
				v.add("XML:"+printable(strings.Join(path[max(0, len(path)-3):], "."), 60), text)
			}
		}
	}
}

// maxViews bounds the values of a request that the rule set is asked about again.
const (
	maxViews     = 8
	maxViewBytes = 4 << 10
)

// view is what a value holds once encodings are undone that CRS leaves alone.
type view struct{ where, text, encoding string }

func views(vs []value) []view {
	var out []view
	for _, v := range vs {
		if !v.suspect || len(v.text) < 6 || len(v.text) > maxViewBytes || len(out) >= maxViews {
			continue
		}
		text, undone := decode.Reveal(v.text)
		if v.header && len(undone) == 1 && undone[0] == decode.URL {
			continue // the rules undo that much of a header
		}
		if len(undone) > 0 && len(text) <= maxViewBytes && !slices.ContainsFunc(out, func(o view) bool { return o.text == text }) {
			out = append(out, view{v.where, text, decode.Join(undone)})
		}
	}
	return out
}

package telemetry

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/cybervault/cybervault"
)

// jsonDocument gathers one JSON object out of lines. It follows brackets and
// strings only; whether the object is sound JSON is for the decoder to say.
//
// Objects may stand one a line (NDJSON), one after another in any layout
// (pretty-printed), or in one array, itself in any layout.
type jsonDocument struct {
	buf      []byte
	depth    int  // of brackets within the object; 0 between objects
	inString bool // within a string, which never spans lines
	escaped  bool
	array    bool // an array of objects is open around them
	flush    bool // the object began in the first column of its line
	packed   bool // that array is the list of a packing, and the whole may be of any length
	tail     bool // what is open is the rest of a packing, of no interest
	long     bool // over the bound; its rest is followed but not kept
	first    int  // line the object began on
}

func (d *jsonDocument) open() bool { return d.depth > 0 || d.array }

// begins reports whether a line that is read outside any object starts JSON: an
// object, or an array of objects.
func (d *jsonDocument) begins(line []byte) bool {
	s := bytes.TrimLeft(line, " \t\r")
	if len(s) == 0 {
		return false
	}
	if s[0] == '[' {
		rest := bytes.TrimLeft(s[1:], " \t\r")
		return len(rest) == 0 || rest[0] == '{' || rest[0] == ']'
	}
	return s[0] == '{'
}

// abandon forgets a half-read object and everything around it.
func (d *jsonDocument) abandon() {
	*d = jsonDocument{buf: d.buf[:0]}
}

// jsonLine takes in a line that begins or continues JSON, and emits every
// object that it ends.
func (p *parser) jsonLine(line []byte) error {
	d := &p.doc
	if d.depth > 0 && d.flush && len(line) > 0 && line[0] == '{' {
		// An object that begins in the first column while another, begun there
		// too, is open: that one was cut off. Pretty-printed objects indent.
		p.brokenJSON("the JSON object was cut off before its end")
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		if d.depth == 0 {
			switch c {
			case ' ', '\t', '\r':
			case '[':
				d.array = true
			case ',':
			case ']':
				if d.array = false; d.packed {
					d.buf, d.packed, d.tail, d.depth, d.flush, d.first = d.buf[:0], false, true, 1, false, p.line
				}
			case '{':
				// Most objects lie within their line and are read where they are.
				if n := nestedEnd(line[i:]); n > 0 {
					if err := p.jsonObject(line[i:i+n], p.line); err != nil {
						return err
					}
					i += n - 1
					continue
				}
				d.buf, d.depth, d.first, d.flush, d.long = append(d.buf[:0], c), 1, p.line, i == 0 && !d.packed, false
			default:
				d.abandon()
				p.unreadable(p.line, "a JSON object was expected", line[i:])
				return nil
			}
			continue
		}
		switch {
		case d.tail:
		case len(d.buf) < p.opts.MaxLine:
			d.buf = append(d.buf, c)
		default:
			d.long = true
		}
		if d.inString {
			switch {
			case d.escaped:
				d.escaped = false
			case c == '\\':
				d.escaped = true
			case c == '"':
				d.inString = false
			}
			continue
		}
		switch c {
		case '"':
			d.inString = true
		case '{', '[':
			d.depth++
		case '}', ']':
			d.depth--
			if d.depth == 0 {
				if err := p.gathered(); err != nil {
					return err
				}
			}
		}
	}
	switch {
	case p.partial:
	case d.depth > 0 && d.inString:
		p.brokenJSON("a JSON string does not end on its line")
	case d.depth > 0 && len(d.buf) < p.opts.MaxLine:
		d.buf = append(d.buf, '\n')
	}
	return nil
}

func (p *parser) brokenJSON(reason string) {
	array, packed := p.doc.array, p.doc.packed
	p.unreadable(p.doc.first, reason, p.doc.buf)
	p.doc.abandon()
	p.doc.array, p.doc.packed = array, packed
}

// finish accounts for what the input ended within.
func (p *parser) finish() error {
	if p.doc.depth > 0 {
		p.brokenJSON("the JSON object was cut off before its end")
	}
	if p.pieces {
		return nil // the next piece may hold the rest of an event
	}
	return p.auditFlush()
}

// gathered reads the object just gathered.
func (p *parser) gathered() error {
	d := &p.doc
	if d.tail {
		d.tail = false
		return nil
	}
	if d.long {
		p.unreadable(d.first, "a JSON object of at most "+itoa(p.opts.MaxLine)+" bytes was expected", d.buf)
		return nil
	}
	return p.jsonObject(d.buf, d.first)
}

// jsonObject reads an object that began on the line given.
func (p *parser) jsonObject(b []byte, line int) error {
	rec, reason, err := p.object(string(b), line)
	if err != nil || rec == nil && reason == "" {
		return err
	}
	if rec == nil {
		p.unreadable(line, reason, b)
		return nil
	}
	return p.emit(rec, b, line)
}

// object reads an object. It returns neither a record nor a reason where the
// object was a list of records, which have been handed on.
func (p *parser) object(src string, line int) (*cybervault.Record, string, error) {
	if p.opts.Format == FormatAccess {
		return nil, "an access-log line was expected, not JSON", nil
	}
	if reason := p.json.scan(src); reason != "" {
		return nil, "not sound JSON: " + reason, nil
	}
	if list, ok := p.list(); ok {
		return nil, "", p.elements(list.text, line+strings.Count(src[:list.at], "\n"))
	}
	rec, reason := p.jsonRecord(src)
	if rec != nil {
		if reason = toldOtherwise(p.opts.Format, rec); reason != "" {
			rec = nil
		}
	}
	return rec, reason, nil
}

// members decodes the object for the sources that need it in its own structure.
func members(src string) (jsonObject, string) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(src), &fields); err != nil {
		return nil, "not sound JSON: " + err.Error()
	}
	return jsonObject(fields), ""
}

// jsonObject is a decoded object whose values are decoded when asked for.
type jsonObject map[string]json.RawMessage

// str returns the first of the named members that is a string, or a number or
// boolean in its own spelling; "" where there is none.
func (o jsonObject) str(names ...string) string {
	for _, n := range names {
		raw, ok := o[n]
		if !ok || len(raw) == 0 {
			continue
		}
		switch raw[0] {
		case '"':
			var s string
			if json.Unmarshal(raw, &s) == nil && s != "" {
				return s
			}
		case '{', '[', 'n':
		default:
			return string(raw)
		}
	}
	return ""
}

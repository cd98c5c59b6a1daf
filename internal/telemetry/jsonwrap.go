package telemetry

import (
	"bufio"
	"bytes"
	"regexp"
	"strings"

	"github.com/cybervault/cybervault"
)

// maxWrapping bounds how many layers of packing are taken off a record.
const maxWrapping = 3

// Members that hold a list of records. Those of recordLists always do; those of
// plainLists in an object that says hardly anything else.
var (
	recordLists = []string{"Records", "records", "logEvents"}
	plainLists  = []string{"value", "Events", "events", "items", "entries", "logs", "data", "results"}
)

// Members that hold a record, as text that is JSON or a log line, or as an
// object: those of Filebeat, Fluent Bit, Docker, CloudWatch, Vector, EventBridge,
// Elasticsearch, Splunk and Cloud Logging.
var (
	wrappedTexts   = []string{"log", "message", "@message", "msg", "CloudTrailEvent", "event.original", "_raw", "line", "textPayload"}
	wrappedObjects = []string{"_source", "detail", "result", "jsonPayload", "log", "message"}
)

// packingHead is how a file of CloudTrail or of Azure Monitor begins.
var packingHead = regexp.MustCompile(`^\x{FEFF}?[ \t\r\n]*\{[ \t\r\n]*"[Rr]ecords"[ \t\r\n]*:[ \t\r\n]*\[`)

// openPacking takes the packing off an input that is one long list of records,
// which is read record by record then, since such files are longer than a
// document may be. It returns how many bytes it read.
func (p *parser) openPacking(in *bufio.Reader) int64 {
	head, _ := in.Peek(256)
	end := packingHead.FindIndex(head)
	if end == nil {
		return 0
	}
	p.line += bytes.Count(head[:end[1]], []byte("\n"))
	p.doc.array, p.doc.packed = true, true
	n, _ := in.Discard(end[1])
	return int64(n)
}

// list returns the list of records that the object just scanned is the packing
// of.
func (p *parser) list() (jsonPart, bool) {
	if len(p.json.parts) == 0 || p.nested >= maxWrapping {
		return jsonPart{}, false
	}
	for _, name := range recordLists {
		if list := p.json.part(name); strings.HasPrefix(list.text, "[") {
			return list, true
		}
	}
	for _, name := range plainLists {
		list := p.json.part(name)
		if !strings.HasPrefix(list.text, "[") || !strings.HasPrefix(strings.TrimLeft(list.text[1:], " \t\r\n"), "{") {
			continue
		}
		others := 0
		for i := range p.json.values {
			if !strings.HasPrefix(p.json.values[i].name, name+".") {
				others++
			}
		}
		return list, others <= 3
	}
	return jsonPart{}, false
}

// elements reads the records of a list, whose object began on the line given.
func (p *parser) elements(list string, line int) error {
	p.nested++
	defer func() { p.nested-- }()
	b := []byte(list[1 : len(list)-1])
	for len(b) > 0 {
		switch b[0] {
		case '\n':
			line++
			b = b[1:]
		case ' ', '\t', '\r', ',':
			b = b[1:]
		case '{':
			n := nestedEnd(b)
			if err := p.jsonObject(b[:n], line); err != nil {
				return err
			}
			for _, c := range b[:n] {
				if c == '\n' {
					line++
				}
			}
			b = b[n:]
		default:
			p.unreadable(line, "a list of JSON objects was expected", b)
			return nil
		}
	}
	return nil
}

// wrapped returns the text of the record that the object just scanned is the
// packing of, and whether it is an object there rather than text; "" if it is none.
func (p *parser) wrapped() (inner string, whole bool) {
	if p.nested >= maxWrapping {
		return "", false
	}
	for _, name := range wrappedObjects {
		if text := p.json.part(name).text; strings.HasPrefix(text, "{") && len(text) > 2 {
			return text, name != "_source"
		}
	}
	for _, name := range wrappedTexts {
		if text := strings.TrimSpace(p.json.get(name)); len(text) > 1 {
			return text, false
		}
	}
	return "", false
}

// unwrap reads the record within. What is packed in a way that is not known is
// a record of its packing.
func (p *parser) unwrap(inner string, whole bool, outer *cybervault.Record) *cybervault.Record {
	p.nested++
	defer func() { p.nested-- }()
	var rec *cybervault.Record
	if inner[0] == '{' {
		if reason := p.json.scan(inner); reason == "" {
			rec, _ = p.jsonRecord(inner)
		}
	} else {
		rec, _ = p.text(inner)
	}
	// An object within an object is what the outer one is about only if it is
	// known for something; any member could be called result.
	known := rec != nil && (rec.Product != "" || rec.Category != "")
	if rec == nil || whole && !known {
		return outer
	}
	if rec.Time.IsZero() {
		rec.Time = outer.Time
	}
	if rec.Host == "" {
		rec.Host = outer.Host
	}
	if rec.User == "" && !known {
		rec.User = outer.User
	}
	if rec.SourceIP == "" && !known {
		rec.SourceIP = outer.SourceIP
	}
	return rec
}

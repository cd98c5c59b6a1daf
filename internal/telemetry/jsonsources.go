package telemetry

import (
	"github.com/cybervault/cybervault"
)

// jsonMarks says which telling names an object has.
type jsonMarks uint64

const (
	markMessage jsonMarks = 1 << iota // journald's MESSAGE
	markURL
	markEVTX
	markWinlogbeat
	markEventID
	markChannel
	markProvider
)

// marksOf maps the names that tell one source from another. A source is known
// by a combination that no other has.
func marksOf(name string) jsonMarks {
	switch name {
	case "MESSAGE":
		return markMessage
	case "url", "uri":
		return markURL
	case "Event.System.EventID", "Event.System.EventID.#text", "System.EventID", "System.EventID.#text":
		return markEVTX
	case "winlog.channel", "winlog.event_id", "log_name":
		return markWinlogbeat
	case "EventID", "EventCode", "event_id", "Id":
		return markEventID
	case "Channel", "LogName":
		return markChannel
	case "SourceName", "ProviderName", "Provider_Name", "EventSourceName":
		return markProvider
	}
	return 0
}

// jsonRecord tells which source the object just scanned is of, and reads it.
func (p *parser) jsonRecord(src string) (*cybervault.Record, string) {
	var m jsonMarks
	for i := range p.json.values {
		m |= marksOf(p.json.values[i].name)
	}
	if p.json.short {
		p.sum.Shortened++
	}
	has := func(all jsonMarks) bool { return m&all == all }
	switch {
	case p.opts.Format == FormatHTTP, p.opts.Format == FormatSyslog, m&markMessage != 0, m&markURL != 0 && m&^markURL == 0:
		o, reason := members(src)
		if reason != "" {
			return nil, reason
		}
		if p.opts.Format == FormatHTTP || p.opts.Format != FormatSyslog && m&markMessage == 0 {
			return p.httpRequest(o)
		}
		return p.journald(o)
	case has(markEVTX), has(markWinlogbeat), has(markEventID | markChannel), has(markEventID | markProvider):
		return p.windows(m)
	}
	return p.generic()
}

// generic reads an object of no known source: its values under their own names.
func (p *parser) generic() (*cybervault.Record, string) {
	return p.json.record(), ""
}

// record makes a record of what was scanned: a name that has several values goes
// to Multi. Room is left for a source's own names.
func (s *jsonScan) record() *cybervault.Record {
	f := make(map[string]string, len(s.values)+8)
	rec := &cybervault.Record{Fields: f}
	for i := range s.values {
		v := &s.values[i]
		if v.name == "" {
			continue
		}
		if many, ok := rec.Multi[v.name]; ok {
			rec.Multi[v.name] = append(many, v.value)
			continue
		}
		before := len(f)
		f[v.name] = v.value
		if len(f) > before {
			continue
		}
		if rec.Multi == nil {
			rec.Multi = make(map[string][]string)
		}
		delete(f, v.name)
		rec.Multi[v.name] = []string{s.get(v.name), v.value}
	}
	return rec
}

// alias gives the first of the names that has a value another name, unless that
// is taken.
func alias(f map[string]string, to string, from ...string) {
	if _, ok := f[to]; ok {
		return
	}
	for _, name := range from {
		if v, ok := f[name]; ok && v != "" && v != "-" {
			f[to] = v
			return
		}
	}
}

// first returns the first of the named fields that says something.
func first(f map[string]string, names ...string) string {
	for _, name := range names {
		if v := f[name]; v != "" && v != "-" {
			return v
		}
	}
	return ""
}

// firstAddress returns the first of the named fields that is an IP address, in
// its usual form.
func firstAddress(f map[string]string, names ...string) string {
	for _, name := range names {
		if v := f[name]; v != "" && v != "-" {
			if ip, ok := address(v); ok {
				return ip
			}
		}
	}
	return ""
}

package telemetry

import (
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// maxPairs bounds the fields that one line may make.
const maxPairs = 256

// pairs calls each with every name=value of s. A value ends with the next space,
// or stands in quotes, within which a backslash escapes the quote. What is
// between the pairs is passed over.
func pairs(s string, each func(name, value string, quoted bool)) {
	for range maxPairs {
		eq := strings.IndexByte(s, '=')
		if eq < 0 {
			return
		}
		name := s[strings.LastIndexAny(s[:eq], " \t\x1d,;({")+1 : eq]
		s = s[eq+1:]
		var value string
		quoted := s != "" && (s[0] == '"' || s[0] == '\'')
		if quoted {
			var ok bool
			if value, s, ok = untilQuote(s[1:], s[0]); !ok {
				return
			}
		} else {
			end := strings.IndexAny(s, " \t\x1d")
			if end < 0 {
				end = len(s)
			}
			value, s = s[:end], s[end:]
		}
		if fieldName(name) {
			each(name, value, quoted)
		}
	}
}

// untilQuote cuts s behind the quote that ends it, and undoes the escapes before.
func untilQuote(s string, quote byte) (value, rest string, ok bool) {
	var b strings.Builder
	start := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == quote:
			if start == 0 {
				return s[:i], s[i+1:], true
			}
			b.WriteString(s[start:i])
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == quote || s[i+1] == '\\'):
			b.WriteString(s[start:i])
			i++
			start = i
		}
	}
	return "", s, false
}

// fieldName reports whether s may be the name of a field.
func fieldName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("_.-/[]", c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

// values gathers fields of which some come several times, as a Record wants them.
type values struct {
	one  map[string]string
	many map[string][]string
}

func newValues() *values { return &values{one: make(map[string]string, 24)} }

// add keeps a value beside those that its name has; the same one again is no second.
func (v *values) add(name, value string) {
	have, ok := v.one[name]
	switch {
	case v.many[name] != nil:
		if len(v.many[name]) < maxPairs && !slices.Contains(v.many[name], value) {
			v.many[name] = append(v.many[name], value)
		}
	case !ok:
		v.one[name] = value
	case have != value:
		if v.many == nil {
			v.many = map[string][]string{}
		}
		v.many[name] = []string{have, value}
		delete(v.one, name)
	}
}

// logfmt reads a line of name=value pairs, as programs write that log for
// machines: at least three of them, the first at its start.
func (p *parser) logfmt(s string) *cybervault.Record {
	head, _, ok := strings.Cut(s, "=")
	if !ok || !fieldName(head) {
		return nil
	}
	v, n := newValues(), 0
	pairs(s, func(name, value string, _ bool) {
		v.add(name, value)
		n++
	})
	if n < 3 {
		return nil
	}
	rec := &cybervault.Record{Fields: v.one, Multi: v.many}
	f := rec.Fields
	for _, name := range []string{"time", "ts", "timestamp", "t"} {
		if t, ok := p.anyTime(f[name]); ok {
			rec.Time = t
			break
		}
	}
	if f[cybervault.FieldMessage] == "" {
		set(f, cybervault.FieldMessage, f["msg"])
	}
	rec.Host = first(f, "host", "hostname", "devname")
	rec.Service = first(f, "service", "app", "program", "component", "logger")
	set(f, cybervault.FieldSourceIP, ipOf(f, "src_ip", "srcip", "client_ip", "remote_addr", "remote_ip", "source_ip", "src", "client", "remote", "ip"))
	set(f, cybervault.FieldUser, first(f, "user", "username", "usr", "suser", "account", "login"))
	toldOf(rec)
	return rec
}

// ipOf is the first of the named fields that is an address, in canonical form.
func ipOf(f map[string]string, names ...string) string {
	for _, n := range names {
		if ip, ok := address(f[n]); ok {
			return ip
		}
	}
	return ""
}

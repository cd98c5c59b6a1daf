package telemetry

import "github.com/cybervault/cybervault"

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

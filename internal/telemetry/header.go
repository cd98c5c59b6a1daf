package telemetry

import (
	"strings"

	"github.com/cybervault/cybervault"
)

// header reads a line with a header of its own: CEF
// ("CEF:0|vendor|product|version|id|name|severity|extension") or LEEF
// ("LEEF:1.0|vendor|product|version|id|", tabs or a character that 2.0 names
// between the attributes).
func header(s string) *cybervault.Record {
	if rest, ok := strings.CutPrefix(s, "CEF:"); ok {
		return cef(rest)
	}
	if rest, ok := strings.CutPrefix(s, "LEEF:"); ok {
		return leef(rest)
	}
	return nil
}

// cutHeader cuts s at n bars, and undoes the escapes before.
func cutHeader(s string, n int) (parts []string, rest string) {
	start := 0
	for i := 0; i < len(s) && len(parts) < n; i++ {
		switch s[i] {
		case '\\':
			i++
		case '|':
			parts = append(parts, unescapeCEF.Replace(s[start:i]))
			start = i + 1
		}
	}
	return parts, s[start:]
}

var unescapeCEF = strings.NewReplacer(`\\`, `\`, `\|`, `|`, `\=`, `=`, `\n`, "\n", `\r`, "\r")

func cef(s string) *cybervault.Record {
	parts, rest := cutHeader(s, 7)
	if len(parts) < 7 {
		return nil
	}
	f := map[string]string{}
	for i, name := range []string{"cef_version", "device_vendor", "device_product", "device_version", "device_event_class_id", "name", "severity"} {
		set(f, name, parts[i])
	}
	rec := &cybervault.Record{Product: logWord(parts[1]), Service: logWord(parts[2]), Fields: f}
	extension(f, rest)
	return vendor(rec, parts[5])
}

// extension reads "src=192.0.2.7 msg=a text with spaces act=blocked": a value
// ends where the next name begins.
func extension(f map[string]string, s string) {
	for range maxPairs {
		eq := unescapedEqual(s)
		if eq < 0 {
			return
		}
		name := strings.TrimSpace(s[:eq])
		s = s[eq+1:]
		end, next := len(s), unescapedEqual(s)
		if next >= 0 {
			if space := strings.LastIndexByte(s[:next], ' '); space >= 0 {
				end = space
			}
		}
		if fieldName(name) {
			set(f, name, unescapeCEF.Replace(strings.TrimSpace(s[:end])))
		}
		if end == len(s) {
			return
		}
		s = s[end+1:]
	}
}

func unescapedEqual(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '=':
			return i
		}
	}
	return -1
}

func leef(s string) *cybervault.Record {
	parts, rest := cutHeader(s, 5)
	if len(parts) < 5 {
		return nil
	}
	f := map[string]string{}
	for i, name := range []string{"leef_version", "device_vendor", "device_product", "device_version", "device_event_class_id"} {
		set(f, name, parts[i])
	}
	between := "\t"
	if strings.HasPrefix(parts[0], "2") {
		if delimiter, after, ok := strings.Cut(rest, "|"); ok && len(delimiter) <= 6 && !strings.Contains(delimiter, "=") {
			rest = after
			if b := unhex(strings.TrimPrefix(strings.TrimPrefix(delimiter, "0x"), "x")); len(delimiter) > 1 && len(b) == 1 {
				between = b
			} else if len(delimiter) == 1 {
				between = delimiter
			}
		}
	}
	n := 0
	for item := range strings.SplitSeq(rest, between) {
		name, value, ok := strings.Cut(item, "=")
		if name = strings.TrimSpace(name); ok && fieldName(name) && n < maxPairs {
			set(f, name, value)
			n++
		}
	}
	return vendor(&cybervault.Record{Product: logWord(parts[1]), Service: logWord(parts[2]), Fields: f}, "")
}

// vendor sets what every record has, out of the dictionary that CEF and LEEF share.
func vendor(rec *cybervault.Record, name string) *cybervault.Record {
	f := rec.Fields
	set(f, cybervault.FieldSourceIP, ipOf(f, "src", "sourceAddress", "c6a2"))
	set(f, "dst_ip", ipOf(f, "dst", "destinationAddress", "c6a3"))
	set(f, cybervault.FieldSourcePort, first(f, "spt", "srcPort"))
	set(f, "dst_port", first(f, "dpt", "dstPort"))
	set(f, cybervault.FieldUser, first(f, "duser", "suser", "usrName", "user"))
	set(f, fieldAction, first(f, "act", "action"))
	rec.Host = first(f, "dvchost", "dvc", "shost", "identHostName")
	message := first(f, "msg", cybervault.FieldMessage)
	if message == "" {
		message = name
	}
	set(f, cybervault.FieldMessage, message)
	said := strings.ToLower(first(f, "outcome", "eventOutcome"))
	delete(f, cybervault.FieldOutcome)
	switch {
	case strings.HasPrefix(said, "succ"), strings.HasPrefix(said, "/succ"):
		f[cybervault.FieldOutcome] = cybervault.OutcomeSuccess
	case strings.HasPrefix(said, "fail"), strings.HasPrefix(said, "/fail"):
		f[cybervault.FieldOutcome] = cybervault.OutcomeFailure
	default:
		loginWords(rec, strings.Join([]string{name, f[cybervault.FieldMessage]}, " "))
	}
	return rec
}

// logWord makes a vendor's or a product's name a word as Sigma's log sources have them.
func logWord(s string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), " ", "_")
}

package telemetry

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// syslog reads a line of the system log: RFC 3164 as it is written to files
// ("Jan  2 15:04:05 host program[pid]: message", the priority, the host and the
// time optional as sshd's own variants have it), lines stamped with RFC 3339 as
// rsyslog and journalctl -o short-iso write them, and RFC 5424.
func (p *parser) syslog(s string) (*cybervault.Record, string) {
	const want = "a syslog line was expected: time host program[pid]: message"
	s = cutPriority(s)
	if rest, ok := strings.CutPrefix(s, "1 "); ok {
		if rec := p.rfc5424(rest); rec != nil {
			return rec, ""
		}
	}
	at, rest, ok := p.stamp(s)
	if !ok {
		at, rest = time.Time{}, s
	}
	if rec := taglessHeader(at, rest); ok && rec != nil {
		return rec, ""
	}
	host, program, pid, message, found := cutTag(rest)
	if !found || !ok && !isSSHD(program) {
		return nil, want
	}
	rec := p.logEntry(at, host, program, pid, message)
	if f := rec.Fields; pid == "" && f[cybervault.FieldOutcome] == "" && f[cybervault.FieldMessage] == message && rec.Service == program {
		loginWords(rec, rest) // "Failed Login: …" is no program on a host
	}
	return rec, ""
}

// taglessHeader reads CEF and LEEF behind "time host", as most devices send them.
func taglessHeader(at time.Time, s string) *cybervault.Record {
	host, rest, ok := strings.Cut(s, " ")
	if strings.HasPrefix(s, "CEF:") || strings.HasPrefix(s, "LEEF:") {
		host, rest, ok = "", s, true
	}
	if !ok {
		return nil
	}
	rec := header(rest)
	if rec != nil {
		rec.Time = at
		if host != "" {
			rec.Host = host
		}
	}
	return rec
}

// logEntry makes the record of one entry of the system log.
func (p *parser) logEntry(at time.Time, host, program, pid, message string) *cybervault.Record {
	if rec := p.accessEntry(host, program, message); rec != nil {
		return rec
	}
	f := make(map[string]string, 12)
	set(f, cybervault.FieldProgram, program)
	set(f, cybervault.FieldPID, pid)
	f[cybervault.FieldMessage] = message
	rec := &cybervault.Record{Product: "linux", Service: program, Time: at, Host: host, Fields: f}
	if isSSHD(program) {
		rec.Service = "sshd"
		p.sshd.read(rec)
	} else {
		entry(rec, program, message)
	}
	return rec
}

// accessEntry makes the record of a web server's access log that goes by way of
// the system log. Only its own name in front makes it one: other programs quote
// requests, too.
func (p *parser) accessEntry(host, program, message string) *cybervault.Record {
	switch program {
	case "nginx", "apache", "apache2", "httpd", "httpd_access_log", "apache_access", "nginx_access", "caddy", "lighttpd":
	default:
		return nil
	}
	rec, _ := p.access(message)
	if rec != nil && rec.Host == "" {
		rec.Host = host
	}
	return rec
}

// isSSHD knows the names that parts of OpenSSH 9.8 and later log under, too.
func isSSHD(program string) bool {
	return program == "sshd" || program == "sshd-session" || program == "sshd-auth"
}

func cutPriority(s string) string {
	if len(s) > 2 && s[0] == '<' {
		if end := strings.IndexByte(s[:min(len(s), 5)], '>'); end > 1 && digits(s[1:end]) {
			return s[end+1:]
		}
	}
	return s
}

// stamp reads the time that a line starts with and returns what follows it.
func (p *parser) stamp(s string) (time.Time, string, bool) {
	if len(s) > 19 && s[0] >= '0' && s[0] <= '9' {
		return p.dateStamp(s)
	}
	if len(s) > 19 && s[0] == '[' {
		return p.bracketStamp(s)
	}
	if len(s) > 24 && s[3] == ' ' && weekdays[s[:3]] {
		return p.ctimeStamp(s)
	}
	// "Jan  2 15:04:05", the day with or without the padding that RFC 3164 wants.
	if len(s) < 14 || s[3] != ' ' {
		return time.Time{}, "", false
	}
	rest := strings.TrimLeft(s[4:], " ")
	day, rest, ok := strings.Cut(rest, " ")
	if !ok || len(day) > 2 || !digits(day) {
		return time.Time{}, "", false
	}
	clock, rest, ok := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if year, after, found := strings.Cut(rest, " "); found && len(clock) == 4 && digits(clock) { // "Jan 2 2026 15:04:05"
		clock, rest, _ = year, after, ok
		t, err := time.ParseInLocation("Jan 2 2006 15:04:05.999999999", s[:3]+" "+day+" "+strings.Fields(s)[2]+" "+clock, p.opts.Location)
		return t.UTC(), rest, err == nil && inRange(t)
	}
	if !ok {
		return time.Time{}, "", false
	}
	t, ok := p.yearless(s[:3] + " " + day + " " + clock)
	return t, strings.TrimLeft(rest, " "), ok
}

var weekdays = map[string]bool{"Mon": true, "Tue": true, "Wed": true, "Thu": true, "Fri": true, "Sat": true, "Sun": true}

// ctimeStamp reads "Mon Jan  2 15:04:05 2026", as C writes it.
func (p *parser) ctimeStamp(s string) (time.Time, string, bool) {
	var parts [5]string
	for i := range parts {
		parts[i], s, _ = strings.Cut(strings.TrimLeft(s, " "), " ")
	}
	t, err := time.ParseInLocation("Jan 2 15:04:05.999999999 2006", strings.Join(parts[1:], " "), p.opts.Location)
	return t.UTC(), s, err == nil && inRange(t)
}

// dateStamp reads a time that starts with its year: date and clock joined by a T
// or by spaces, and a colon or a bar behind them or not.
func (p *parser) dateStamp(s string) (time.Time, string, bool) {
	head, rest, _ := strings.Cut(s, " ")
	if len(head) == 10 {
		clock, after, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		if strings.IndexByte(clock, ':') == 1 {
			clock = "0" + clock
		}
		head, rest = head+" "+clock, after
	}
	if bar := strings.IndexByte(head, '|'); bar > 0 {
		head, rest = head[:bar], head[bar+1:]+" "+rest
	}
	head = strings.TrimSuffix(head, ":")
	if t, ok := p.anyTime(strings.Replace(head, ",", ".", 1)); ok && strings.IndexByte(head, '-') == 4 {
		return t, rest, true
	}
	return time.Time{}, "", false
}

// bracketStamp reads a time in brackets, as applications write their own logs:
// "[2026-01-02 15:04:05 +0100] …", "[Jan  2 15:04:05] …".
func (p *parser) bracketStamp(s string) (time.Time, string, bool) {
	end := strings.IndexByte(s[:min(len(s), 48)], ']')
	if end < 0 {
		return time.Time{}, "", false
	}
	inner, rest := s[1:end], strings.TrimPrefix(s[end+1:], " ")
	if inner[0] >= '0' && inner[0] <= '9' {
		if t, ok := p.anyTime(strings.Replace(inner, ",", ".", 1)); ok && strings.IndexByte(inner, '-') == 4 {
			return t, rest, true
		}
		rest = strings.TrimPrefix(rest, ": ") // as PHP and Kerio write it
		for _, layout := range []string{"02-Jan-2006 15:04:05 -0700", "02-Jan-2006 15:04:05 MST", "02/Jan/2006 15:04:05"} {
			if t, err := time.ParseInLocation(layout, inner, p.opts.Location); err == nil && inRange(t) {
				return t.UTC(), rest, true
			}
		}
		return time.Time{}, "", false
	}
	if len(inner) < 15 || inner[0] == '[' || weekdays[inner[:3]] { // with a weekday it is Apache's error log
		return time.Time{}, "", false
	}
	t, after, ok := p.stamp(inner + " -")
	return t, rest, ok && after == "-"
}

// yearless gives a stamp without a year the latest year that does not put it
// more than a day into the future: a log is written before it is read, and
// clocks and zones differ by less than a day.
func (p *parser) yearless(s string) (time.Time, bool) {
	latest := p.now.Add(24 * time.Hour)
	for year := latest.In(p.opts.Location).Year(); year > latest.Year()-9; year-- { // nine: a 29 February may be that far back
		t, err := time.ParseInLocation("2006 Jan 2 15:04:05.999999999", strconv.Itoa(year)+" "+s, p.opts.Location)
		if err == nil && !t.After(latest) {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// tag is "host program[pid]: message"; the host may be missing, the program may
// stand in brackets of its own, and the colon after those may be missing, too.
var tag = regexp.MustCompile(`^(?:([^\s:\[\]]+) )?(?:([A-Za-z/][\w./-]*)(?:\([\w-]*\))?(?:\[(\d+)\])?:|\[([A-Za-z][\w./-]*)\]:?) ?(.*)$`)

func cutTag(s string) (host, program, pid, message string, ok bool) {
	m := tag.FindStringSubmatch(s)
	if m == nil {
		return "", "", "", "", false
	}
	program = m[2] + m[4]
	if slash := strings.LastIndexByte(program, '/'); slash >= 0 && program[:1] == "/" {
		program = program[slash+1:]
	}
	message = m[5]
	if strings.HasPrefix(message, "[ID ") { // Solaris puts a message id first
		if _, after, found := strings.Cut(message, "] "); found {
			message = after
		}
	}
	return m[1], program, m[3], message, true
}

// rfc5424 reads what follows the version: time, host, program, process, message
// id, structured data, message.
func (p *parser) rfc5424(s string) *cybervault.Record {
	var head [5]string
	for i := range head {
		var ok bool
		if head[i], s, ok = strings.Cut(s, " "); !ok {
			return nil
		}
	}
	var at time.Time
	if head[0] != "-" {
		var ok bool
		if at, ok = p.anyTime(head[0]); !ok {
			return nil
		}
	}
	message, ok := cutStructuredData(s)
	if !ok {
		return nil
	}
	for i := range head {
		if head[i] == "-" {
			head[i] = ""
		}
	}
	return p.logEntry(at, head[1], head[2], head[3], strings.TrimPrefix(message, "\xef\xbb\xbf"))
}

// cutStructuredData skips "-" or any number of [id name="value" …], in whose
// values the characters " \ and ] are escaped (RFC 5424, section 6.3.3).
func cutStructuredData(s string) (string, bool) {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return strings.TrimPrefix(rest, " "), true
	}
	if s == "" || s[0] != '[' {
		return "", false
	}
	inValue := false
	for i := 0; i < len(s); i++ {
		switch {
		case inValue && s[i] == '\\':
			i++
		case s[i] == '"':
			inValue = !inValue
		case s[i] == ']' && !inValue:
			if i+1 == len(s) || s[i+1] != '[' {
				return strings.TrimPrefix(s[i+1:], " "), true
			}
		}
	}
	return "", false
}

// journald reads an entry as journalctl -o json writes it.
func (p *parser) journald(o jsonObject) (*cybervault.Record, string) {
	message := o.str("MESSAGE")
	if message == "" {
		// Journald writes text that is not UTF-8 as a list of bytes.
		var list []byte
		var numbers []int
		if json.Unmarshal(o["MESSAGE"], &numbers) != nil {
			return nil, "a journald entry needs MESSAGE, as text or as a list of bytes"
		}
		for _, n := range numbers {
			if n < 0 || n > 255 {
				return nil, "MESSAGE as a list must hold bytes"
			}
			list = append(list, byte(n))
		}
		message = string(list)
	}
	program := o.str("SYSLOG_IDENTIFIER", "_COMM")
	if program == "" {
		return nil, "a journald entry needs SYSLOG_IDENTIFIER or _COMM"
	}
	var at time.Time
	if us := o.str("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"); us != "" {
		n, err := strconv.ParseInt(us, 10, 64)
		if err != nil || !inRange(time.UnixMicro(n).UTC()) {
			return nil, "__REALTIME_TIMESTAMP must be microseconds since 1970"
		}
		at = time.UnixMicro(n).UTC()
	}
	return p.logEntry(at, o.str("_HOSTNAME"), program, o.str("_PID", "SYSLOG_PID"), message), ""
}

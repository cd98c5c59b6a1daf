package telemetry

import (
	"regexp"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// nginxError is "2026/03/10 08:00:00 [error] 12#13: *45 message, client: …, server: …, request: "…", host: "…"".
var nginxError = regexp.MustCompile(`^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(\w+)\] (\d+)#\d+: (?:\*\d+ )?(.*)$`)

// apacheError is "[Tue Mar 10 08:00:00.123456 2026] [module:level] [pid 1:tid 2] [client 192.0.2.7:4711] message".
var apacheError = regexp.MustCompile(`^\[\w{3} (\w{3} \d\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4})\] \[(?:([\w-]*):)?(\w+)\] (?:\[pid (\d+)(?::tid \w+)?\] )?(?:\[(?:client|remote) ([^\]\s]+)\] )?(.*)$`)

// nginxTail are the parts that nginx puts behind its message, in their order.
// The message may hold what a client chose, so they are sought from the end.
var nginxTail = []struct{ mark, field string }{
	{`, referrer: "`, cybervault.FieldWebReferer}, {`, host: "`, cybervault.FieldWebHost}, {`, upstream: "`, "upstream"}, {`, subrequest: "`, "subrequest"}, {`, request: "`, "request"},
	{`, login: "`, cybervault.FieldUser}, {`, server: `, "server"}, {`, client: `, cybervault.FieldClientIP},
}

// webError reads a line of nginx's or Apache's error log. It is no request of
// its own: that stands in the access log, too.
func (p *parser) webError(s string) *cybervault.Record {
	if m := nginxError.FindStringSubmatch(s); m != nil {
		at, err := time.ParseInLocation("2006/01/02 15:04:05", m[1], p.opts.Location)
		if err != nil || !inRange(at) {
			return nil
		}
		return nginxEntry(at.UTC(), m[2], m[3], m[4])
	}
	m := apacheError.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	at, err := time.ParseInLocation("Jan 02 15:04:05.999999999 2006", m[1], p.opts.Location)
	if err != nil || !inRange(at) {
		return nil
	}
	f := map[string]string{"level": m[3], cybervault.FieldMessage: m[6]}
	set(f, "module", m[2])
	set(f, cybervault.FieldPID, m[4])
	if ip, ok := address(m[5]); ok {
		f[cybervault.FieldSourceIP] = ip
	} else {
		set(f, cybervault.FieldSourceName, m[5])
	}
	rec := &cybervault.Record{Product: "apache", Service: "apache", Time: at.UTC(), Fields: f}
	loginWords(rec, m[6])
	return rec
}

func nginxEntry(at time.Time, level, pid, message string) *cybervault.Record {
	f := map[string]string{"level": level, cybervault.FieldPID: pid, cybervault.FieldMessage: message}
	rec := &cybervault.Record{Product: "nginx", Service: "nginx", Time: at, Fields: f}
	for _, t := range nginxTail {
		i := strings.LastIndex(message, t.mark)
		if i < 0 {
			continue
		}
		set(f, t.field, strings.TrimSuffix(message[i+len(t.mark):], `"`))
		message = message[:i]
	}
	ip, known := address(f[cybervault.FieldClientIP])
	if delete(f, cybervault.FieldClientIP); known {
		f[cybervault.FieldSourceIP] = ip
		loginWords(rec, message)
	}
	rec.Host = f[cybervault.FieldWebHost]
	return rec
}

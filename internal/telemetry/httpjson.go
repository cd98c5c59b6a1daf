package telemetry

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"net/netip"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// httpRequest reads a full HTTP request: {method, url, headers, body,
// client_ip} and, where known, timestamp, host, status.
func (p *parser) httpRequest(o jsonObject) (*cybervault.Record, string) {
	target := o.str("url", "uri")
	if target == "" {
		return nil, "an HTTP request needs a url that is a string"
	}
	method := o.str("method", "http_method", "request_method")
	if method == "" {
		method = "GET"
	}
	f := map[string]string{cybervault.FieldWebMethod: method}
	rec := &cybervault.Record{Category: "webserver", Fields: f}

	headers, ok := jsonHeaders(o["headers"])
	if !ok {
		return nil, `headers must be an object of strings (or of lists of strings), or a list of [name, value] pairs`
	}
	var all strings.Builder
	for _, h := range headers {
		all.WriteString(oneLine(h[0]) + ": " + oneLine(h[1]) + "\n")
		switch strings.ToLower(h[0]) {
		case "host":
			set(f, cybervault.FieldWebHost, h[1])
		case "user-agent":
			set(f, cybervault.FieldWebUserAgent, h[1])
		case "referer":
			set(f, cybervault.FieldWebReferer, h[1])
		case "cookie":
			set(f, cybervault.FieldWebCookie, h[1])
		}
	}
	set(f, cybervault.FieldWebHeaders, all.String())

	setTarget(f, target)
	if host := o.str("host"); host != "" {
		f[cybervault.FieldWebHost] = host
	}
	set(f, cybervault.FieldWebVersion, o.str("version", "http_version", "protocol"))
	set(f, cybervault.FieldWebStatus, o.str("status", "status_code"))
	set(f, cybervault.FieldWebUser, o.str("user", "username"))
	if ip := o.str("client_ip", "remote_addr", "remote_ip", "source_ip"); ip != "" {
		addr, ok := address(ip)
		if !ok {
			return nil, "client_ip must be an IP address"
		}
		f[cybervault.FieldClientIP] = addr
	}
	switch raw := o["body"]; {
	case len(raw) == 0 || raw[0] == 'n':
		if enc := o.str("body_base64"); enc != "" {
			b, err := base64.StdEncoding.DecodeString(enc)
			if err != nil {
				return nil, "body_base64 must be standard base64"
			}
			f[cybervault.FieldWebBody] = string(b)
		}
	case raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			set(f, cybervault.FieldWebBody, s)
		}
	default: // a body that was JSON and was not put in a string
		f[cybervault.FieldWebBody] = string(raw)
	}
	if at := o.str("timestamp", "time", "@timestamp"); at != "" {
		t, ok := p.anyTime(at)
		if !ok {
			return nil, "timestamp must be RFC 3339, or Unix seconds, milliseconds, microseconds or nanoseconds"
		}
		rec.Time = t
	}
	rec.Host = f[cybervault.FieldWebHost]
	return rec, ""
}

// jsonHeaders reads headers given as an object or as a list of pairs. An
// object's come out sorted by name, since JSON gives its members no order.
func jsonHeaders(raw json.RawMessage) ([][2]string, bool) {
	if len(raw) == 0 || raw[0] == 'n' {
		return nil, true
	}
	var out [][2]string
	if raw[0] == '[' {
		var pairs []json.RawMessage
		if json.Unmarshal(raw, &pairs) != nil {
			return nil, false
		}
		for _, item := range pairs {
			var pair []string
			if json.Unmarshal(item, &pair) == nil && len(pair) == 2 {
				out = append(out, [2]string{pair[0], pair[1]})
				continue
			}
			var named struct {
				Name  string `json:"name"`
				Value string `json:"value"`
			}
			if json.Unmarshal(item, &named) != nil || named.Name == "" {
				return nil, false
			}
			out = append(out, [2]string{named.Name, named.Value})
		}
		return out, true
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return nil, false
	}
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		var one string
		var many []string
		switch {
		case json.Unmarshal(object[name], &one) == nil:
			many = []string{one}
		case json.Unmarshal(object[name], &many) == nil:
		default: // a number or boolean, in its own spelling
			many = []string{strings.TrimSpace(string(object[name]))}
		}
		for _, v := range many {
			out = append(out, [2]string{name, v})
		}
	}
	return out, true
}

// setTarget sets cs-uri, cs-uri-stem and cs-uri-query from a request target in
// origin or absolute form (RFC 9112, section 3.2), and cs-host from the latter.
func setTarget(f map[string]string, target string) {
	f[cybervault.FieldWebURI] = target
	path := target
	if i := strings.Index(target, "://"); i > 0 && i < 10 && strings.IndexByte(target[:i], '/') < 0 {
		rest := target[i+3:]
		slash := strings.IndexAny(rest, "/?")
		if slash < 0 {
			slash = len(rest)
		}
		set(f, cybervault.FieldWebHost, rest[:slash])
		path = rest[slash:]
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		f[cybervault.FieldWebURI] = path
	}
	stem, query, _ := strings.Cut(path, "?")
	f[cybervault.FieldWebStem] = stem
	set(f, cybervault.FieldWebQuery, query)
}

// set leaves out what is unknown.
func set(f map[string]string, name, value string) {
	if value != "" && value != "-" {
		f[name] = value
	}
}

func oneLine(s string) string {
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
}

// address reads an IP address, with or without a port, brackets or zone, and
// returns its usual form; IPv4 in IPv6 comes out as IPv4.
func address(s string) (string, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(strings.TrimPrefix(s, "::ffff:")) // "::ffff:192.0.2.7:4711" has no brackets
		if err != nil {
			if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
				return address(s[1 : len(s)-1])
			}
			return "", false
		}
		addr = ap.Addr()
	}
	return addr.Unmap().WithZone("").String(), true
}

// stampLayouts are tried in this order; most stamps are the first.
var stampLayouts = [...]string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05.999999999 MST", "2006-01-02 15:04:05.999999999Z0700", "2006-01-02 15:04:05.999999999 -0700", "2006-01-02 15:04:05.999999999 -07:00", "2006-01-02 15:04:05.999999999 -0700 MST", clfLayout,
}

// anyTime reads RFC 3339 and its relatives, with and without a zone, the Common
// Log Format's stamp, or Unix seconds, milliseconds, microseconds or nanoseconds.
func (p *parser) anyTime(s string) (time.Time, bool) {
	if strings.Trim(s, "+-0123456789.eE") == "" && len(s) > 0 && strings.LastIndexByte(s, '-') <= 0 {
		n, err := strconv.ParseFloat(s, 64)
		switch {
		case err != nil || math.IsNaN(n) || n < 0 || n >= 1e19:
			return time.Time{}, false
		case n >= 1e17 && inRange(time.Unix(0, int64(n))):
			return time.Unix(0, int64(n)).UTC(), true
		case n >= 1e14 && n < 7e15:
			return time.UnixMicro(int64(n)).UTC(), true
		case n >= 1e14:
			return time.Time{}, false
		case n >= 1e11:
			return time.UnixMilli(int64(n)).UTC(), true
		}
		sec := math.Floor(n)
		t := time.Unix(int64(sec), int64(math.Round((n-sec)*1e6))*1000).UTC()
		return t, inRange(t)
	}
	if len(s) < 10 || len(s) > 64 {
		return time.Time{}, false
	}
	for _, layout := range stampLayouts {
		if t, err := time.ParseInLocation(layout, s, p.opts.Location); err == nil && inRange(t) {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// inRange keeps out years that no log was written in, and that would not fit
// the millisecond part of an id.
func inRange(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 2200 }

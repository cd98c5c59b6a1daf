package telemetry

import (
	"net/netip"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// clfLayout is the time of the Common Log Format.
const clfLayout = "02/Jan/2006:15:04:05 -0700"

// clfClock remembers the last stamp, since neighbours mostly share it.
type clfClock struct {
	text string
	t    time.Time
}

func (c *clfClock) parse(s string) (time.Time, bool) {
	if s == c.text && s != "" {
		return c.t, true
	}
	t, err := time.Parse(clfLayout, s)
	if err != nil || !inRange(t) {
		return time.Time{}, false
	}
	c.text, c.t = strings.Clone(s), t.UTC()
	return c.t, true
}

// access reads a line of nginx's or Apache's access log:
//
//	[vhost[:port]] client ident user [time] "request" status bytes ["referer" "user agent"] …
//
// What follows the user agent is left alone. A request that is no HTTP request
// (a TLS hello sent to a plain port) is still a record: cs-uri holds it.
func (p *parser) access(s string) (*cybervault.Record, string) {
	const want = "an access-log line was expected: client - user [dd/Mon/yyyy:hh:mm:ss +zzzz] \"request\" status bytes"
	before, after, ok0 := strings.Cut(s, " [")
	if !ok0 {
		return nil, want
	}
	at, rest, ok := strings.Cut(after, "] \"")
	if !ok {
		return nil, want
	}
	t, ok := p.clf.parse(at)
	if !ok {
		return nil, want
	}
	f := make(map[string]string, 12)
	if !setClient(f, before) {
		return nil, want
	}
	request, rest, ok := quoted(rest)
	if !ok {
		return nil, "the request's closing quote is missing"
	}
	status, rest, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if !digits(status) || len(status) != 3 {
		return nil, "a status of three digits was expected after the request"
	}
	size, rest, _ := strings.Cut(rest, " ")
	if size != "-" && size != "" && !digits(size) {
		return nil, "a number of bytes, or -, was expected after the status"
	}
	f[cybervault.FieldWebStatus] = status
	set(f, cybervault.FieldWebBytes, size)
	setRequest(f, request)
	if i := strings.IndexByte(rest, '"'); i >= 0 {
		referer, after, ok := quoted(rest[i+1:])
		if ok {
			set(f, cybervault.FieldWebReferer, referer)
			if _, after0, ok := strings.Cut(after, "\""); ok {
				if agent, _, ok := quoted(after0); ok {
					set(f, cybervault.FieldWebUserAgent, agent)
				}
			}
		}
	}
	return &cybervault.Record{Category: "webserver", Time: t, Host: f[cybervault.FieldWebHost], Fields: f}, ""
}

// setClient reads what stands before the time: "client ident user", perhaps
// with a virtual host in front, perhaps with a list of forwarded clients, of
// which the first counts. A client that is a name goes to c-dns.
func setClient(f map[string]string, head string) bool {
	first, rest, ok := strings.Cut(head, " ")
	if !ok {
		return false
	}
	if _, isIP := address(strings.TrimSuffix(first, ",")); !isIP {
		if second, after, ok := strings.Cut(rest, " "); ok {
			if _, err := netip.ParseAddr(second); err == nil {
				set(f, cybervault.FieldWebHost, first)
				first, rest = second, after
			}
		}
	}
	for strings.HasSuffix(first, ",") {
		var next string
		if next, rest, ok = strings.Cut(rest, " "); !ok {
			return false
		}
		if !strings.HasSuffix(next, ",") {
			break
		}
	}
	first = strings.TrimSuffix(first, ",")
	if ip, ok := address(first); ok {
		f[cybervault.FieldClientIP] = ip
	} else {
		set(f, cybervault.FieldClientName, first)
	}
	_, user, ok := strings.Cut(rest, " ")
	if !ok {
		return false
	}
	set(f, cybervault.FieldWebUser, unescape(user))
	return true
}

// setRequest splits "METHOD target HTTP/x". The target may hold spaces, sent by
// clients that break the standard, most of them on purpose.
func setRequest(f map[string]string, request string) {
	method, rest, ok := strings.Cut(request, " ")
	if !ok || !token(method) {
		set(f, cybervault.FieldWebURI, request)
		return
	}
	f[cybervault.FieldWebMethod] = method
	if i := strings.LastIndex(rest, " HTTP/"); i >= 0 {
		f[cybervault.FieldWebVersion] = rest[i+1:]
		rest = rest[:i]
	}
	setTarget(f, rest)
}

// quoted reads up to the closing quote, with the escapes that Apache (\" \\ \n
// \xHH) and nginx (\xHH) write taken back, and returns what follows the quote.
func quoted(s string) (value, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return unescape(s[:i]), s[i+1:], true
		}
	}
	return "", "", false
}

func unescape(s string) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	out := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'v':
			out = append(out, '\v')
		case '"', '\\':
			out = append(out, c)
		case 'x':
			if i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0 {
				out = append(out, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
				i += 2
				continue
			}
			out = append(out, '\\', c)
		default:
			out = append(out, '\\', c)
		}
	}
	return string(out)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// token reports whether s is a token of RFC 9110, section 5.6.2, as a method is.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

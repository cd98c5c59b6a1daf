package incident

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// How long after (or before) something was seen in an incident it still joins.
const (
	addressWindow = 24 * time.Hour
	userWindow    = 24 * time.Hour
	assetWindow   = 4 * time.Hour
)

// maxSpan bounds how far from an incident's first record a finding may lie that is
// to join it: what goes on for longer is another incident.
const maxSpan = 7 * 24 * time.Hour

// maxLinks bounds what an incident can be joined by, and maxSpans the stretches of
// time kept of each.
const (
	maxLinks = 300
	maxSpans = 8
)

// Prefixes of links.
const (
	linkAddress = "ip:"
	linkUser    = "user:"
	linkAsset   = "on:"
)

// linksOf are what a finding has in common with others that it belongs together
// with. A target is none of them: one web server is attacked by the whole
// internet. See docs/decisions/0030.
func linksOf(g *cybervault.Gist) []string {
	var links []string
	if link := addressLink(g.SourceIP); link != "" {
		links = append(links, link)
	}
	if name := strings.ToLower(strings.TrimSpace(g.User)); name != "" && !g.NoSuchUser && !common(name) {
		links = append(links, linkUser+bound(name))
	}
	if asset := strings.ToLower(strings.TrimSpace(g.Asset)); asset != "" && g.OnAsset {
		links = append(links, linkAsset+bound(asset))
	}
	return links
}

// addressLink is the address, or for IPv6 the /64, which one machine has to itself.
func addressLink(s string) string {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() {
		return ""
	}
	if addr.Is6() {
		network, err := addr.Prefix(64)
		if err != nil {
			return ""
		}
		return linkAddress + network.String()
	}
	return linkAddress + addr.String()
}

// windowOf is how far apart in time two findings may be that a link joins.
func windowOf(link string) time.Duration {
	switch {
	case strings.HasPrefix(link, linkAddress):
		return addressWindow
	case strings.HasPrefix(link, linkUser):
		return userWindow
	}
	return assetWindow
}

// everywhere are accounts that every machine has, or every guesser tries: that two
// findings name one says nothing.
var everywhere = []string{
	"", "-", "admin", "administrator", "anonymous", "anonymous logon", "apache", "backup", "daemon", "debian", "ec2-user", "ftp", "ftpuser", "git", "guest",
	"hadoop", "jenkins", "local service", "localsystem", "mysql", "n/a", "network service", "nginx", "nobody", "oracle", "pi", "postgres", "root", "service",
	"support", "system", "test", "tomcat", "ubnt", "ubuntu", "unknown", "user", "www", "www-data",
}

// common reports whether an account's name is that of no one person or service:
// one of everywhere, whatever its domain, or a Windows machine's own.
func common(name string) bool {
	if _, local, ok := strings.Cut(name, `\`); ok {
		name = local
	}
	return strings.HasSuffix(name, "$") || slices.Contains(everywhere, name)
}

// maxValue bounds a user or an asset as it is kept: clients choose some of them.
const maxValue = 255

// bound makes text of a record fit to be kept and shown.
func bound(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > maxValue {
		s = strings.ToValidUTF8(s[:maxValue], "")
	}
	return s
}

// near reports whether a stretch of time is within window of one of spans.
func near(spans []cybervault.Span, s cybervault.Span, window time.Duration) bool {
	return slices.ContainsFunc(spans, func(t cybervault.Span) bool { return apart(t, s) <= window })
}

// apart is the time between two stretches, zero where they overlap.
func apart(a, b cybervault.Span) time.Duration {
	return max(a.First.Sub(b.Last), b.First.Sub(a.Last), 0)
}

// cover adds a stretch of time, joined to those within window: what is near to both
// of two such is near to one of them.
func cover(spans []cybervault.Span, s cybervault.Span, window time.Duration) []cybervault.Span {
	kept := make([]cybervault.Span, 0, len(spans)+1)
	for {
		kept = kept[:0]
		grown := false
		for _, t := range spans {
			if apart(t, s) > window {
				kept = append(kept, t)
				continue
			}
			s, grown = join(s, t), true
		}
		if spans = slices.Clone(kept); !grown {
			break
		}
	}
	spans = append(spans, s)
	slices.SortFunc(spans, func(a, b cybervault.Span) int { return a.First.Compare(b.First) })
	for len(spans) > maxSpans { // the oldest two become one
		spans[1] = join(spans[0], spans[1])
		spans = spans[1:]
	}
	return spans
}

func join(a, b cybervault.Span) cybervault.Span {
	if b.First.Before(a.First) {
		a.First = b.First
	}
	if b.Last.After(a.Last) {
		a.Last = b.Last
	}
	return a
}

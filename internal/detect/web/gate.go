package web

import (
	"strings"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
)

// The gate. Most requests are harmless and repeat each other in parts: the same
// browsers, the same pages, the same referring pages, in ever new combinations.
// A rule of CRS looks at each value (a path, a parameter, a header) on its own,
// so a request matches no rule if none of its parts does, and the verdict on a
// part is worth remembering. Where that would not hold, the gate does not open:
//
//   - Rules chained over several parts. At paranoia level 1 there are two, which
//     look for a session id in the query and then at the Referer: 943110 (it is
//     of another site) and 943120 (there is none). The part that holds the query
//     is therefore asked about beside a Referer of another site if the request
//     has a Referer, and beside none if it has none: the worst case of either.
//     Above level 1 parts are not used, only whole requests.
//   - A body, whose meaning depends on headers: such a request is remembered as
//     a whole only.
//   - Headers that set how the rest is read (Content-Type and its like) or that
//     occur twice: the same.
//
// What the gate lets through goes to Coraza as a whole, so what a request is
// said to match is always Coraza's verdict on that very request.

// clean reports whether each part of the request is known, or on being asked
// found, to match nothing.
func (in *Inspector) clean(r *Request) bool {
	if r.Body != "" || in.paranoia > 1 {
		return false
	}
	host, referer := "", false
	for i, h := range r.Headers {
		name := strings.ToLower(h[0])
		switch name {
		case "content-type", "content-length", "content-encoding", "transfer-encoding", "x-http-method-override":
			return false
		case "host":
			host = h[1]
		case "referer":
			referer = true
		}
		for _, other := range r.Headers[:i] {
			if strings.EqualFold(other[0], h[0]) {
				return false
			}
		}
	}
	if !in.lineClean(r.Method, r.Version, host, r.Target, referer, true) {
		return false
	}
	for _, h := range r.Headers {
		if strings.EqualFold(h[0], "host") {
			continue
		}
		if !in.headerClean(h[0], h[1]) {
			return false
		}
	}
	return true
}

// verdict is what is known of a part.
type verdict uint8

const (
	seen  verdict = iota + 1 // once, in a request that was asked about as a whole
	clean                    // matches nothing
	dirty
)

// lineClean judges the request line and Host. A line that the screen does not
// know is not asked about when it is first seen, but the whole request is: the
// lines of a scan are all different, and would each be asked about twice.
func (in *Inspector) lineClean(method, version, host, target string, referer, first bool) bool {
	kind := "line"
	if referer {
		kind = "line+referer"
	}
	key := strings.Join([]string{kind, method, version, host, target}, "\x00")
	known, ok := in.parts.get(key)
	if ok && known != seen {
		return known == clean
	}
	// The screen has no view of what rules say of the absence of something: that
	// is settled by asking about the same request for the plainest path.
	if target != "/" && in.screens.line(method, target, version, host) && in.harmless(&Request{Target: target}) && in.lineClean(method, version, host, "/", referer, false) {
		in.parts.put(key, clean)
		return true
	}
	if first && !ok {
		in.parts.put(key, seen)
		return false
	}
	part := &Request{Method: method, Target: target, Version: version, Headers: [][2]string{{"Host", host}}}
	if host == "" {
		part.Headers = nil
	}
	if referer {
		part.Headers = append(part.Headers, [2]string{"Referer", neutralReferer})
	}
	return in.remember(key, in.inspect(part))
}

func (in *Inspector) remember(key string, matches []Match) bool {
	v := clean
	if len(matches) > 0 {
		v = dirty
	}
	in.parts.put(key, v)
	return v == clean
}

// harmless reports whether the learned score has nothing to say of a part that no
// rule can match, and whether nothing is encoded in it that a rule could.
func (in *Inspector) harmless(part *Request) bool {
	vs := values(part)
	found, _ := in.score(vs)
	return len(found) == 0 && len(views(vs)) == 0
}

// headerClean judges one header.
func (in *Inspector) headerClean(name, value string) bool {
	key := "header\x00" + name + "\x00" + value
	if known, ok := in.parts.get(key); ok {
		return known == clean
	}
	if value != neutralValue && in.screens.header(name, value) && in.harmless(&Request{Headers: [][2]string{{name, value}}}) && in.headerClean(name, neutralValue) {
		in.parts.put(key, clean)
		return true
	}
	return in.remember(key, in.inspect(&Request{Method: "GET", Target: "/", Headers: [][2]string{{"Host", neutralHost}, {name, value}}}))
}

const neutralValue = "x"

// screens are the screens of the parts that most requests consist of.
type screens struct{ path, request, host, agent, referer *screen }

func newScreens() (*screens, error) {
	rules, err := readRules(coreruleset.FS, ruleFiles)
	if err != nil {
		return nil, err
	}
	of := func(p screenedPart) *screen { return newScreen(rules, coreruleset.FS, p) }
	return &screens{path: of(pathPart), request: of(linePart), host: of(hostPart), agent: of(agentPart), referer: of(refererPart)}, nil
}

// line reports whether a request line without a query certainly matches nothing.
func (s *screens) line(method, target, version, host string) bool {
	if s == nil {
		return false
	}
	base := target[strings.LastIndexByte(target, '/')+1:]
	return s.path.clean(target) && s.path.clean(base) && s.request.clean(method+" "+target+" "+version) && s.host.clean(host)
}

// header reports whether a header certainly matches nothing.
func (s *screens) header(name, value string) bool {
	switch {
	case s == nil:
		return false
	case strings.EqualFold(name, "user-agent"):
		return s.agent.clean(value)
	case strings.EqualFold(name, "referer"):
		return s.referer.clean(value)
	}
	return false
}

// key spells out everything that the verdict depends on, unambiguously.
func (r *Request) key() string {
	var b strings.Builder
	for _, s := range []string{r.Method, r.Target, r.Version, r.Body} {
		writePart(&b, s)
	}
	for _, h := range r.Headers {
		writePart(&b, h[0])
		writePart(&b, h[1])
	}
	return b.String()
}

func writePart(b *strings.Builder, s string) {
	n := uint32(len(s))
	b.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
	b.WriteString(s)
}

// cache remembers verdicts in two generations: when the newer is full it becomes
// the older, and the older is forgotten. What is asked for again moves to the
// newer, so that what is in use stays. Safe for concurrent use.
type cache[V any] struct {
	mu           sync.RWMutex
	newer, older map[string]V
	size, limit  int64 // bytes of the newer's keys, and of what each entry costs beside them
}

// Beside its key an entry costs about this much, and longer keys are not worth it.
const (
	entryCost = 128
	maxKey    = 16 << 10
)

func newCache[V any](bytes int64) *cache[V] {
	return &cache[V]{newer: map[string]V{}, limit: bytes / 2}
}

func (c *cache[V]) get(key string) (V, bool) {
	c.mu.RLock()
	v, ok := c.newer[key]
	if !ok {
		if v, ok = c.older[key]; ok {
			c.mu.RUnlock()
			c.put(key, v)
			return v, true
		}
	}
	c.mu.RUnlock()
	return v, ok
}

func (c *cache[V]) put(key string, v V) {
	if len(key) > maxKey {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.newer[key]; ok {
		c.newer[key] = v
		return
	}
	if c.size += int64(len(key)) + entryCost; c.size > c.limit {
		c.older, c.newer, c.size = c.newer, map[string]V{}, int64(len(key))+entryCost
	}
	c.newer[key] = v
}

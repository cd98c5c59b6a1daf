package login

import (
	"net/netip"
	"slices"
	"time"

	"github.com/cybervault/cybervault/internal/detect/sketch"
)

// Thresholds of what many addresses do together, each of them too little to be
// told of alone. The slow ones are about accounts that exist, or about one network:
// that some address somewhere guesses at names is always so on the Internet.
const (
	CrowdWindow   = time.Hour
	CrowdOneName  = 8  // addresses that fail at one account
	CrowdNames    = 25 // addresses that fail at accounts that do not exist, on one host
	CrowdEach     = 4  // attempts an address at most, on average: more is brute force, told of already
	SlowCrowd     = 15 // addresses that fail at one account within SlowWindow
	NetworkWindow = 24 * time.Hour
	NetworkFrom   = 3  // addresses of one public network (/24, or /48 of IPv6) …
	NetworkTries  = 12 // … that together try so often, at accounts that do not exist or root
)

// crowd is what is remembered of one account, one host's unknown accounts or one
// network, from all addresses.
type crowd struct {
	Sources  []crowdSource
	More     *sketch.Distinct // every address, once Sources is full
	HotUntil time.Time
	Since    time.Time
	Total    int
}

type crowdSource struct {
	Address     string
	First, Last time.Time
	Tries       int
}

func costOfCrowd(key string, c *crowd) int {
	n := entryBytes + len(key) + 120 + 104*cap(c.Sources)
	if c.More != nil {
		n += 16 << 10 // exactly at first, 4 KiB of registers later
	}
	return n
}

// crowdKind is one way to look at attempts from many addresses.
type crowdKind struct {
	suffix   string // keeps its crowds apart from the others'
	window   time.Duration
	sources  int
	tries    int
	each     int // 0: no bound
	nameless bool
}

var (
	oneName   = crowdKind{suffix: "\x00user\x00", window: CrowdWindow, sources: CrowdOneName, each: CrowdEach}
	noName    = crowdKind{suffix: "\x00unknown", window: CrowdWindow, sources: CrowdNames, each: CrowdEach, nameless: true}
	slowName  = crowdKind{suffix: "\x00slow\x00", window: SlowWindow, sources: SlowCrowd, each: CrowdEach}
	ofNetwork = crowdKind{suffix: "\x00net\x00", window: NetworkWindow, sources: NetworkFrom, tries: NetworkTries, nameless: true}
)

// crowd looks at one account from all addresses, at one host's unknown accounts,
// and at the networks that the attempts come from. It returns one conclusion at
// most.
func (t *Tracker) crowd(a Attempt, n int) []Conclusion {
	var out []Conclusion
	add := func(kind crowdKind, user, network string) {
		e := t.crowds.get(a.Scope + kind.suffix + user + network)
		c, ok := e.value.add(a, n, kind)
		t.crowds.charge(e, costOfCrowd(e.key, &e.value))
		if ok && len(out) == 0 {
			c.User, c.Network = user, network
			out = append(out, c)
		}
	}
	if a.Unknown || a.User == "" {
		add(noName, "", "")
	} else {
		add(oneName, a.User, "")
		add(slowName, a.User, "")
	}
	if network := publicNetwork(a.Address); network != "" && (a.Unknown || a.User == "root") {
		add(ofNetwork, "", network)
	}
	return out
}

func (c *crowd) add(a Attempt, n int, kind crowdKind) (Conclusion, bool) {
	i, tries, first := c.sum(a, kind.window)
	switch {
	case i >= 0:
		s := &c.Sources[i]
		s.Tries += n
		if a.Time.After(s.Last) {
			s.Last = a.Time
		}
		if a.Time.Before(s.First) {
			s.First = a.Time
		}
	case len(c.Sources) < maxCrowd:
		c.Sources = append(c.Sources, crowdSource{a.Address, a.Time, a.Time, n})
	default:
		n = 0 // it is only one address more
		if c.More == nil {
			c.More = &sketch.Distinct{}
			for _, s := range c.Sources {
				c.More.Add(s.Address)
			}
		}
		c.More.Add(a.Address)
	}
	tries += n
	if len(c.Sources) < kind.sources || tries < kind.tries || kind.each > 0 && tries > kind.each*len(c.Sources) {
		return Conclusion{}, false
	}
	out := Conclusion{Pattern: DistributedGuessing, New: a.Time.After(c.HotUntil), First: first, Count: max(n, 1), Sources: len(c.Sources), Users: 1}
	if c.More != nil {
		out.Sources = max(out.Sources, c.More.Count())
	}
	if out.New {
		out.Count, c.Total, c.Since = tries, 0, first
	}
	if kind.nameless {
		out.Users, out.Unknown = 0, tries
	}
	c.Total += out.Count
	out.Total = c.Total
	c.HotUntil = a.Time.Add(min(kind.window, SlowQuiet))
	return out, true
}

// sum forgets what is beyond the window, and returns where the address stands, -1
// if it is new, and how many tries there were since when.
func (c *crowd) sum(a Attempt, window time.Duration) (at, tries int, first time.Time) {
	at, first = -1, a.Time
	kept := 0
	for i := range c.Sources {
		s := &c.Sources[i]
		if d := a.Time.Sub(s.Last); d > window || d < -window {
			continue
		}
		if s.Address == a.Address {
			at = kept
		}
		tries += s.Tries
		if s.First.Before(first) {
			first = s.First
		}
		if kept != i {
			c.Sources[kept] = *s
		}
		kept++
	}
	clear(c.Sources[kept:])
	if c.Sources = c.Sources[:kept]; kept == 0 {
		c.More = nil
	}
	return at, tries, first
}

// crowdSuccess finds that a crowd got in, or forgives the slips of a person who
// is on the move: those from this address, and the latest from others.
func (t *Tracker) crowdSuccess(a Attempt, told bool) (Conclusion, bool) {
	if a.User == "" {
		return Conclusion{}, false
	}
	var out Conclusion
	found := false
	for _, kind := range []crowdKind{oneName, slowName} {
		c := t.crowds.find(a.Scope + kind.suffix + a.User)
		if c == nil {
			continue
		}
		i := slices.IndexFunc(c.Sources, func(s crowdSource) bool { return s.Address == a.Address })
		hot := !c.HotUntil.IsZero() && a.Time.Sub(c.HotUntil) <= SuccessAfter && !a.Time.Before(c.Since)
		if hot && a.Secret && i >= 0 && !told && !found {
			out = Conclusion{Pattern: SuccessAfterFailures, Address: a.Address, User: a.User, First: c.Since, Count: 1,
				Total: c.Total, Users: 1, Sources: len(c.Sources)}
			found = true
		}
		if !hot {
			c.Sources = slices.DeleteFunc(c.Sources, func(s crowdSource) bool {
				return !s.Last.After(a.Time) && (s.Address == a.Address || a.Time.Sub(s.First) <= Roaming)
			})
		}
	}
	return out, found
}

// publicNetwork is the network of a public address, as wide as one party mostly
// holds: a /24, or a /48 of IPv6. It is "" for all others: in an office, many
// people share one.
func publicNetwork(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return ""
	}
	bits := 24
	if ip.Is6() {
		bits = 48
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

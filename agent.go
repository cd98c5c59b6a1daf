package cybervault

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// AgentStatus is whether an agent is heard of.
type AgentStatus string

// The states of an agent. It is told of when it comes and goes: endpoint.online,
// endpoint.offline.
const (
	AgentEnrolled AgentStatus = "enrolled" // and no heartbeat was told of yet
	AgentOnline   AgentStatus = "online"
	AgentOffline  AgentStatus = "offline"
)

// AgentStatuses lists them.
func AgentStatuses() []AgentStatus { return []AgentStatus{AgentOnline, AgentOffline, AgentEnrolled} }

// How often an agent sends a heartbeat, and after how many that did not come it is
// offline.
const (
	DefaultHeartbeat = 30 * time.Second
	MinHeartbeat     = time.Second
	MaxHeartbeat     = time.Hour
	DefaultMissed    = 3
	MinMissed        = 2
	MaxMissed        = 100
)

// Limits on what an agent says of its machine, and on agents.
const (
	MaxHostnameBytes  = 253
	MaxAgentTextBytes = 200 // operating system, version of the agent
	MaxAddresses      = 64
	MaxLabels         = 20
	MaxLabelBytes     = 100     // of a name, and of a value
	MaxAgents         = 100_000 // of one workspace
	MaxAgentTokens    = 1000    // of one workspace, that may still be used
	MaxTokenUses      = 100_000
	MaxTokenLife      = 365 * 24 * time.Hour
	DefaultTokenLife  = 24 * time.Hour
)

// HostFacts is what an agent says of its machine.
type HostFacts struct {
	Hostname  string
	OS        string   // "Debian GNU/Linux 12"; may be empty
	Version   string   // of the agent; may be empty
	Addresses []string // IPv4 and IPv6
}

// Agent is a managed machine that sends heartbeats.
type Agent struct {
	HostFacts

	ID        AgentID
	Workspace WorkspaceID
	Labels    map[string]string
	Interval  time.Duration // between two heartbeats
	Missed    int           // after so many that did not come it is offline

	Hash    [32]byte  // SHA-256 of its key
	Next    [32]byte  // of the key that takes its place once the agent uses it; zero: none
	KeyedAt time.Time // when the key was made

	Status     AgentStatus
	EnrolledAt time.Time
	LastSeen   time.Time // when its last heartbeat came; zero: none did
	ChangedAt  time.Time // when its status became what it is

	Packages PackageState // zero: it has not told of any
}

// Patience is how long it may be silent.
func (a *Agent) Patience() time.Duration { return time.Duration(a.Missed) * a.Interval }

// AgentToken lets machines enrol, so many, until it expires.
type AgentToken struct {
	ID        AgentTokenID
	Hash      [32]byte // SHA-256 of the token
	Workspace WorkspaceID
	Name      string
	Labels    map[string]string // that its agents get
	Interval  time.Duration
	Missed    int
	Uses      int // that are left
	By        string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// AgentQuery selects agents, newest first.
type AgentQuery struct {
	Workspace WorkspaceID
	Status    AgentStatus // empty: any
	Text      string      // in the host name, in an address or a label
	Before    AgentID     // the last row of the page before; zero for the first page
	Limit     int
}

// AgentCounts is how many agents a workspace has, by status.
type AgentCounts map[AgentStatus]int

// Total is how many there are.
func (c AgentCounts) Total() int {
	n := 0
	for _, k := range c {
		n += k
	}
	return n
}

// Same reports whether two say the same.
func (f *HostFacts) Same(g *HostFacts) bool {
	return f.Hostname == g.Hostname && f.OS == g.OS && f.Version == g.Version && slices.Equal(f.Addresses, g.Addresses)
}

// Check makes facts fit to be kept, or says which field is wrong.
func (f *HostFacts) Check() error {
	f.Hostname = strings.TrimSuffix(strings.TrimSpace(f.Hostname), ".")
	if err := plain("hostname", f.Hostname, MaxHostnameBytes); err != nil {
		return err
	}
	f.Hostname = strings.ToLower(f.Hostname)
	if f.Hostname == "" {
		return Invalid("hostname", "is missing: send the machine's name")
	}
	if err := plain("os", f.OS, MaxAgentTextBytes); err != nil {
		return err
	}
	if err := plain("version", f.Version, MaxAgentTextBytes); err != nil {
		return err
	}
	if len(f.Addresses) > MaxAddresses {
		return Invalid("addresses", "has %d entries, more than %d: send those that other machines reach it by", len(f.Addresses), MaxAddresses)
	}
	addresses := make([]string, 0, len(f.Addresses))
	for _, text := range f.Addresses {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return Invalid("addresses", "%.60q is no IP address, such as 192.0.2.7 or 2001:db8::7", text)
		}
		addresses = append(addresses, a.Unmap().String())
	}
	slices.Sort(addresses)
	f.Addresses = slices.Compact(addresses)
	return nil
}

// CheckLabels says what is wrong with labels.
func CheckLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return Invalid("labels", "has %d entries, more than %d", len(labels), MaxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name == "" {
			return Invalid("labels", "has an entry without a name")
		}
		if err := plain("labels", name, MaxLabelBytes); err != nil {
			return err
		}
		if err := plain("labels", labels[name], MaxLabelBytes); err != nil {
			return err
		}
	}
	return nil
}

// CheckPace says what is wrong with an interval of heartbeats and how many may miss.
func CheckPace(interval time.Duration, missed int) error {
	if interval < MinHeartbeat || interval > MaxHeartbeat {
		return Invalid("interval", "is %s: give one from %s to %s", FormatDuration(interval), FormatDuration(MinHeartbeat), FormatDuration(MaxHeartbeat))
	}
	if missed < MinMissed || missed > MaxMissed {
		return Invalid("missed", "is %d: give a number from %d to %d", missed, MinMissed, MaxMissed)
	}
	return nil
}

// plain checks text that is shown: bounded, in UTF-8, and without what cannot be seen.
func plain(field, text string, most int) error {
	switch {
	case len(text) > most:
		return Invalid(field, "is %d bytes long, more than %d", len(text), most)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) }):
		return Invalid(field, "holds a character that cannot be seen")
	}
	return nil
}

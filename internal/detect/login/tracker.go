// Package login finds what is suspicious in the outcomes of logins: guessing of
// passwords, logins that break with a user's habits, and attacks on a second
// factor.
//
// It stands within the detect stage: attempts go in, patterns come out. It
// works in event time, tolerates records out of order within its windows, and
// keeps what it remembers within a budget of bytes. It never decides what is
// worth an event, reads no clock, and folds nothing.
package login

import "time"

// The patterns, as events and detections name them.
const (
	BruteForce           = "brute_force"
	SlowBruteForce       = "slow_brute_force"
	PasswordSpray        = "password_spray"
	DistributedGuessing  = "distributed_guessing"
	SuccessAfterFailures = "success_after_failures"
	NewCountry           = "new_country"
	ImpossibleTravel     = "impossible_travel"
	MFAFatigue           = "mfa_fatigue"
	MFABypass            = "mfa_bypass"
	MFARemoved           = "mfa_removed"
	ServiceProbe         = "service_probe" // speaks something else than SSH to sshd: no login, but a scan
)

// Thresholds. An attempt is one try at one secret. The ones below a pattern's
// are no one's business: a person mistypes three times, reconnects and mistypes
// twice more; with a caps-lock key it may be nine before somebody looks down.
// So attempts on one existing account other than root, which is all that a
// clumsy person produces, count far less than guesses at names.
const (
	FastWindow   = 2 * time.Minute // brute_force: a program's pace
	FastNames    = 6               // attempts, where several names, an unknown one or root are tried
	FastOneName  = 10              // attempts on one existing account
	BurstWindow  = 10 * time.Second
	BurstTries   = 6 // attempts within BurstWindow, whatever at: nobody types six passwords in it
	EnumWindow   = 15 * time.Second
	EnumNames    = 4 // names within EnumWindow that nobody is known to have, none a slip of another: nobody types so many, and their passwords, in it
	RoleWindow   = 24 * time.Hour
	RoleNames    = 3 // names within RoleWindow that stand in every list of guesses, beside EnumNames in all: a person has one name, and it is none of these
	SlowWindow   = 7 * 24 * time.Hour
	SlowNames    = 8  // attempts within SlowWindow, likewise; what a success forgave is left out
	SlowOneName  = 15 // likewise
	SlowBetter   = 2  // so many failures for each success of the address in SlowWindow, at least: an office behind one address mostly gets in
	SprayWindow  = time.Hour
	SprayUsers   = 10               // different names from one address …
	SprayEach    = 2                // … with at most this many attempts at each, on average
	QuietAfter   = time.Hour        // an attack is over after this long without an attempt,
	SlowQuiet    = 24 * time.Hour   // or this long if it is a slow one
	SuccessAfter = 24 * time.Hour   // a success this long after an attack is its success
	ForgiveNames = 10 * time.Minute // a success takes back failures at misspellings of its name this long before
	Roaming      = 15 * time.Minute // and those of the same account from other addresses
	ProbeWindow  = 10 * time.Minute
	Probes       = 4
)

// Attempt is one record of telemetry that tells of a login.
type Attempt struct {
	Scope   string // keeps workspaces and hosts, or tenants, apart
	Address string
	User    string
	Unknown bool   // there is no such account
	Exists  bool   // there is one; most logs say neither
	Conn    string // the connection it belongs to, if known: lines of one are not counted twice
	Class   string // the form of the line: a connection's attempts are those of its most frequent form
	Outcome Outcome
	Secret  bool // the success was by a secret that can be guessed, not by a key
	Times   int
	Time    time.Time
	Place   Place // where the address is, as far as that is known
}

// Outcome of an attempt.
type Outcome int

// The outcomes.
const (
	Failure Outcome = iota
	Success
	Probe // not a try at a secret: a connection that spoke something else
)

// Conclusion is a pattern that an attempt completed or went on with.
type Conclusion struct {
	Pattern string
	Address string // "" for DistributedGuessing
	User    string // "" if many
	New     bool   // the first of its attack: First and Count tell of the attempts before it
	First   time.Time
	Count   int    // attempts that this adds
	Total   int    // attempts of the attack so far
	Users   int    // different names tried
	Sources int    // different addresses, of DistributedGuessing
	Unknown int    // attempts at accounts that do not exist
	Network string // of DistributedGuessing from one network
	Detail  string // what makes it suspicious, for the patterns of habits and second factors
	Sure    bool   // there is further evidence: the pattern is one step more severe
}

// Tracker holds the windows. It is not safe for concurrent use.
type Tracker struct {
	addresses *lru[address]
	crowds    *lru[crowd]
	profiles  *lru[profile]
	factors   *lru[factor]
	late      int64
}

// Bounds of the memory: the bytes of each kind, and what is remembered of one.
// What one entry is said to cost includes the map and the allocator.
const (
	addressBytes = 26 << 20
	crowdBytes   = 14 << 20
	profileBytes = 10 << 20
	factorBytes  = 4 << 20
	entryBytes   = 160 // of any entry, beside its value and key

	maxAttempts = 64
	maxConns    = 16
	maxCrowd    = 256 // addresses of a crowd that are told apart; beyond they are estimated
)

// NewTracker returns a tracker that has seen nothing.
func NewTracker() *Tracker {
	return &Tracker{
		addresses: newLRU[address](addressBytes), crowds: newLRU[crowd](crowdBytes),
		profiles: newLRU[profile](profileBytes), factors: newLRU[factor](factorBytes),
	}
}

// Size returns how many addresses and accounts are watched, how many were
// forgotten for want of room, and how many attempts came too late to count.
func (t *Tracker) Size() (watched int, evicted, late int64) {
	return t.addresses.len() + t.crowds.len() + t.profiles.len() + t.factors.len(),
		t.addresses.evicted + t.crowds.evicted + t.profiles.evicted + t.factors.evicted, t.late
}

// Add takes in an attempt and returns what it concludes, the strongest first;
// mostly nothing.
func (t *Tracker) Add(a Attempt) []Conclusion {
	if a.Times < 1 {
		a.Times = 1
	}
	if a.Address == "" {
		if a.Outcome == Success && a.User != "" {
			return t.habits(a)
		}
		return nil
	}
	e := t.addresses.get(a.Scope + "\x00" + a.Address)
	defer func() { t.addresses.charge(e, costOfAddress(e.key, &e.value)) }()
	src := &e.value
	switch a.Outcome {
	case Success:
		out := src.success(a)
		if c, ok := t.crowdSuccess(a, src.Hot != ""); ok && len(out) == 0 {
			out = append(out, c)
		}
		return append(out, t.habits(a)...)
	case Probe:
		return src.probe(a)
	case Failure:
	}
	n := src.count(a)
	if n == 0 {
		return nil
	}
	if len(src.Attempts) > 0 && src.Attempts[len(src.Attempts)-1].At.Sub(a.Time) > SlowWindow {
		t.late++
		return nil
	}
	var out []Conclusion
	if c, ok := src.fail(a, n); ok {
		out = append(out, c)
	}
	if src.Hot == "" { // what a single address does in force is told of without the crowd
		out = append(out, t.crowd(a, n)...)
	}
	return out
}

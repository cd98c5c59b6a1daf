package cybervault

import (
	"slices"
	"time"
)

// IncidentStatus is where an incident stands in its life.
type IncidentStatus string

// The statuses. A person acknowledges; a person, quiet or a merge resolves.
const (
	IncidentOpen         IncidentStatus = "open"
	IncidentAcknowledged IncidentStatus = "acknowledged"
	IncidentResolved     IncidentStatus = "resolved"
)

// IncidentStatuses lists every status, in the order of a life.
func IncidentStatuses() []IncidentStatus {
	return []IncidentStatus{IncidentOpen, IncidentAcknowledged, IncidentResolved}
}

// Resolution is what resolved an incident.
type Resolution string

// The resolutions.
const (
	ResolvedByPerson Resolution = "person"
	ResolvedByQuiet  Resolution = "quiet"
	ResolvedByMerge  Resolution = "merged"
)

// IncidentDisposition is what a person found an incident to be. It moves the confidence
// of what the same rules find later.
type IncidentDisposition string

// The dispositions. The zero value means that nobody has said.
const (
	TruePositive  IncidentDisposition = "true_positive"
	FalsePositive IncidentDisposition = "false_positive"
	Undetermined  IncidentDisposition = "undetermined"
)

// IncidentDispositions lists every disposition.
func IncidentDispositions() []IncidentDisposition {
	return []IncidentDisposition{TruePositive, FalsePositive, Undetermined}
}

// Limits on an incident. What is beyond them is counted, and not listed.
const (
	MaxIncidentEntities  = 100  // listed of each kind
	MaxIncidentThreats   = 200  // ids listed
	MaxIncidentMembers   = 1000 // beyond, what would join opens another
	MaxIncidentNotes     = 500  // of people
	MaxIncidentHistory   = 100  // changes kept; the oldest go first
	MaxIncidentNoteBytes = 8 << 10
	MaxIncidentTextBytes = 200 // of a title, and of an assignee
)

// Incident is a group of detections and the events they led to that belong
// together, with a life: open, acknowledged, resolved.
type Incident struct {
	ID          IncidentID          `json:"id"`
	Workspace   WorkspaceID         `json:"-"`
	Revision    int64               `json:"revision"` // counts its changes, from 1
	Title       string              `json:"title"`
	Severity    Severity            `json:"severity"`
	Status      IncidentStatus      `json:"status"`
	Resolution  Resolution          `json:"resolution,omitempty"`
	Disposition IncidentDisposition `json:"disposition,omitempty"`
	Assignee    string              `json:"assignee,omitempty"`
	MergedInto  IncidentID          `json:"merged_into,omitzero"`
	Merged      []IncidentID        `json:"merged,omitempty"` // into it

	Entities IncidentEntities `json:"entities"`
	Evidence IncidentEvidence `json:"evidence"`
	Times    IncidentTimes    `json:"times"`

	// Links are what it can be joined by, such as "ip:203.0.113.9", and when each
	// was seen in it.
	Links   map[string][]Span `json:"links"`
	Notes   []IncidentNote    `json:"notes,omitempty"`
	History []IncidentNote    `json:"history,omitempty"`
	Pinned  IncidentPins      `json:"pinned,omitzero"`
	Told    IncidentTold      `json:"told"`
}

// Live reports whether it takes new members.
func (i *Incident) Live() bool { return i.Status != IncidentResolved }

// Clone returns a copy that shares nothing that changes.
func (i *Incident) Clone() *Incident {
	c := *i
	c.Merged = slices.Clone(i.Merged)
	c.Entities = IncidentEntities{SourceIPs: slices.Clone(i.Entities.SourceIPs), Users: slices.Clone(i.Entities.Users), Assets: slices.Clone(i.Entities.Assets)}
	c.Evidence.Names, c.Evidence.Tactics = slices.Clone(i.Evidence.Names), slices.Clone(i.Evidence.Tactics)
	c.Evidence.Techniques, c.Evidence.Threats = slices.Clone(i.Evidence.Techniques), slices.Clone(i.Evidence.Threats)
	c.Notes, c.History = slices.Clone(i.Notes), slices.Clone(i.History)
	c.Links = make(map[string][]Span, len(i.Links))
	for link, spans := range i.Links {
		c.Links[link] = slices.Clone(spans)
	}
	return &c
}

// IncidentEntities are who and what takes part, in the order in which they were
// first seen.
type IncidentEntities struct {
	SourceIPs []string `json:"source_ips,omitempty"`
	Users     []string `json:"users,omitempty"`
	Assets    []string `json:"assets,omitempty"`
}

// IncidentEvidence is what its members add up to.
type IncidentEvidence struct {
	Worst      Severity `json:"worst"`   // of a member
	Members    int      `json:"members"` // threats and suspicious logins
	Records    int64    `json:"records"` // that led to them
	Names      []string `json:"names"`   // vectors and patterns
	Tactics    []string `json:"tactics"` // of ATT&CK, in the order of an attack
	Techniques []string `json:"techniques"`
	Threats    []string `json:"threats"` // ids of members
}

// IncidentTimes are an incident's moments. The first two are in event time, the
// others by the clock.
type IncidentTimes struct {
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Opened    time.Time `json:"opened"`
	Updated   time.Time `json:"updated"`
	Active    time.Time `json:"active"` // when the engine, or a person, last had to do with it
	Resolved  time.Time `json:"resolved,omitzero"`
}

// Span is a stretch of event time.
type Span struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// IncidentNote is a person's note, or what changed, in words.
type IncidentNote struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"` // a person, as the caller says who, or "engine"
	Text string    `json:"text"`
}

// IncidentPins says what a person has set, which the engine then leaves alone.
type IncidentPins struct {
	Title    bool `json:"title,omitempty"`
	Severity bool `json:"severity,omitempty"`
}

// IncidentTold is what the last event about an incident said.
type IncidentTold struct {
	At          time.Time           `json:"at"`
	Title       string              `json:"title"`
	Severity    Severity            `json:"severity"`
	Status      IncidentStatus      `json:"status"`
	Disposition IncidentDisposition `json:"disposition,omitempty"`
	Assignee    string              `json:"assignee,omitempty"`
	Members     int                 `json:"members"`
	Merged      int                 `json:"merged,omitempty"`
	Updates     int                 `json:"updates,omitempty"` // in quick succession
	// Behind says that there is more to tell, which waits for its turn.
	Behind bool `json:"behind,omitempty"`
}

// IncidentMember is a threat or a suspicious login, which belongs to one incident
// or to none.
type IncidentMember struct {
	Subject    string     // its own id, thr_… or auth_…
	Incident   IncidentID // zero: it belongs to none
	FindingKey string     // of the last finding about it …
	Told       IncidentID // … and what stands in that event
	At         time.Time  // when that was, by the clock
	Type       string     // the event type
	Gist       Gist
	Counted    IncidentDisposition // what its rules and its name are counted as
	Event      EventID             // of the last finding; set where it is asked for
}

// IncidentLookup asks for what a change of incidents depends on.
type IncidentLookup struct {
	Subjects []string     // their members, and the incidents these belong to
	Links    []string     // live incidents that have any of them
	IDs      []IncidentID // these
	Of       []IncidentID // all members of these
}

// IncidentView is what a workspace's incidents were at a revision.
type IncidentView struct {
	Revision  int64
	Incidents []*Incident
	Members   []*IncidentMember
}

// IncidentChanges are committed together, on the condition that the workspace's
// incidents are still at Revision.
type IncidentChanges struct {
	Revision  int64
	Moves     []IncidentMove // done first, in this order
	Incidents []*Incident    // new or changed
	Members   []*IncidentMember
	Verdicts  []Verdict // to add
	Events    []Finding // to be published, in this order
}

// IncidentMove takes all members of one incident to another.
type IncidentMove struct{ From, To IncidentID }

// Verdict counts what people found the detections of one rule, or all that is
// called by one vector or pattern, to be.
type Verdict struct {
	Rule          string // "web:942100"; "" where it is about a name
	Name          string
	TruePositive  int
	FalsePositive int
}

// Add counts n more of a disposition; of one that says neither, nothing.
func (v *Verdict) Add(d IncidentDisposition, n int) {
	switch d {
	case TruePositive:
		v.TruePositive += n
	case FalsePositive:
		v.FalsePositive += n
	case Undetermined:
	}
}

// IncidentQuery asks for incidents of one workspace, newest first. Zero fields do
// not restrict.
type IncidentQuery struct {
	Workspace  WorkspaceID
	Statuses   []IncidentStatus // any of them
	Severities []Severity       // any of them
	Text       string           // found, case-insensitively, in the title or an entity
	Entity     string           // is, case-insensitively, one of the addresses, users or assets
	Since      time.Time        // opened at or after
	Until      time.Time        // opened before
	Before     IncidentID
	Limit      int
}

// IncidentCount is how many incidents of one status have one severity.
type IncidentCount struct {
	Status   IncidentStatus
	Severity Severity
	Count    int64
}

// IncidentChange is what a person changes; nil leaves a field as it is.
type IncidentChange struct {
	By          string
	Revision    *int64 // the change is refused where the incident has another one
	Status      *IncidentStatus
	Disposition *IncidentDisposition // "" takes it back
	Severity    *Severity            // "" leaves it to the engine again
	Title       *string              // likewise
	Assignee    *string
	Note        *string
	MergeInto   *IncidentID
}

// OutgoingEvents are events of one workspace that were committed with what they
// tell of, and are yet to be published.
type OutgoingEvents struct {
	Workspace WorkspaceID
	Revision  int64 // of the last of them, with Place within it
	Place     int
	Events    []Finding
}

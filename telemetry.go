package cybervault

import "time"

// Record is one unit of telemetry: a log line or a JSON record, read into flat
// fields under the names of the Sigma taxonomy for its log source.
type Record struct {
	Source   string            // the name the operator gave the source; "" if none
	Category string            // Sigma logsource: "webserver", …
	Product  string            // "linux", "nginx", …
	Service  string            // "sshd", …
	Time     time.Time         // event time, UTC; zero where the record names none
	Host     string            // the machine that wrote it, as the record names it
	SourceIP string            // the address that acted, in canonical form; "" where the record names none
	User     string            // the account that acted or was acted upon; "" where the record names none
	Fields   map[string]string // Sigma taxonomy names, such as "c-ip", "cs-uri-query", "User"

	// Multi holds the values of fields that have more than one, such as those of a
	// JSON array, nested names joined by dots. A name stands in Fields or in Multi,
	// never in both; one whose value is null stands in neither.
	Multi map[string][]string

	Raw  []byte // the record as it was read; owned by the Record
	Line int    // 1-based line of the input it began on
}

// Detection is what the threat engine concluded from telemetry, before it
// becomes an event. Its JSON form is an element of an event's "detections".
type Detection struct {
	Engine      string   `json:"engine"`  // "sigma", "web" or "login"
	RuleID      string   `json:"rule_id"` // the rule's own id: a Sigma UUID, a CRS number, a login pattern
	Title       string   `json:"title"`
	Level       Severity `json:"level"`
	MitreIDs    []string `json:"mitre_ids"` // ATT&CK techniques; empty where nothing is known
	Record      string   `json:"record"`    // the raw record, shortened to MaxDetectionRecordBytes
	Count       int      `json:"count"`     // how many records led to it
	Explanation string   `json:"explanation"`
}

// MaxDetectionRecordBytes bounds the raw record shown in a detection.
const MaxDetectionRecordBytes = 4 << 10

// Finding is an event that the threat engine concluded should be published.
type Finding struct {
	Type      string // an event type, such as EventThreatDetected
	Timestamp time.Time
	// Key makes publishing the same finding again harmless: the same telemetry
	// gives the same key.
	Key  string
	Data []byte // JSON object, valid against the type's schema
	Gist Gist
}

// Gist is what a finding says, for whoever groups findings and need not know the
// data of each type.
type Gist struct {
	Subject    string    `json:"subject"` // the threat's own id, or the suspicious login's; "" of what belongs to no incident
	Severity   Severity  `json:"severity"`
	Confidence float64   `json:"confidence"`
	Name       string    `json:"name"`            // vector or pattern
	Names      []string  `json:"names,omitempty"` // all that it showed, the one that would do most harm first
	Count      int       `json:"count"`           // records
	FirstSeen  time.Time `json:"first_seen"`
	LastSeen   time.Time `json:"last_seen"`
	SourceIP   string    `json:"source_ip,omitempty"` // canonical; "" where none is known
	User       string    `json:"user,omitempty"`
	Asset      string    `json:"asset,omitempty"`
	Techniques []string  `json:"techniques,omitempty"` // of ATT&CK
	Rules      []string  `json:"rules,omitempty"`      // "engine:rule_id" of each detection
	// OnAsset says that it happened on the asset itself, and not only towards it,
	// so that the asset has it in common with what else happened there.
	OnAsset bool `json:"on_asset,omitempty"`
	// NoSuchUser says that User is the name of no account.
	NoSuchUser bool `json:"no_such_user,omitempty"`
}

// TelemetryReceipt is the answer to whoever handed telemetry in, once the
// events it led to are on disk.
type TelemetryReceipt struct {
	Records    int              `json:"records"`    // read and given to the threat engine
	Unreadable int              `json:"unreadable"` // lines that were not
	Samples    []UnreadableLine `json:"unreadable_lines"`
	Events     []EventID        `json:"events"` // published because of these records
}

// MaxUnreadableSamples bounds how many unreadable lines a receipt shows.
const MaxUnreadableSamples = 20

// UnreadableLine is a line that could not be read as a record.
type UnreadableLine struct {
	Line   int    `json:"line"`   // 1-based
	Reason string `json:"reason"` // what was expected
	Text   string `json:"text"`   // the line, shortened
}

package cybervault

import "time"

// System is how a server stands, as far as it can be told at once.
type System struct {
	Version   string
	StartedAt time.Time // of this node
	Node      int       // its number among those that share a database; 0 where none can
	Nodes     []Node    // that share it, this one among them

	Store   string // sqlite or postgres
	Bytes   int64  // that the embedded store takes; 0 where the disk is another machine's
	Free    int64  // bytes that its disk has left
	Reserve int64  // that must stay free
	Oldest  time.Time

	Retention     time.Duration // events older than that are removed; 0: none is
	RetentionDead time.Duration // the same for those with a dead letter, if it is longer

	Pending   int64 // deliveries that have not ended
	Held      int64 // of webhooks that have not been verified
	Waiting   int64 // bytes that wait for a commit
	Refused   int64 // publishes that were refused since the start, for want of room
	Audited   int64 // entries of the audit log
	Unaudited int64 // transactions that it has yet to read

	Engine Engine
	// Problems are what keeps the server from its work now, in words and with what to
	// do about it.
	Problems []Check
}

// Node is one of several servers that share a database.
type Node struct {
	Number   int
	Host     string
	JoinedAt time.Time
	Me       bool
}

// Engine is how the threat engine of one node stands.
type Engine struct {
	Rules   int   // that are on
	Records int64 // judged since the start
	Open    int   // attacks that it watches
	Watched int   // addresses and accounts that it watches
	Evicted int64 // that it forgot for want of room
	Late    int64 // records that came too late to count
	Failed  int64 // records that could not be judged
}

// How long a source must be silent to be told of, at least, and how many times as long
// as it usually is. A source is known after so many batches.
const (
	SourceSilence  = 10 * time.Minute
	SourcePatience = 10
	SourceBatches  = 6
)

// TelemetrySource is where telemetry comes from, as one node has seen it since it
// started.
type TelemetrySource struct {
	Name      string // that was given with it, or else the machine that wrote it
	FirstSeen time.Time
	LastSeen  time.Time
	Records   int64
	Batches   int64
	Usual     time.Duration // median of the last times between two batches; 0 after too few
}

// Silent reports whether a source that used to send has stopped: that it has been
// silent for ten minutes, and ten times as long as between its batches.
func (s *TelemetrySource) Silent(now time.Time) bool {
	return s.Batches >= SourceBatches && now.Sub(s.LastSeen) > max(SourceSilence, SourcePatience*s.Usual)
}

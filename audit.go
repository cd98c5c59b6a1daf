package cybervault

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// AuditKind says what an entry of the audit log is about.
type AuditKind string

// The kinds of entries.
const (
	AuditEvent   AuditKind = "event"   // an event was stored
	AuditOutcome AuditKind = "outcome" // a delivery ended
	// AuditMissing stands for a change whose row was gone before the audit log
	// read it. Nothing of this program removes a row so early.
	AuditMissing AuditKind = "missing"
	// AuditGap stands for the rows of the change log that were gone before the audit
	// log read them: nobody knows of which changes they told.
	AuditGap AuditKind = "gap"
)

// AuditRef names the row that an entry is made of: an event's or a delivery's, or
// for AuditGap the row of the change log that was read last.
type AuditRef struct {
	Kind     AuditKind
	Key      int64
	Delivery bool // of AuditMissing: the row was a delivery's
}

// AuditEntry is what the audit log says about one event or one delivery that
// ended. Its canonical bytes, and nothing else, are what is hashed, so every
// field is one that never changes once the entry can be made.
type AuditEntry struct {
	Ref       AuditRef
	Workspace WorkspaceID
	Event     EventID
	Test      bool

	// Of an event.
	EventType  string
	Timestamp  time.Time
	BodyDigest [sha256.Size]byte // SHA-256 of the stored body, byte for byte what receivers get in the native format

	// Of a delivery.
	Delivery    DeliveryID
	Webhook     WebhookID
	Sequence    int64 // 0 for one that was skipped
	Status      DeliveryStatus
	Reason      string
	Attempts    int
	LastStatus  int
	LastFailure Failure
	FinishedAt  time.Time
}

// auditTime is RFC 3339 with microseconds, which is what the store keeps.
const auditTime = "2006-01-02T15:04:05.000000Z"

// Append appends the canonical bytes: one JSON object, its keys in this order,
// without white space. They begin with the version of the form, which only
// entries made later may change.
func (e *AuditEntry) Append(b []byte) []byte {
	b = append(b, `{"v":1,"kind":"`...)
	b = append(append(b, e.Ref.Kind...), '"')
	switch e.Ref.Kind {
	case AuditEvent, AuditOutcome:
	case AuditGap:
		return append(strconv.AppendInt(append(b, `,"row":`...), e.Ref.Key, 10), '}')
	case AuditMissing:
		of := "event"
		if e.Ref.Delivery {
			of = "delivery"
		}
		b = appendAuditText(b, "of", of)
		b = strconv.AppendInt(append(b, `,"row":`...), e.Ref.Key, 10)
		return append(b, '}')
	}
	if e.Ref.Kind == AuditOutcome {
		b = appendAuditID(b, "delivery_id", e.Delivery)
	}
	b = appendAuditID(b, "event_id", e.Event)
	b = appendAuditID(b, "workspace_id", e.Workspace)
	if e.Ref.Kind == AuditEvent {
		b = appendAuditText(b, "event", e.EventType)
		b = e.Timestamp.UTC().AppendFormat(append(b, `,"timestamp":"`...), auditTime)
		b = hex.AppendEncode(append(b, `","body_sha256":"`...), e.BodyDigest[:])
		b = append(b, '"')
	} else {
		b = appendAuditID(b, "webhook_id", e.Webhook)
		b = strconv.AppendInt(append(b, `,"sequence":`...), e.Sequence, 10)
		b = appendAuditText(b, "status", string(e.Status))
		b = appendAuditText(b, "reason", e.Reason)
		b = strconv.AppendInt(append(b, `,"attempts":`...), int64(e.Attempts), 10)
		b = strconv.AppendInt(append(b, `,"last_status":`...), int64(e.LastStatus), 10)
		b = appendAuditText(b, "last_failure", string(e.LastFailure))
		b = e.FinishedAt.UTC().AppendFormat(append(b, `,"finished_at":"`...), auditTime)
		b = append(b, '"')
	}
	return append(strconv.AppendBool(append(b, `,"test":`...), e.Test), '}')
}

// AuditLeafHash is the hash of an entry's bytes as a leaf (RFC 6962, section 2.1).
func AuditLeafHash(entry []byte) [sha256.Size]byte {
	return sha256.Sum256(append(append(make([]byte, 0, 512), 0), entry...))
}

func appendAuditID[K Kind](b []byte, name string, id ID[K]) []byte {
	b = append(append(append(b, `,"`...), name...), `":"`...)
	b, _ = id.AppendText(b)
	return append(b, '"')
}

func appendAuditText(b []byte, name, text string) []byte {
	b = append(append(append(b, `,"`...), name...), `":"`...)
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"', c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// auditForm is an entry as it is read.
type auditForm struct {
	Version     int            `json:"v"`
	Kind        AuditKind      `json:"kind"`
	Of          string         `json:"of"`
	Row         int64          `json:"row"`
	Delivery    DeliveryID     `json:"delivery_id"`
	Event       EventID        `json:"event_id"`
	Workspace   WorkspaceID    `json:"workspace_id"`
	EventType   string         `json:"event"`
	Timestamp   time.Time      `json:"timestamp"`
	BodyDigest  string         `json:"body_sha256"`
	Webhook     WebhookID      `json:"webhook_id"`
	Sequence    int64          `json:"sequence"`
	Status      DeliveryStatus `json:"status"`
	Reason      string         `json:"reason"`
	Attempts    int            `json:"attempts"`
	LastStatus  int            `json:"last_status"`
	LastFailure Failure        `json:"last_failure"`
	FinishedAt  time.Time      `json:"finished_at"`
	Test        bool           `json:"test"`
}

// ParseAuditEntry reads canonical bytes, and nothing else: what it returns
// appends the same bytes again. CodeInvalid where they are not canonical.
func ParseAuditEntry(b []byte) (*AuditEntry, error) {
	var f auditForm
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, Errorf(CodeInvalid, "this is no entry of an audit log: %v", err)
	}
	if f.Version != 1 {
		return nil, Errorf(CodeInvalid, "the entry has version %d of the form, and this program knows version 1", f.Version)
	}
	e := &AuditEntry{
		Ref: AuditRef{Kind: f.Kind}, Workspace: f.Workspace, Event: f.Event, Test: f.Test, EventType: f.EventType, Timestamp: f.Timestamp,
		Delivery: f.Delivery, Webhook: f.Webhook, Sequence: f.Sequence, Status: f.Status, Reason: f.Reason, Attempts: f.Attempts,
		LastStatus: f.LastStatus, LastFailure: f.LastFailure, FinishedAt: f.FinishedAt,
	}
	switch f.Kind {
	case AuditEvent:
		e.Ref.Key = f.Event.Key()
		if len(f.BodyDigest) == hex.EncodedLen(len(e.BodyDigest)) {
			_, _ = hex.Decode(e.BodyDigest[:], []byte(f.BodyDigest)) // what is no digest is found by the comparison below
		}
	case AuditOutcome:
		e.Ref.Key, e.Ref.Delivery = f.Delivery.Key(), true
	case AuditMissing, AuditGap:
		e.Ref.Key, e.Ref.Delivery = f.Row, f.Of == "delivery"
	default:
		return nil, Errorf(CodeInvalid, "the entry is of kind %q, which this program does not know", truncate(string(f.Kind), 60))
	}
	if string(e.Append(nil)) != string(b) {
		return nil, Errorf(CodeInvalid, "the entry is not in its canonical form")
	}
	return e, nil
}

// AuditState is how far the audit log has come.
type AuditState struct {
	Size       int64             // entries
	Root       [sha256.Size]byte // of the tree of so many
	Checkpoint string            // the signed note of that; "" before the first

	// The row of the change log up to which all is in the audit log.
	Transaction int64
	Mark        int64
}

// AuditLeaf is an entry that is about to be appended.
type AuditLeaf struct {
	Ref  AuditRef
	At   time.Time // of the commit that it tells of
	Hash [sha256.Size]byte
}

// AuditBatch is what follows in the change log on a state.
type AuditBatch struct {
	Leaves      []AuditLeaf
	Transaction int64 // what the state's will be
	Mark        int64
	More        bool
}

// AuditTile is a run of up to 256 hashes of the tree: number Index of the tiles
// at a level, as in tlog-tiles (C2SP).
type AuditTile struct {
	Level  int
	Index  int64
	Hashes []byte
}

// AuditTileSize is how many hashes, or entries, a full tile has.
const AuditTileSize = 256

// AuditRefs says which rows the entries of a tile of level 0 are made of.
type AuditRefs struct {
	Index int64
	At    time.Time // of the last one's commit
	Refs  []AuditRef
}

// AuditStep grows the audit log from one state to another.
type AuditStep struct {
	From, To AuditState
	Tiles    []AuditTile
	Refs     []AuditRefs
}

// AuditRow is an entry as the rows of the store give it now; Bytes is nil where
// they have been removed.
type AuditRow struct {
	Index     int64
	Ref       AuditRef
	Workspace WorkspaceID // zero where the row has been removed
	Bytes     []byte
}

// AuditProof is all that an auditor needs besides a public key: entries, their
// paths to the root of a tree, and the checkpoint that signs it.
type AuditProof struct {
	Format      string            `json:"format"`
	PublicKey   string            `json:"public_key"`
	Checkpoint  string            `json:"checkpoint"`
	Entries     []AuditProofEntry `json:"entries"` // how a delivery ended, then its event
	Consistency *AuditConsistency `json:"consistency,omitempty"`
}

// AuditProofEntry is an entry and the path from its leaf to the root (RFC 6962,
// section 2.1.1).
type AuditProofEntry struct {
	Index int64    `json:"index"` // from 0
	Entry string   `json:"entry"` // its canonical bytes
	Path  [][]byte `json:"path"`  // hashes, from the leaf's sibling up
}

// AuditConsistency shows that a tree begins with an older one (RFC 6962, section
// 2.1.2).
type AuditConsistency struct {
	From int64    `json:"from"` // the size of the older tree
	Path [][]byte `json:"path"`
}

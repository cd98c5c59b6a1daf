package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cybervault/cybervault"
)

// proofFormat stands in every proof, so that the format can change.
const proofFormat = "cybervault-audit-proof/1"

// Bounds of a proof that is read.
const (
	MaxProof   = 1 << 20
	maxEntries = 16
	maxHashes  = 128 // of one path: a tree of 2^63 has 63
)

// ParseProof reads a proof. Nothing in it has been checked then: see Verify.
func ParseProof(b []byte) (*cybervault.AuditProof, error) {
	if len(b) > MaxProof {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the proof is larger than %d KiB", MaxProof>>10)
	}
	p := &cybervault.AuditProof{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "this is no proof of an audit log: %v", err)
	}
	if p.Format != proofFormat {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the proof has the format %.60q, and this program knows %q", p.Format, proofFormat)
	}
	return p, nil
}

// Verified is what a proof proves.
type Verified struct {
	Checkpoint *Checkpoint
	Older      *Checkpoint // the one it was shown to extend; nil for none
	Outcome    *cybervault.AuditEntry
	Event      *cybervault.AuditEntry // nil where the event is older than the log
	Indexes    []int64                // of Outcome and Event
}

// Verify checks all of a proof against a public key and, unless it is nil, an
// older checkpoint that somebody kept, whose signature has been checked. It needs
// nothing else. An error says what does not hold.
func Verify(p *cybervault.AuditProof, publicKey string, older *Checkpoint) (*Verified, error) {
	checkpoint, err := OpenCheckpoint(p.Checkpoint, publicKey)
	if err != nil {
		return nil, err
	}
	v := &Verified{Checkpoint: checkpoint}
	if len(p.Entries) == 0 || len(p.Entries) > maxEntries {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the proof holds %d entries: it needs one or two", len(p.Entries))
	}
	for i := range p.Entries {
		entry, err := verifyEntry(&p.Entries[i], checkpoint.Tree)
		if err != nil {
			return nil, err
		}
		switch {
		case entry.Ref.Kind == cybervault.AuditOutcome && v.Outcome == nil && v.Event == nil:
			v.Outcome = entry
		case entry.Ref.Kind == cybervault.AuditEvent && v.Outcome != nil && v.Event == nil:
			v.Event = entry
		default:
			return nil, broken("entry %d of the log is in it, but does not say how a delivery ended: %s", p.Entries[i].Index, p.Entries[i].Entry)
		}
		v.Indexes = append(v.Indexes, p.Entries[i].Index)
	}
	switch {
	case v.Outcome == nil:
		return nil, broken("the proof does not say how the delivery ended")
	case v.Event != nil && (v.Event.Event != v.Outcome.Event || v.Event.Workspace != v.Outcome.Workspace):
		return nil, broken("the proof is of a delivery of the event %s, but of the contents of %s", v.Outcome.Event, v.Event.Event)
	}
	if older != nil {
		if err := extends(p, checkpoint, older); err != nil {
			return nil, err
		}
		v.Older = older
	}
	return v, nil
}

func verifyEntry(e *cybervault.AuditProofEntry, tree tlog.Tree) (*cybervault.AuditEntry, error) {
	entry, err := cybervault.ParseAuditEntry([]byte(e.Entry))
	if err != nil {
		return nil, err
	}
	if e.Index < 0 || e.Index >= tree.N {
		return nil, broken("entry %d is not in a log of %d entries", e.Index, tree.N)
	}
	path, ok := hashesOf(e.Path)
	if !ok || tlog.CheckRecord(path, tree.N, tree.Hash, e.Index, tlog.RecordHash([]byte(e.Entry))) != nil {
		return nil, broken("entry %d of the log is not what is said of %s: its path does not lead to the root of the checkpoint, so the row it is made of has been changed since, or the proof has", e.Index, subject(entry))
	}
	return entry, nil
}

// subject names what an entry is about.
func subject(e *cybervault.AuditEntry) string {
	switch e.Ref.Kind {
	case cybervault.AuditEvent:
		return "the event " + e.Event.String()
	case cybervault.AuditOutcome:
		return "the delivery " + e.Delivery.String()
	case cybervault.AuditMissing, cybervault.AuditGap:
	}
	return fmt.Sprintf("row %d", e.Ref.Key)
}

func extends(p *cybervault.AuditProof, newer, older *Checkpoint) error {
	if older.Origin != newer.Origin {
		return cybervault.Errorf(cybervault.CodeInvalid, "the older checkpoint is of another log, %q", older.Origin)
	}
	var path [][]byte
	if older.Tree.N > 0 && older.Tree.N < newer.Tree.N {
		if p.Consistency == nil || p.Consistency.From != older.Tree.N {
			return cybervault.Errorf(cybervault.CodeInvalid, "the proof does not show that the log extends the older checkpoint of %d entries: make it with 'cybervault audit prove --checkpoint'", older.Tree.N)
		}
		path = p.Consistency.Path
	}
	return CheckExtends(path, newer, older)
}

// CheckExtends checks that one tree begins with all that another held, in the
// same order and unchanged.
func CheckExtends(path [][]byte, newer, older *Checkpoint) error {
	hashes, ok := hashesOf(path)
	const advice = "entries that were in it have been changed, removed or put in another order"
	switch {
	case older.Tree.N > newer.Tree.N:
		return broken("the older checkpoint counts %d entries, and the log has %d: it has been cut off or replaced", older.Tree.N, newer.Tree.N)
	case older.Tree.N == 0:
		return nil
	case older.Tree.N == newer.Tree.N:
		if older.Tree.Hash != newer.Tree.Hash {
			return broken("the log has as many entries as in the older checkpoint, but not the same: %s", advice)
		}
	case !ok || tlog.CheckTree(hashes, newer.Tree.N, newer.Tree.Hash, older.Tree.N, older.Tree.Hash) != nil:
		return broken("the log does not extend the older checkpoint of %d entries: %s", older.Tree.N, advice)
	}
	return nil
}

// hashesOf reads the hashes of a path.
func hashesOf(path [][]byte) ([]tlog.Hash, bool) {
	if len(path) > maxHashes {
		return nil, false
	}
	hashes := make([]tlog.Hash, len(path))
	for i, b := range path {
		if len(b) != tlog.HashSize {
			return nil, false
		}
		hashes[i] = tlog.Hash(b)
	}
	return hashes, true
}

// pathOf is hashes as a proof has them.
func pathOf(hashes []tlog.Hash) [][]byte {
	path := make([][]byte, len(hashes))
	for i := range hashes {
		path[i] = hashes[i][:]
	}
	return path
}

// Words says what is proven, in plain words.
func (v *Verified) Words() string {
	var b strings.Builder
	o := v.Outcome
	fmt.Fprintf(&b, "The delivery %s of the event %s to the webhook %s ended as %s at %s",
		o.Delivery, o.Event, o.Webhook, o.Status, o.FinishedAt.Format("2006-01-02 15:04:05.000 UTC"))
	switch {
	case o.Attempts > 0 && o.LastFailure != "":
		fmt.Fprintf(&b, ", attempt %d, %s", o.Attempts, o.LastFailure)
	case o.Attempts > 0 && o.LastStatus > 0:
		fmt.Fprintf(&b, ", attempt %d, answered with HTTP %d", o.Attempts, o.LastStatus)
	case o.Reason != "":
		fmt.Fprintf(&b, " (%s)", o.Reason)
	}
	if o.Test {
		b.WriteString("; it was a test")
	}
	fmt.Fprintf(&b, ".\nThis is entry %d of the log.\n", v.Indexes[0])
	if e := v.Event; e != nil {
		fmt.Fprintf(&b, "The event, %s of %s, has a body with the SHA-256 %x. This is entry %d.\n",
			e.EventType, e.Timestamp.Format("2006-01-02 15:04:05.000 UTC"), e.BodyDigest, v.Indexes[1])
	} else {
		b.WriteString("The log has no entry of the event, which may be older than the log: nothing is proven of its body.\n")
	}
	fmt.Fprintf(&b, "Both are under the root of %d entries that %s signed.\n", v.Checkpoint.Tree.N, v.Checkpoint.Origin)
	if v.Older != nil {
		fmt.Fprintf(&b, "Nothing of the %d entries of the older checkpoint has been removed, changed or moved since.\n", v.Older.Tree.N)
	}
	return b.String()
}

package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// proofJSON is a proof as it is answered; the field names are those of
// cybervault.AuditProof.
type proofJSON struct {
	Format      string               `json:"format"`
	PublicKey   string               `json:"public_key" doc:"Of the installation. Compare it with one that you kept."`
	Checkpoint  string               `json:"checkpoint" doc:"The signed note that the paths lead to."`
	Entries     []proofEntryJSON     `json:"entries" doc:"How the delivery ended, then its event. The event is missing if it was stored before the log began."`
	Consistency *proofConsistentJSON `json:"consistency,omitempty" doc:"Present if from was given."`
}

type proofEntryJSON struct {
	Index int64    `json:"index" doc:"Its place in the log, from 0."`
	Entry string   `json:"entry" doc:"Its canonical bytes, which are what is hashed."`
	Path  [][]byte `json:"path" doc:"The hashes from the leaf's sibling up (RFC 6962, section 2.1.1)."`
}

type proofConsistentJSON struct {
	From int64    `json:"from"`
	Path [][]byte `json:"path" doc:"RFC 6962, section 2.1.2."`
}

type auditKeyJSON struct {
	PublicKey string `json:"public_key" doc:"Name, hash and Ed25519 key, as signed notes have it."`
}

type auditEntriesJSON struct {
	Data []auditEntryJSON `json:"data"`
}

type auditEntryJSON struct {
	Index     int64                `json:"index" doc:"Its place in the log, from 0."`
	Kind      cybervault.AuditKind `json:"kind" doc:"event or outcome; missing where a row was gone before the log read it, gap where that is so of the change log."`
	Entry     *string              `json:"entry" doc:"Its canonical bytes, made from the rows as they are now; null where the row has been removed or is another workspace's."`
	Removed   bool                 `json:"removed" doc:"The row that it is made of is not in the store any more."`
	CreatedAt *time.Time           `json:"created_at" doc:"When the event was stored, or the delivery made; null for a gap."`
}

func (s *server) auditKey(c *call) error {
	return writeJSON(c, http.StatusOK, auditKeyJSON{s.Audit.PublicKey()})
}

func aboutAuditKey(rt *route) {
	rt.id, rt.tag, rt.summary = "getAuditKey", tagAudit, "The key that checks checkpoints"
	rt.doc = "The public key of the audit log. Keep it where this server's operator cannot change it."
	rt.answers = []answer{{status: 200, doc: "The key.", schema: of[auditKeyJSON]()}}
}

func (s *server) auditCheckpoint(c *call) error {
	checkpoint, err := s.Audit.Checkpoint(c.ctx())
	if err != nil {
		return err
	}
	return writePlain(c, "text/plain; charset=utf-8", []byte(checkpoint))
}

func aboutAuditCheckpoint(rt *route) {
	rt.id, rt.tag, rt.summary = "getAuditCheckpoint", tagAudit, "The newest checkpoint"
	rt.doc = "A signed note (C2SP tlog-checkpoint): how many entries the audit log has, and the root of the tree over them. " +
		"Keep it elsewhere: whoever holds one can tell later whether anything of what it covers was changed."
	rt.answers = []answer{{status: 200, doc: "The checkpoint.", schema: schema{"type": "string"}, media: "text/plain"}}
	rt.errors = []int{409}
}

func writePlain(c *call, media string, body []byte) error {
	c.w.Header().Set("Content-Type", media)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(body) // an error means that the caller has gone
	return nil
}

func (s *server) proveDelivery(c *call) error {
	id, err := pathID[cybervault.DeliveryID](c, "delivery")
	if err != nil {
		return err
	}
	f := &filters{query: c.query}
	from := f.whole("from", 1<<62)
	if err := f.wrong.err(); err != nil {
		return err
	}
	proof, err := s.Audit.Prove(c.ctx(), c.workspace(), id, from)
	if err != nil {
		return named(err, "delivery", id)
	}
	answer := proofJSON{Format: proof.Format, PublicKey: proof.PublicKey, Checkpoint: proof.Checkpoint, Consistency: (*proofConsistentJSON)(proof.Consistency)}
	for _, e := range proof.Entries {
		answer.Entries = append(answer.Entries, proofEntryJSON(e))
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutProveDelivery(rt *route) {
	rt.id, rt.tag, rt.summary = "proveDelivery", tagAudit, "Prove how a delivery ended"
	rt.doc = "The entries of the audit log about a delivery that has ended and about its event, with their paths to the root of a checkpoint. `cybervault audit verify` checks it without a server."
	rt.params = []param{{"from", "Prove also that the log extends the tree of so many entries: the size in a checkpoint that you kept.", schema{"type": "integer", "format": "int64", "minimum": 0}}}
	rt.answers = []answer{{status: 200, doc: "The proof.", schema: of[proofJSON]()}}
	rt.errors = []int{404, 409, 503}
}

func (s *server) auditTile(c *call) error {
	level, index, width, ok := parseTilePath(c.r.PathValue("path"))
	if !ok {
		return cybervault.Errorf(cybervault.CodeNotFound, "there is no such tile: the path is LEVEL/NUMBER or LEVEL/NUMBER.p/WIDTH, the number in groups of three digits (C2SP tlog-tiles)")
	}
	hashes, err := s.Audit.Tile(c.ctx(), level, index, width)
	if err != nil {
		return err
	}
	return writePlain(c, "application/octet-stream", hashes)
}

func aboutAuditTile(rt *route) {
	rt.id, rt.tag, rt.summary = "getAuditTile", tagAudit, "Hashes of the audit log"
	rt.doc = "A tile of the tree as tlog-tiles (C2SP) lays it out, below the prefix /v1/audit: LEVEL/NUMBER for one of 256 hashes, and LEVEL/NUMBER.p/WIDTH for the first hashes of one, the number in groups of three digits such as x001/x234/067."
	rt.answers = []answer{{status: 200, doc: "The hashes, 32 bytes each.", schema: schema{"type": "string", "format": "binary"}, media: "application/octet-stream"}}
	rt.errors = []int{404}
}

// parseTilePath reads a path of C2SP tlog-tiles behind "tile/". width is 0 for a
// full tile.
func parseTilePath(path string) (level int, index int64, width int, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) < 2 {
		return 0, 0, 0, false
	}
	level, err := strconv.Atoi(parts[0])
	if err != nil || level < 0 || level > 5 || strconv.Itoa(level) != parts[0] { // 256^6 entries and more
		return 0, 0, 0, false
	}
	last := len(parts) - 1
	if before, partial := strings.CutSuffix(parts[last-1], ".p"); partial && last > 1 {
		if width, err = strconv.Atoi(parts[last]); err != nil || width < 1 || width >= cybervault.AuditTileSize || strconv.Itoa(width) != parts[last] {
			return 0, 0, 0, false
		}
		parts[last-1] = before
		parts = parts[:last]
	}
	const maxGroups = 5
	if len(parts)-1 > maxGroups || len(parts) > 2 && parts[1] == "x000" {
		return 0, 0, 0, false
	}
	for i, part := range parts[1:] {
		digits, more := strings.CutPrefix(part, "x")
		if more != (i < len(parts)-2) || len(digits) != 3 || strings.Trim(digits, "0123456789") != "" {
			return 0, 0, 0, false
		}
		n, _ := strconv.ParseInt(digits, 10, 64)
		index = index*1000 + n
	}
	return level, index, width, true
}

func (s *server) auditEntries(c *call) error {
	f := &filters{query: c.query}
	tile := f.whole("tile", 1<<48)
	if err := f.wrong.err(); err != nil {
		return err
	}
	rows, err := s.Audit.Entries(c.ctx(), tile)
	if err != nil {
		return err
	}
	answer := auditEntriesJSON{Data: make([]auditEntryJSON, len(rows))}
	for i, row := range rows {
		entry := auditEntryJSON{Index: row.Index, Kind: row.Ref.Kind, Removed: row.Bytes == nil}
		if row.Ref.Kind != cybervault.AuditGap {
			created := cybervault.UUIDFromParts(row.Ref.Key, 0).Time()
			entry.CreatedAt = &created
		}
		// What the log says of other workspaces is not this one's business; that
		// there is an entry every tile shows.
		if row.Bytes != nil && (row.Workspace == c.workspace() || row.Workspace.IsZero()) {
			text := string(row.Bytes)
			entry.Entry = &text
		}
		answer.Data[i] = entry
	}
	return writeJSON(c, http.StatusOK, answer)
}

func aboutAuditEntries(rt *route) {
	rt.id, rt.tag, rt.summary = "listAuditEntries", tagAudit, "Entries of the audit log"
	rt.doc = "The up to 256 entries below a tile of level 0, made from the rows as they are now: whoever compares their hashes with the tile finds what was changed since."
	rt.params = []param{{"tile", "The number of the tile: entry 256 × tile is its first; 0 if not given.", schema{"type": "integer", "format": "int64", "minimum": 0}}}
	rt.answers = []answer{{status: 200, doc: "The entries, in their order.", schema: of[auditEntriesJSON]()}}
	rt.errors = []int{404}
}

// whole reads a whole number from 0, 0 if it is not given.
func (f *filters) whole(name string, most int64) int64 {
	value, ok := f.text(name)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > most {
		f.refusef(name, "%q is not a whole number from 0", shorten(value))
	}
	return n
}

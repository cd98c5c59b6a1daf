package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// The audit log's hashes, and where in the change log it stands, are kept here;
// what is hashed and signed how is internal/audit's business. Whatever is
// appended is committed in one transaction with the position that follows, and
// only if the position is still the one it was worked out from: so nothing is
// logged twice or left out, whoever crashes, and however many nodes try.
//
// An entry's bytes are not stored: they follow from rows that never change once
// the entry is made. See docs/decisions/0029.

const (
	auditLookup = 512 // entries that are looked up at once
	// auditStrangers is how many rows that nobody asked for a scan may meet, besides
	// as many as were asked for.
	auditStrangers = 16
	auditRows      = 64 // of the change log that one look reads
	// auditBehind bounds how much of the change log a sweep reads to see what is not
	// in the audit log yet.
	auditBehind = 2000

	selectAuditState = `SELECT size, root, checkpoint, transaction_id, mark FROM audit_state WHERE id = 1`
	updateAuditState = `UPDATE audit_state SET size = ?, root = ?, checkpoint = ?, transaction_id = ?, mark = ?
WHERE id = 1 AND size = ? AND transaction_id = ? AND mark = ?`
	upsertAuditTile = `INSERT INTO audit_tiles (id, hashes) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET hashes = excluded.hashes`
	upsertAuditRefs = `INSERT INTO audit_refs (tile, at, first_event, last_event, first_delivery, last_delivery, refs) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tile) DO UPDATE SET at = excluded.at, first_event = excluded.first_event, last_event = excluded.last_event,
first_delivery = excluded.first_delivery, last_delivery = excluded.last_delivery, refs = excluded.refs`
)

// AuditState is how far the audit log has come.
func (s *Store) AuditState(ctx context.Context) (cybervault.AuditState, error) {
	var a cybervault.AuditState
	var root []byte
	err := s.db.QueryRowContext(ctx, selectAuditState).Scan(&a.Size, &root, &a.Checkpoint, &a.Transaction, &a.Mark)
	if err == nil && len(root) != len(a.Root) {
		err = errors.New("the root in audit_state is damaged")
	}
	copy(a.Root[:], root)
	return a, readError(err)
}

// AuditPending reads what has been committed after a state, about limit entries
// or more where a single transaction made more, and makes leaves of it. Where the
// change log no longer holds the row up to which the audit log was written, an
// entry says so, and it goes on with what there is.
func (s *Store) AuditPending(ctx context.Context, after cybervault.AuditState, limit int) (cybervault.AuditBatch, error) {
	batch := cybervault.AuditBatch{Transaction: after.Transaction, Mark: after.Mark}
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(selectChanges+s.dialect.settled+" ORDER BY c.id LIMIT ?"), after.Transaction, int64(auditRows))
	if err != nil {
		return batch, readError(err)
	}
	defer func() { _ = rows.Close() }()
	read := 0
	for len(batch.Leaves) < limit && rows.Next() {
		var id, at int64
		var packed []byte
		if err := rows.Scan(&id, &at, &packed); err != nil {
			return batch, readError(err)
		}
		if read++; read == 1 {
			if id == after.Transaction && at == after.Mark {
				continue
			}
			batch.Leaves = append(batch.Leaves, gapAfter(after, at))
		}
		err := unpackChanges(packed, func(c changed) bool {
			if ref, ok := auditRef(c); ok {
				batch.Leaves = append(batch.Leaves, cybervault.AuditLeaf{Ref: ref, At: fromMicros(at)})
			}
			return true
		})
		if err != nil {
			return batch, err
		}
		batch.Transaction, batch.Mark = id, at
	}
	if err := rows.Err(); err != nil {
		return batch, readError(err)
	}
	batch.More = read == auditRows || len(batch.Leaves) >= limit
	_ = rows.Close() // before the pool is asked for another connection
	if read == 0 {
		last, err := s.LastChange(ctx)
		if err != nil || last.Transaction == after.Transaction {
			return batch, err // written meanwhile: the next look finds it
		}
		batch.Transaction, batch.Mark = last.Transaction, last.Mark
		batch.Leaves = append(batch.Leaves, gapAfter(after, last.Mark))
	}
	return batch, s.hashLeaves(ctx, batch.Leaves)
}

// gapAfter says that rows of the change log are gone that nobody has read.
func gapAfter(state cybervault.AuditState, at int64) cybervault.AuditLeaf {
	return cybervault.AuditLeaf{Ref: cybervault.AuditRef{Kind: cybervault.AuditGap, Key: state.Transaction}, At: fromMicros(at)}
}

// auditRef says which entry a change leads to, if it leads to one.
func auditRef(c changed) (cybervault.AuditRef, bool) {
	switch {
	case c.kind == cybervault.ChangeEvent:
		return cybervault.AuditRef{Kind: cybervault.AuditEvent, Key: c.key}, true
	case c.kind == cybervault.ChangeDelivery && c.status.Ended():
		return cybervault.AuditRef{Kind: cybervault.AuditOutcome, Key: c.key, Delivery: true}, true
	}
	return cybervault.AuditRef{}, false
}

// hashLeaves hashes the entries: what was committed lately is known, the rows of
// the rest are looked up.
func (s *Store) hashLeaves(ctx context.Context, leaves []cybervault.AuditLeaf) error {
	var buffer []byte
	refs, places := make([]cybervault.AuditRef, 0, auditLookup), make([]int, 0, auditLookup)
	for part := range slices.Chunk(leaves, auditLookup) {
		made := make([]bool, len(part))
		s.recent.hash(part, made)
		refs, places = refs[:0], places[:0]
		for i := range part {
			if !made[i] {
				refs, places = append(refs, part[i].Ref), append(places, i)
			}
		}
		s.auditRead.Add(int64(len(refs)))
		err := s.auditEntries(ctx, refs, func(i int, e *cybervault.AuditEntry) {
			buffer = e.Append(append(buffer[:0], 0)) // RFC 6962: a leaf's hash begins with a zero byte
			part[places[i]].Hash, made[places[i]] = sha256.Sum256(buffer), true
		})
		if err != nil {
			return err
		}
		for i := range part {
			if !made[i] {
				part[i].Ref.Kind = cybervault.AuditMissing // a gap is always made
				missing := cybervault.AuditEntry{Ref: part[i].Ref}
				part[i].Hash = cybervault.AuditLeafHash(missing.Append(nil))
			}
		}
	}
	return nil
}

// auditEntries makes the entries that refs name, as far as their rows are there.
func (s *Store) auditEntries(ctx context.Context, refs []cybervault.AuditRef, entry func(i int, e *cybervault.AuditEntry)) error {
	places := make(map[cybervault.AuditRef]int, len(refs))
	var events, deliveries []any
	for i, ref := range refs {
		switch ref.Kind {
		case cybervault.AuditEvent:
			events = append(events, ref.Key)
		case cybervault.AuditOutcome:
			deliveries = append(deliveries, ref.Key)
		case cybervault.AuditMissing, cybervault.AuditGap:
			entry(i, &cybervault.AuditEntry{Ref: ref})
			continue
		}
		places[ref] = i
	}
	found := func(e *cybervault.AuditEntry) {
		if i, ok := places[e.Ref]; ok {
			entry(i, e)
		}
	}
	if err := s.auditRowsOf(ctx, selectAuditEvents, events, scanAuditEvent, found); err != nil {
		return err
	}
	return s.auditRowsOf(ctx, selectAuditOutcomes, deliveries, scanAuditOutcome, found)
}

// auditIn is for as many keys as are looked up at once.
var auditIn = "IN (?" + strings.Repeat(", ?", auditLookup-1) + ")"

const (
	selectAuditEvents   = `SELECT e.id, e.id_rest, e.workspace_id, e.type, e.timestamp, e.test, e.body FROM events e WHERE e.id `
	selectAuditOutcomes = `SELECT d.id, d.id_rest, e.id, e.id_rest, d.workspace_id, d.webhook_id, d.sequence, d.status, d.reason, d.attempts, d.last_status, d.last_failure, d.finished_at, d.test
FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.id `
)

func (s *Store) auditRowsOf(ctx context.Context, query string, keys []any, scan func([]any, *cybervault.AuditEntry), found func(*cybervault.AuditEntry)) error {
	if len(keys) == 0 {
		return nil
	}
	// What was committed together mostly lies side by side, and one scan is cheaper
	// than a seek for each. Where too much lies between, it is a seek after all.
	first, last := keys[0].(int64), keys[0].(int64)
	for _, key := range keys {
		first, last = min(first, key.(int64)), max(last, key.(int64))
	}
	most := 2*len(keys) + auditStrangers
	n, err := s.auditQuery(ctx, query+"BETWEEN ? AND ? LIMIT ?", []any{first, last, int64(most)}, scan, found)
	if err == nil && n == most {
		for len(keys) < auditLookup { // so that this is one statement, whatever is asked for
			keys = append(keys, keys[0])
		}
		_, err = s.auditQuery(ctx, query+auditIn, keys, scan, found)
	}
	return err
}

// auditQuery tells found what a query finds, and returns how many rows that were.
func (s *Store) auditQuery(ctx context.Context, query string, args []any, scan func([]any, *cybervault.AuditEntry), found func(*cybervault.AuditEntry)) (int, error) {
	var entries []cybervault.AuditEntry
	err := s.readRows(ctx, query, args, func(row []any) {
		entries = append(entries, cybervault.AuditEntry{})
		scan(row, &entries[len(entries)-1])
	})
	if err != nil {
		return 0, readError(err)
	}
	for i := range entries {
		e := &entries[i]
		ws, err := s.restOf(ctx, "workspaces", e.Workspace.Key())
		if err != nil {
			return 0, err
		}
		e.Workspace.UUID = cybervault.UUIDFromParts(e.Workspace.Key(), ws)
		if e.Ref.Delivery {
			webhook, err := s.restOf(ctx, "webhooks", e.Webhook.Key())
			if err != nil {
				return 0, err
			}
			e.Webhook.UUID = cybervault.UUIDFromParts(e.Webhook.Key(), webhook)
		}
		found(e)
	}
	return len(entries), nil
}

// restOf is the random rest of the id of a webhook or a workspace, of which there
// are few, and none is ever removed: so it is looked up once, not joined to each
// of millions of rows. A row that is gone, by somebody's hand, has the rest 0, and
// the entry is not what was logged.
func (s *Store) restOf(ctx context.Context, table string, key int64) (int64, error) {
	type row struct {
		table string
		key   int64
	}
	if rest, ok := s.rests.Load(row{table, key}); ok {
		return rest.(int64), nil
	}
	var rest int64
	err := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT id_rest FROM "+table+" WHERE id = ?"), key).Scan(&rest)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, readError(err)
	}
	s.rests.Store(row{table, key}, rest)
	return rest, nil
}

func scanAuditEvent(row []any, e *cybervault.AuditEntry) {
	key := asInt(row[0])
	e.Ref = cybervault.AuditRef{Kind: cybervault.AuditEvent, Key: key}
	e.Event, e.Workspace = cybervault.MakeID[cybervault.EventID](key, asInt(row[1])), cybervault.MakeID[cybervault.WorkspaceID](asInt(row[2]), 0)
	e.EventType, e.Timestamp, e.Test, e.BodyDigest = asString(row[3]), fromMicros(asInt(row[4])), asInt(row[5]) != 0, sha256.Sum256(asBytes(row[6]))
}

// auditStatus is the status of a row as the log has it. One that no version knows is
// somebody's tampering, or damage: it gives an entry that is not the one logged,
// which a check finds, and must not stop the log.
func auditStatus(code int64) cybervault.DeliveryStatus {
	if code < statusPending || code > statusSkipped {
		return cybervault.DeliveryStatus("unknown_" + strconv.FormatInt(code, 10))
	}
	return statusOf(code)
}

func scanAuditOutcome(row []any, e *cybervault.AuditEntry) {
	key := asInt(row[0])
	e.Ref = cybervault.AuditRef{Kind: cybervault.AuditOutcome, Key: key, Delivery: true}
	e.Delivery, e.Event = cybervault.MakeID[cybervault.DeliveryID](key, asInt(row[1])), cybervault.MakeID[cybervault.EventID](asInt(row[2]), asInt(row[3]))
	e.Workspace, e.Webhook = cybervault.MakeID[cybervault.WorkspaceID](asInt(row[4]), 0), cybervault.MakeID[cybervault.WebhookID](asInt(row[5]), 0)
	e.Sequence, e.Status, e.Reason, e.Attempts = asInt(row[6]), auditStatus(asInt(row[7])), asString(row[8]), int(asInt(row[9]))
	e.LastStatus, e.LastFailure, e.FinishedAt, e.Test = int(asInt(row[10])), cybervault.Failure(asString(row[11])), fromMicros(asInt(row[12])), asInt(row[13]) != 0
}

// AuditBehind is how many transactions the audit log has yet to read, those that
// are not settled included: 2000 at most.
func (s *Store) AuditBehind(ctx context.Context) (n int64, err error) {
	err = s.db.QueryRowContext(ctx, s.dialect.rebind(`SELECT COUNT(*) FROM (SELECT 1 FROM changes c
WHERE c.id > (SELECT transaction_id FROM audit_state WHERE id = 1) LIMIT ?) behind`), int64(auditBehind)).Scan(&n)
	return n, readError(err)
}

// AppendAudit commits a step. CodeConflict when the log is not where the step
// begins: another node has been quicker, and nothing was written.
func (s *Store) AppendAudit(ctx context.Context, step cybervault.AuditStep) error {
	return s.w.do(ctx, func(tx transaction) error {
		to, from := &step.To, &step.From
		n, err := execCount(tx, updateAuditState, to.Size, to.Root[:], to.Checkpoint, to.Transaction, to.Mark, from.Size, from.Transaction, from.Mark)
		if err != nil {
			return err
		}
		if n == 0 {
			return cybervault.Errorf(cybervault.CodeConflict, "another node has written to the audit log")
		}
		err = tx.each(upsertAuditTile, len(step.Tiles), func(i int, a []any) []any {
			return append(a, tileKey(step.Tiles[i].Level, step.Tiles[i].Index), step.Tiles[i].Hashes)
		}, nil)
		if err != nil {
			return err
		}
		return tx.each(upsertAuditRefs, len(step.Refs), func(i int, a []any) []any {
			refs := &step.Refs[i]
			events, deliveries := spanOf(refs.Refs, false), spanOf(refs.Refs, true)
			return append(a, refs.Index, micros(refs.At), events[0], events[1], deliveries[0], deliveries[1], packRefs(refs.Refs))
		}, nil)
	})
}

// tileLevelShift puts the level into the top byte of a tile's key.
const tileLevelShift = 56

func tileKey(level int, index int64) int64 { return int64(level)<<tileLevelShift | index }

// AuditTile is the hashes of a tile as far as it is filled. CodeNotFound where
// there is none.
func (s *Store) AuditTile(ctx context.Context, level int, index int64) ([]byte, error) {
	var hashes []byte
	err := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT hashes FROM audit_tiles WHERE id = ?"), tileKey(level, index)).Scan(&hashes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "the audit log has no tile %d at level %d", index, level)
	}
	return hashes, readError(err)
}

// AuditRefs says which rows the entries of a tile are made of. CodeNotFound where
// there is no such tile.
func (s *Store) AuditRefs(ctx context.Context, tile int64) (cybervault.AuditRefs, error) {
	out := cybervault.AuditRefs{Index: tile}
	var at int64
	var packed []byte
	err := s.db.QueryRowContext(ctx, s.dialect.rebind("SELECT at, refs FROM audit_refs WHERE tile = ?"), tile).Scan(&at, &packed)
	if errors.Is(err, sql.ErrNoRows) {
		return out, cybervault.Errorf(cybervault.CodeNotFound, "the audit log has no list of the entries of tile %d", tile)
	}
	if err != nil {
		return out, readError(err)
	}
	out.At = fromMicros(at)
	out.Refs, err = unpackRefs(packed)
	return out, err
}

// AuditRows makes the entries of a tile from the rows as they are now.
func (s *Store) AuditRows(ctx context.Context, tile int64) ([]cybervault.AuditRow, error) {
	list, err := s.AuditRefs(ctx, tile)
	if err != nil {
		return nil, err
	}
	out := make([]cybervault.AuditRow, len(list.Refs))
	for i, ref := range list.Refs {
		out[i] = cybervault.AuditRow{Index: tile*cybervault.AuditTileSize + int64(i), Ref: ref}
	}
	return out, s.auditEntries(ctx, list.Refs, func(i int, e *cybervault.AuditEntry) {
		out[i].Workspace, out[i].Bytes = e.Workspace, e.Append(nil)
	})
}

// FindAudit finds the entry of an event or of a delivery's end, which was
// committed at about a moment. CodeNotFound where the log has none.
func (s *Store) FindAudit(ctx context.Context, ref cybervault.AuditRef, about time.Time) (int64, error) {
	keys := "first_event <= ? AND last_event >= ?"
	if ref.Delivery {
		keys = "first_delivery <= ? AND last_delivery >= ?"
	}
	// What is committed late, or by a node whose clock is behind, is found as
	// well: after the likely tiles come the others.
	for _, part := range []string{"at >= ? AND " + keys + " ORDER BY at, tile", "at < ? AND " + keys + " ORDER BY at DESC, tile DESC"} {
		index, ok, err := s.findRef(ctx, "SELECT tile, refs FROM audit_refs WHERE "+part, ref, micros(about))
		if err != nil || ok {
			return index, err
		}
	}
	return 0, cybervault.Errorf(cybervault.CodeNotFound, "the audit log has no such entry")
}

func (s *Store) findRef(ctx context.Context, query string, ref cybervault.AuditRef, about int64) (index int64, found bool, err error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(query), about, ref.Key, ref.Key)
	if err != nil {
		return 0, false, readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var tile int64
		var packed sql.RawBytes
		if err := rows.Scan(&tile, &packed); err != nil {
			return 0, false, readError(err)
		}
		refs, err := unpackRefs(packed)
		if err != nil {
			return 0, false, err
		}
		for i := range refs {
			if refs[i].Key == ref.Key && refs[i].Delivery == ref.Delivery && refs[i].Kind != cybervault.AuditGap {
				return tile*cybervault.AuditTileSize + int64(i), true, nil
			}
		}
	}
	return 0, false, readError(rows.Err())
}

// selectUnaudited reads what the audit log has yet to read of the change log.
const selectUnaudited = "SELECT c.changed FROM changes c WHERE c.id > (SELECT transaction_id FROM audit_state WHERE id = 1) ORDER BY c.id LIMIT ?"

// unaudited is the keys of the events and deliveries that the audit log has yet
// to read. It is to be asked after whatever shows that a delivery has ended:
// then what that was told of is in it, or in the audit log. ok is false when the
// log is so far behind that there are too many to tell.
func (s *Store) unaudited(tx transaction) (keys map[int64]bool, ok bool, err error) {
	keys = map[int64]bool{}
	rows := 0
	var damaged error
	err = tx.query(selectUnaudited, []any{int64(auditBehind)}, func(row []any) {
		rows++
		damaged = errors.Join(damaged, unpackChanges(asBytes(row[0]), func(c changed) bool {
			if _, logged := auditRef(c); logged {
				keys[c.key] = true
			}
			return true
		}))
	})
	return keys, rows < auditBehind, errors.Join(err, damaged)
}

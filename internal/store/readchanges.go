package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Bounds of one look at the change log, which every reader holds in memory.
const (
	changeRows    = 32        // rows that are read
	changePage    = 200       // changes
	changeLookup  = 16        // changes that are looked up at once
	changeBytes   = 512 << 10 // of what was looked up, until no more is: an event's body can have 256 KiB
	pruneRows     = 500       // removed at once
	selectChanges = `SELECT c.id, c.at, c.changed FROM changes c WHERE c.id >= ? AND `
)

// errNoPosition says that a position is not in the log.
var errNoPosition = cybervault.Errorf(cybervault.CodeGone,
	"this position is not in the change log any more, or is another server's: what came after it cannot be told without a gap; begin anew, and read what you missed from the lists")

// LastChange is the end of the change log as it is now.
func (s *Store) LastChange(ctx context.Context) (cybervault.ChangePosition, error) {
	var p cybervault.ChangePosition
	var packed []byte
	err := s.db.QueryRowContext(ctx, "SELECT c.id, c.at, c.changed FROM changes c WHERE "+s.dialect.settled+" ORDER BY c.id DESC LIMIT 1").Scan(&p.Transaction, &p.Mark, &packed)
	if err != nil {
		return p, readError(err)
	}
	err = unpackChanges(packed, func(changed) bool { p.Done++; return true })
	return p, err
}

// Changes reads on in the change log, about 200 changes or half a mebibyte at
// most, and looks up what has changed as it is now. What has been removed since
// is passed over. CodeGone when the position is not in the log.
func (s *Store) Changes(ctx context.Context, q cybervault.ChangeQuery) (cybervault.ChangePage, error) {
	found, page, err := s.nextChanges(ctx, &q)
	if err != nil {
		return page, err
	}
	size := 0
	for len(found) > 0 {
		n := min(len(found), changeLookup)
		bytes, err := s.lookUp(ctx, &q, found[:n], &page)
		if err != nil {
			return page, err
		}
		if found = found[n:]; len(found) > 0 && size+bytes > changeBytes {
			page.Next, page.More = found[0].before(), true
			break
		}
		size += bytes
	}
	return page, nil
}

// foundChange is a change that the query may ask for.
type foundChange struct {
	changed

	at cybervault.ChangePosition // behind it
}

// before is the position that it follows.
func (f *foundChange) before() cybervault.ChangePosition {
	p := f.at
	p.Done--
	return p
}

// nextChanges reads rows of the log. page.Next is behind what was read.
func (s *Store) nextChanges(ctx context.Context, q *cybervault.ChangeQuery) (found []foundChange, page cybervault.ChangePage, err error) {
	page = cybervault.ChangePage{Rows: []cybervault.Change{}, Next: q.After}
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(selectChanges+s.dialect.settled+" ORDER BY c.id LIMIT ?"), q.After.Transaction, int64(changeRows))
	if err != nil {
		return nil, page, readError(err)
	}
	defer func() { _ = rows.Close() }()
	read, count := 0, 0
	for !page.More && rows.Next() {
		at := cybervault.ChangePosition{}
		var packed []byte
		if err := rows.Scan(&at.Transaction, &at.Mark, &packed); err != nil {
			return nil, page, readError(err)
		}
		if read++; read == 1 && (at.Transaction != q.After.Transaction || at.Mark != q.After.Mark) {
			return nil, page, errNoPosition
		}
		err := unpackChanges(packed, func(c changed) bool {
			if read == 1 && at.Done < q.After.Done {
				at.Done++
				return true
			}
			if count++; count > changePage {
				page.More = true
				return false
			}
			at.Done++
			if q.Wants(c.kind) {
				found = append(found, foundChange{c, at})
			}
			return true
		})
		if err != nil {
			return nil, page, err
		}
		page.Next = at
	}
	if err := rows.Err(); err != nil {
		return nil, page, readError(err)
	}
	if read == 0 || page.Next.Transaction == q.After.Transaction && page.Next.Done < q.After.Done {
		return nil, page, errNoPosition
	}
	page.More = page.More || read == changeRows
	return found, page, nil
}

// lookUp adds changes to the page, in their order, and tells how large they are.
func (s *Store) lookUp(ctx context.Context, q *cybervault.ChangeQuery, found []foundChange, page *cybervault.ChangePage) (size int, err error) {
	events, err := s.changedEvents(ctx, q, found)
	if err != nil {
		return 0, err
	}
	deliveries, err := s.changedDeliveries(ctx, q, found)
	if err != nil {
		return 0, err
	}
	attempts, err := s.changedAttempts(ctx, found)
	if err != nil {
		return 0, err
	}
	for _, f := range found {
		c := cybervault.Change{Kind: f.kind, At: f.at, Status: f.status}
		if f.kind == cybervault.ChangeEvent {
			if c.Event = events[f.key]; c.Event != nil && q.WantsType(c.Event.Type) {
				page.Rows = append(page.Rows, c)
				size += len(c.Event.Body)
			}
			continue
		}
		c.Delivery = deliveries[f.key]
		if c.Delivery == nil || !q.Webhook.IsZero() && c.Delivery.Webhook != q.Webhook || !q.WantsType(c.Delivery.EventType) {
			continue
		}
		if f.kind == cybervault.ChangeAttempt {
			a := attempts[attemptKey{f.key, f.number}]
			if a == nil {
				continue
			}
			a.Delivery = c.Delivery.ID
			c.Attempt, c.Status = a, ""
			size += len(a.Body)
		}
		page.Rows = append(page.Rows, c)
		size += 512
	}
	return size, nil
}

// keysOf gathers the keys of the changes that are chosen, for an IN.
func keysOf(found []foundChange, chosen func(*foundChange) bool) (in string, args []any) {
	for i := range found {
		if chosen(&found[i]) {
			args = append(args, found[i].key)
		}
	}
	if len(args) == 0 {
		return "", nil
	}
	return "(?" + strings.Repeat(", ?", len(args)-1) + ")", args
}

func (s *Store) changedEvents(ctx context.Context, q *cybervault.ChangeQuery, found []foundChange) (map[int64]*cybervault.Event, error) {
	in, args := keysOf(found, func(f *foundChange) bool { return f.kind == cybervault.ChangeEvent })
	if args == nil {
		return map[int64]*cybervault.Event{}, nil
	}
	return byKey(ctx, s, "SELECT "+eventColumns+" FROM events e WHERE e.id IN "+in+" AND e.workspace_id = ?", append(args, q.Workspace.Key()),
		func(scan func(...any) error) (int64, *cybervault.Event, error) {
			e, err := scanEvent(q.Workspace, scan)
			if err != nil {
				return 0, nil, err
			}
			return e.ID.Key(), e, nil
		})
}

func (s *Store) changedDeliveries(ctx context.Context, q *cybervault.ChangeQuery, found []foundChange) (map[int64]*cybervault.Delivery, error) {
	in, args := keysOf(found, func(f *foundChange) bool { return f.kind != cybervault.ChangeEvent })
	if args == nil {
		return map[int64]*cybervault.Delivery{}, nil
	}
	return byKey(ctx, s, "SELECT "+deliveryColumns+" FROM "+deliveryTables+"d.id IN "+in+" AND d.workspace_id = ?", append(args, q.Workspace.Key()),
		func(scan func(...any) error) (int64, *cybervault.Delivery, error) {
			d, err := scanDelivery(q.Workspace, scan)
			if err != nil {
				return 0, nil, err
			}
			return d.ID.Key(), d, nil
		})
}

// attemptKey is the primary key of an attempt.
type attemptKey struct {
	delivery int64
	number   int
}

// changedAttempts does not ask whose they are: the deliveries say so.
func (s *Store) changedAttempts(ctx context.Context, found []foundChange) (map[attemptKey]*cybervault.Attempt, error) {
	var parts []string
	var args []any
	for _, f := range found {
		if f.kind == cybervault.ChangeAttempt {
			parts = append(parts, "a.delivery_id = ? AND a.number = ?")
			args = append(args, f.key, int64(f.number))
		}
	}
	if args == nil {
		return map[attemptKey]*cybervault.Attempt{}, nil
	}
	return byKey(ctx, s, "SELECT a.delivery_id, "+attemptColumns+" FROM attempts a WHERE "+strings.Join(parts, " OR "), args,
		func(scan func(...any) error) (key attemptKey, a *cybervault.Attempt, err error) {
			a, err = scanAttempt(func(into ...any) error { return scan(append([]any{&key.delivery}, into...)...) })
			if err != nil {
				return key, nil, err
			}
			key.number = a.Number
			return key, a, nil
		})
}

// byKey reads rows into a map.
func byKey[K comparable, T any](ctx context.Context, s *Store, query string, args []any, scan func(func(...any) error) (K, *T, error)) (map[K]*T, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(query), args...)
	if err != nil {
		return nil, readError(err)
	}
	defer func() { _ = rows.Close() }()
	out := map[K]*T{}
	for rows.Next() {
		key, row, err := scan(rows.Scan)
		if err != nil {
			return nil, readError(err)
		}
		out[key] = row
	}
	return out, readError(rows.Err())
}

// PruneChanges removes the beginning of the change log, a few hundred rows, and
// reports whether more may be to remove: the positions after which something was
// logged before a moment. The newest row always stays.
func (s *Store) PruneChanges(ctx context.Context, before time.Time) (more bool, err error) {
	var end int64
	err = s.w.do(ctx, func(tx transaction) error {
		end, more = 0, false
		read, young := 0, false
		var last int64
		// Only from the front, whatever the clocks of the nodes say, so that no
		// reader's position is left standing with a gap behind it.
		err := tx.query("SELECT c.id, c.at FROM changes c WHERE "+s.dialect.settled+" ORDER BY c.id LIMIT ?", []any{int64(pruneRows) + 1}, func(row []any) {
			read++
			if young = young || asInt(row[1]) >= micros(before); !young {
				end = last // whoever stands there has not read this one, and it is old
			}
			last = asInt(row[0])
		})
		if err != nil {
			return err
		}
		// Nor may the audit log's own position go.
		if err := tx.query("SELECT transaction_id FROM audit_state WHERE id = 1", nil, func(row []any) { end = min(end, asInt(row[0])-1) }); err != nil || end <= 0 {
			return err
		}
		more = !young && read > pruneRows
		return exec(tx, "DELETE FROM changes WHERE id <= ?", end)
	})
	return more, err
}

// restartChanges begins the log anew where its rows are of transactions that
// this PostgreSQL has yet to begin: the database was restored from a dump of
// another one, and nobody could tell the order of what is logged from now on.
// What the audit log has yet to read is carried over.
func (s *Store) restartChanges(ctx context.Context) error {
	return s.w.do(ctx, func(tx transaction) error {
		restored := false
		err := tx.query("SELECT 1 WHERE (SELECT MAX(id) FROM changes) >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint", nil, func([]any) { restored = true })
		if err != nil || !restored {
			return err
		}
		var unread changeList
		unread.reset()
		var damaged error
		err = tx.query("SELECT c.changed FROM changes c WHERE c.id > (SELECT transaction_id FROM audit_state WHERE id = 1) ORDER BY c.id", nil, func(row []any) {
			damaged = errors.Join(damaged, unpackChanges(asBytes(row[0]), func(c changed) bool {
				if ref, ok := auditRef(c); ok && ref.Delivery {
					unread.delivery(c.key, statusCode(c.status))
				} else if ok {
					unread.event(c.key)
				}
				return true
			}))
		})
		if err = errors.Join(err, damaged); err != nil {
			return err
		}
		now := micros(s.now())
		if err := exec(tx, "DELETE FROM changes"); err != nil {
			return err
		}
		if err := exec(tx, "INSERT INTO changes (id, at, changed) VALUES (1, ?, ?)", now, []byte{changeFormat}); err != nil {
			return err
		}
		if !unread.empty() {
			if err := exec(tx, "INSERT INTO changes (id, at, changed) VALUES (2, ?, ?)", now, unread.packed); err != nil {
				return err
			}
		}
		return exec(tx, "UPDATE audit_state SET transaction_id = 1, mark = ? WHERE id = 1", now)
	})
}

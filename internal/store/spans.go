package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/cybervault/cybervault"
)

// Where the events of a type lie in the log. An index by type would cost every
// publish an entry. Instead each type has a row for each span of 128 ms in which
// something of it was stored: its events, and the deliveries of them. However much
// is published in a span, that is one row; and a list of one type reads the spans
// that have any of it, and none of the log between.

// spanBits is how many low bits of a row key lie within a span: 128 ms. It never
// changes: the rows that are stored rely on it.
const spanBits = 27

// typeSpan says that something of a type lies in a span.
type typeSpan struct {
	name string
	span int64
}

const insertTypeSpan = "INSERT INTO type_spans (type, span) VALUES (?, ?) ON CONFLICT DO NOTHING"

// typed notes that a row with this key is of a type.
func (l *changeList) typed(name string, key int64) {
	t := typeSpan{name, key >> spanBits}
	if n := len(l.spans); n > 0 && l.spans[n-1] == t {
		return
	}
	l.spans = append(l.spans, t)
}

// storeSpans stores the spans of what a transaction wrote. It comes last, and in
// the order of the names, so that two writers cannot wait for each other.
func (s *Store) storeSpans(tx transaction) error {
	list := tx.noted()
	list.spans = s.spans.unknown(list.spans) // first: most are known, and need no sorting
	slices.SortFunc(list.spans, func(a, b typeSpan) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.span, b.span)) })
	list.spans = slices.Compact(list.spans)
	return tx.each(insertTypeSpan, len(list.spans), func(i int, a []any) []any { return append(a, list.spans[i].name, list.spans[i].span) }, nil)
}

// knownSpans remembers the newest span that is stored of each type, so that it is
// not stored with every commit again.
type knownSpans struct {
	mu   sync.Mutex
	last map[string]int64
}

// unknown drops the spans that are known to be stored, in place.
func (k *knownSpans) unknown(spans []typeSpan) []typeSpan {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(spans, func(t typeSpan) bool {
		span, ok := k.last[t.name]
		return ok && span == t.span
	})
}

// committed is told of spans once they are durable.
func (k *knownSpans) committed(spans []typeSpan) {
	if len(spans) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == nil {
		k.last = map[string]int64{}
	}
	for _, t := range spans {
		k.last[t.name] = max(t.span, k.last[t.name])
	}
}

// spansOf restricts a list of rows to those that lie in a span of a type. from is
// what to put in front of the tables, order what to order by before the row key.
func (s *Store) spansOf(c *condition, column, choice string, top int64) (from, order string) {
	if choice == "" || strings.HasSuffix(choice, "*") || checkText("event", choice) != nil {
		return "", ""
	}
	c.add("s.type = ?", choice)
	c.add("s.span <= ?", top>>spanBits)
	c.add(column + " >= (s.span << 27) AND " + column + " < ((s.span + 1) << 27)")
	return "type_spans s CROSS JOIN ", "s.span DESC, "
}

// pruneSpans is how many spans of a type one step looks at.
const pruneSpans = 500

// PruneSpans forgets where events lay that have been removed: a few hundred spans
// of the first type after one. It tells after which to go on; more is false when
// there is no such type.
func (s *Store) PruneSpans(ctx context.Context, after string) (next string, more bool, err error) {
	err = s.w.do(ctx, func(tx transaction) error {
		next, more = "", false
		var name any
		if err := tx.query("SELECT MIN(type) FROM type_spans WHERE type > ?", []any{after}, func(row []any) { name = row[0] }); err != nil || name == nil {
			return err
		}
		oldest := cybervault.KeyAt(s.now())
		err := tx.query("SELECT MIN(id) FROM events", nil, func(row []any) {
			if row[0] != nil {
				oldest = min(oldest, asInt(row[0]))
			}
		})
		if err != nil {
			return err
		}
		removed, err := execCount(tx, `DELETE FROM type_spans WHERE type = ? AND span IN (SELECT span FROM type_spans WHERE type = ? AND span < ? ORDER BY span LIMIT ?)`,
			asString(name), asString(name), oldest>>spanBits, int64(pruneSpans))
		if next, more = asString(name), true; removed == pruneSpans {
			next = after // there may be more of this one
		}
		return err
	})
	return next, more, err
}

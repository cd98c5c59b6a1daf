package store

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cybervault/cybervault"
)

// Bounds of an overview, so that it costs the same whatever the log holds.
const (
	overviewRows   = 50_000
	latencySamples = 5_000
)

// Overview counts what happened in a workspace since a moment, in about as many
// buckets as asked for, of equal width in whole seconds, each beginning on a
// multiple of it. A delivery and its attempts count in the bucket in which the
// delivery was made. It reads a bounded number of rows, the newest.
func (s *Store) Overview(ctx context.Context, ws cybervault.WorkspaceID, since time.Time, buckets int) (*cybervault.Overview, error) {
	now := s.now()
	if since.After(now) {
		since = now
	}
	width := now.Sub(since) / time.Duration(max(buckets, 1))
	width = max((width + time.Second - 1).Truncate(time.Second), time.Second)
	step := width.Milliseconds() * cybervault.KeyAt(time.UnixMilli(1))
	first := cybervault.KeyAt(since) / step
	start := time.UnixMilli(first * width.Milliseconds()).UTC()

	o := &cybervault.Overview{Since: start, Width: width, ByType: map[string]int64{}, ByStatus: map[cybervault.DeliveryStatus]int64{}}
	for at := start; !at.After(now); at = at.Add(width) {
		o.Buckets = append(o.Buckets, cybervault.OverviewBucket{Start: at, ByType: map[string]int64{}})
	}
	bucket := func(b int64) *cybervault.OverviewBucket {
		i := min(max(int(b-first), 0), len(o.Buckets)-1) // a row made while we read stands in the last
		return &o.Buckets[i]
	}
	from := first * step

	// At the same time: each is bound by a processor, and writes what no other does.
	var events, deliveries int64
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.group(ctx, `SELECT b, type, COUNT(*), 0 FROM (SELECT e.id / ? AS b, e.type AS type FROM events e
WHERE e.workspace_id = ? AND e.id >= ? ORDER BY e.id DESC LIMIT ?) q GROUP BY b, type`,
			[]any{step, ws.Key(), from, s.overviewRows + 1}, func(b int64, name string, n, _ int64) {
				bucket(b).ByType[name] += n
				o.ByType[name] += n
				events += n
			})
	})
	g.Go(func() error {
		return s.group(ctx, `SELECT b, CAST(status AS TEXT), COUNT(*), SUM(attempts) FROM (SELECT d.id / ? AS b, d.status AS status, d.attempts AS attempts FROM deliveries d
WHERE d.workspace_id = ? AND d.id >= ? ORDER BY d.id DESC LIMIT ?) q GROUP BY b, status`,
			[]any{step, ws.Key(), from, s.overviewRows + 1}, func(b int64, code string, n, attempts int64) {
				status := statusOf(int64(code[0] - '0'))
				o.ByStatus[status] += n
				bucket(b).Failed += attempts
				if status == cybervault.DeliveryDelivered { // its last attempt, and no other, succeeded
					bucket(b).Delivered += n
					bucket(b).Failed -= n
				}
				deliveries += n
			})
	})
	g.Go(func() error { return s.latencies(ctx, ws, from, o) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	o.Capped = events > s.overviewRows || deliveries > s.overviewRows
	return o, nil
}

func (s *Store) group(ctx context.Context, query string, args []any, row func(bucket int64, name string, count, sum int64)) error {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(query), args...)
	if err != nil {
		return readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var b, n, sum int64
		var name string
		if err := rows.Scan(&b, &name, &n, &sum); err != nil {
			return readError(err)
		}
		row(b, name, n, sum)
	}
	return readError(rows.Err())
}

func (s *Store) latencies(ctx context.Context, ws cybervault.WorkspaceID, from int64, o *cybervault.Overview) error {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(`SELECT d.finished_at - d.id / ? * 1000 FROM deliveries d
WHERE d.workspace_id = ? AND d.id >= ? AND d.status = 2 AND d.attempts = 1 ORDER BY d.id DESC LIMIT ?`),
		cybervault.KeyAt(time.UnixMilli(1)), ws.Key(), from, int64(latencySamples))
	if err != nil {
		return readError(err)
	}
	defer func() { _ = rows.Close() }()
	var all []int64
	for rows.Next() {
		var us int64
		if err := rows.Scan(&us); err != nil {
			return readError(err)
		}
		all = append(all, us)
	}
	if err := rows.Err(); err != nil {
		return readError(err)
	}
	if len(all) > 0 {
		slices.Sort(all)
		nearest := func(percent int) time.Duration { // the nearest-rank percentile
			return time.Duration(max(all[(percent*len(all)+99)/100-1], 0)) * time.Microsecond
		}
		o.LatencyP50, o.LatencyP99 = nearest(50), nearest(99)
	}
	return nil
}

package store

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// A statement for a partitioned table costs PostgreSQL a plan, or a look for the
// partition, each time it is run: a quarter of what publishing and recording cost
// in all. What is done for each delivery therefore names its partition, which the
// row key tells. Where that is not known, it names the table.

// partitionOf finds the partition of a row key; its name is empty if it is not
// known. Most keys are of today.
func (s *Store) partitionOf(key int64) partition {
	if known := s.direct.Load(); known != nil {
		for _, p := range slices.Backward(*known) {
			if p.has(key) {
				return p
			}
		}
	}
	return partition{}
}

// forget takes note that a partition is gone.
func (s *Store) forget(gone partition) {
	if known := s.direct.Load(); known != nil {
		rest := slices.DeleteFunc(slices.Clone(*known), func(p partition) bool { return p == gone })
		s.direct.CompareAndSwap(known, &rest)
	}
}

// eachByKey is transaction.each for a statement that writes one row of a
// partitioned table, with the row key that the table is partitioned by.
func (s *Store) eachByKey(tx transaction, table, query string, n int, key func(i int) int64, bind func(i int, args []any) []any, affected func(i int, rows int64)) error {
	for from := 0; from < n; {
		p := s.partitionOf(key(from))
		end := from + 1
		for end < n && (p.has(key(end)) || p.name == "" && s.partitionOf(key(end)).name == "") {
			end++
		}
		text, first := query, from
		if p.name != "" {
			text = strings.Replace(query, " "+table+" ", " "+p.of(table)+" ", 1)
		}
		shift := affected
		if affected != nil {
			shift = func(i int, rows int64) { affected(first+i, rows) }
		}
		err := tx.each(text, end-from, func(i int, args []any) []any { return bind(first+i, args) }, shift)
		if undefinedTable(err) {
			s.direct.Store(nil) // another node has dropped it: the transaction is run again without
		}
		if err != nil {
			return err
		}
		from = end
	}
	return nil
}

func undefinedTable(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "42P01"
}

package store

import (
	"fmt"
)

// transaction is one write transaction as the writer drives it. It is not safe
// for concurrent use. Arguments are int64, string, []byte or nil; so are the
// columns of a row, whichever database it comes from (see asInt).
type transaction interface {
	// each runs one statement n times, with the arguments that bind appends,
	// and reports how many rows each run affected. The database may be sent
	// all of them at once, so no run sees what affected was told of another.
	each(query string, n int, bind func(i int, args []any) []any, affected func(i int, rows int64)) error
	// query runs one SELECT (or a statement with RETURNING) to its end.
	query(query string, args []any, row func(row []any)) error
	// eachRow is each for a statement with RETURNING: row is called for every
	// row of run i.
	eachRow(query string, n int, bind func(i int, args []any) []any, row func(i int, row []any)) error
	// noted is what the transaction has changed so far, for the change log.
	noted() *changeList
}

// exec runs one statement once.
func exec(tx transaction, query string, args ...any) error {
	return tx.each(query, 1, func(_ int, a []any) []any { return append(a, args...) }, nil)
}

// execCount runs one statement once and returns how many rows it affected.
func execCount(tx transaction, query string, args ...any) (count int64, err error) {
	err = tx.each(query, 1, func(_ int, a []any) []any { return append(a, args...) },
		func(_ int, n int64) { count = n })
	return count, err
}

func asInt(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case int32:
		return int64(v)
	case int16:
		return int64(v)
	case nil:
		return 0
	}
	panic(fmt.Sprintf("store: %T where an integer column was selected", v))
}

func asString(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case nil:
		return ""
	}
	panic(fmt.Sprintf("store: %T where a text column was selected", v))
}

func asBytes(v any) []byte {
	switch v := v.(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	case nil:
		return nil
	}
	panic(fmt.Sprintf("store: %T where a bytes column was selected", v))
}

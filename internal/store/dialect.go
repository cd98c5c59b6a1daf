package store

import (
	"strconv"
	"strings"
)

// dialect holds the few places where the two databases differ. All SQL in this
// package is written once, with ? for arguments.
type dialect struct {
	name       string
	numbered   bool   // arguments are $1, $2 …
	skipLocked string // appended to a claiming SELECT
	contains   string // a condition: the body column holds the argument (a LIKE pattern), whatever the case
}

var (
	sqliteDialect = dialect{
		name:     "sqlite",
		contains: `CAST(e.body AS TEXT) LIKE ? ESCAPE '\'`,
	}
	postgresDialect = dialect{
		name:       "postgres",
		numbered:   true,
		skipLocked: " FOR UPDATE OF d SKIP LOCKED",
		contains:   `convert_from(e.body, 'UTF8') ILIKE ? ESCAPE '\'`,
	}
)

// rebind turns ? into $1, $2 … where the database wants them. No SQL of this
// package has a question mark in a literal.
func (d dialect) rebind(query string) string {
	if !d.numbered {
		return query
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(query, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

// likePattern makes a LIKE pattern that finds text anywhere.
func likePattern(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
}

package store

import (
	"context"
	"strings"

	"github.com/cybervault/cybervault"
)

// How events are searched by fields. No index knows the data of events, whose
// fields are the publishers' own, so that the log is walked, newest first: SQL
// leaves out what cannot fit (the type, the words, the texts that must stand in
// the envelope), and what is left is decoded and looked at here. A page ends after
// so many rows whatever it found, and says where to go on.

const (
	searchRows  = 20_000    // that one page looks at, about
	searchBytes = 128 << 20 // of their envelopes, about
	// How many rows are read at once: a few where matches are dense, more where they
	// turn out to be rare.
	searchStep    = 4
	searchMaxStep = 2000
)

// search is one page in the making.
type search struct {
	q     *cybervault.EventQuery
	limit int
	page  cybervault.Page[*cybervault.Event]
	rows  int // looked at
	bytes int
	last  cybervault.EventID // the oldest of them
}

// searchEvents reads a page of the events that fit a search's filters.
func (s *Store) searchEvents(ctx context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error) {
	bounded, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	q.Type = searchedType(&q)
	p := &search{q: &q, limit: pageSize(q.Limit), page: cybervault.Page[*cybervault.Event]{Rows: []*cybervault.Event{}}}
	for step := searchStep * (p.limit + 1); ; step = min(2*step, searchMaxStep, searchRows-p.rows) {
		query, args := s.selectEvents(&q)
		n, err := p.look(bounded, s, query, append(args, int64(step)))
		switch {
		case err != nil && bounded.Err() != nil && ctx.Err() == nil:
			if p.rows == 0 {
				return p.page, s.impatient(err)
			}
			return p.pause(), nil
		case err != nil:
			return p.page, err
		case p.page.More || n < step && p.bytes < searchBytes:
			return p.page, nil
		case p.rows >= searchRows || p.bytes >= searchBytes:
			return p.pause(), nil
		}
		q.Before = p.last
	}
}

// look reads some rows and keeps those that fit; n is how many there were.
func (p *search) look(ctx context.Context, s *Store, query string, args []any) (n int, err error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.rebind(query), args...)
	if err != nil {
		return 0, readError(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		e, err := scanEvent(p.q.Workspace, rows.Scan)
		if err != nil {
			return n, readError(err)
		}
		n++
		if p.q.Search.Match(e) {
			if len(p.page.Rows) == p.limit {
				p.page.More = true
				return n, nil
			}
			p.page.Rows = append(p.page.Rows, e)
		}
		p.rows, p.bytes, p.last = p.rows+1, p.bytes+len(e.Body), e.ID
		if p.bytes >= searchBytes {
			return n, nil
		}
	}
	return n, readError(rows.Err())
}

// pause ends the page where it is.
func (p *search) pause() cybervault.Page[*cybervault.Event] {
	p.page.More, p.page.Resume = true, p.last.UUID
	return p.page
}

// searchedType is the type that a query is about, be it said by a filter.
func searchedType(q *cybervault.EventQuery) string {
	for _, t := range q.Search.Terms {
		if q.Type != "" && q.Type != "*" {
			break
		}
		switch {
		case t.Field != "event" || t.Not || t.WildStart || t.Value == "":
		case !t.WildEnd:
			return t.Value
		case strings.HasSuffix(t.Value, "."):
			return t.Value + "*"
		}
	}
	return q.Type
}

// addSearch restricts to what may fit a search: no row that fits is left out.
func (c *condition) addSearch(d dialect, s *cybervault.Search) {
	for _, word := range s.Words() {
		c.addText(d, word)
	}
	var texts []any
	for i := range s.Terms {
		t := &s.Terms[i]
		if t.Not {
			continue
		}
		if t.Field == "id" {
			if id, err := cybervault.ParseID[cybervault.EventID](t.Value); err == nil {
				c.add("e.id = ? AND e.id_rest = ?", id.Key(), id.Rest())
			}
		}
		key := ""
		for _, name := range t.Path() {
			key = longer(key, plainRun(name))
		}
		texts = addRun(texts, d, key)
		if t.Path() != nil && t.Compare == "" && !t.Number() {
			texts = addRun(texts, d, plainRun(t.Value))
		}
	}
	if len(texts) > 0 {
		// Whoever escapes characters that need none is looked at as well.
		c.add("("+strings.Repeat(d.contains+" AND ", len(texts)-1)+d.contains+" OR "+d.contains+")", append(texts, d.pattern(`\u00`))...)
	}
}

func addRun(texts []any, d dialect, run string) []any {
	if len(run) < 2 {
		return texts // nearly every envelope has it
	}
	return append(texts, d.pattern(run))
}

// plainRun is the longest part of a text that stands as it is in every JSON, apart
// from the case of its letters, unless it is escaped by \u00.
func plainRun(text string) string {
	longest := ""
	for _, run := range strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' || r == '/' }) {
		longest = longer(longest, run)
	}
	return longest
}

func longer(a, b string) string {
	if len(b) > len(a) {
		return b
	}
	return a
}

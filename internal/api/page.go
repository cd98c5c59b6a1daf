package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"

	"github.com/cybervault/cybervault"
)

// listJSON is one page of a list.
type listJSON[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

// list is one walk through a list: its name, whose it is, and its filters. A
// cursor belongs to all of them.
type list struct {
	name      string
	workspace cybervault.WorkspaceID
	filters   url.Values // without limit and cursor
}

func newList(c *call, name string) list {
	filters := make(url.Values, len(c.query))
	for k, v := range c.query {
		if k != "limit" && k != "cursor" {
			filters[k] = v
		}
	}
	return list{name: name, workspace: c.workspace(), filters: filters}
}

// A cursor is the id of the last row and half of a SHA-256 over the id and the
// walk it belongs to. The sum is no secret: it catches a cursor that was changed
// or comes from another list, and a forged one leads to nothing that its maker
// could not list anyway, since the workspace is always the key's own. So it
// needs no key that nodes would have to share or a restart could lose.
const cursorSumBytes = 16

func (l list) sum(id cybervault.UUID) []byte {
	h := sha256.New()
	for _, part := range []string{"cybervault cursor 1", l.name, l.workspace.String(), l.filters.Encode()} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Write(id[:])
	return h.Sum(nil)[:cursorSumBytes]
}

// cursor names the page after the row with that id.
func (l list) cursor(id cybervault.UUID) *string {
	s := base64.RawURLEncoding.EncodeToString(append(id[:], l.sum(id)...))
	return &s
}

// before reads the cursor of the request; zero if there is none.
func (l list) before(f *filters) cybervault.UUID {
	var id cybervault.UUID
	text, ok := f.text("cursor")
	if !ok {
		return id
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != len(id)+cursorSumBytes {
		f.refusef("cursor", "is not a cursor: give next_cursor as it was answered")
		return id
	}
	copy(id[:], raw)
	if subtle.ConstantTimeCompare(raw[len(id):], l.sum(id)) != 1 {
		f.refusef("cursor", "does not belong to this list with these filters: give next_cursor as it was answered, with the same filters")
		return cybervault.UUID{}
	}
	return id
}

// pageOf cuts one page out of all rows of a list, newest first.
func pageOf[T any](c *call, name string, all []T, id func(T) cybervault.UUID) (rows []T, next *string, err error) {
	f := &filters{query: c.query}
	l := newList(c, name)
	limit, before := f.limit(), l.before(f)
	if err := f.wrong.err(); err != nil {
		return nil, nil, err
	}
	for _, row := range all {
		at := id(row)
		if !before.IsZero() && bytes.Compare(at[:], before[:]) >= 0 {
			continue
		}
		if len(rows) == limit {
			last := id(rows[limit-1])
			return rows, l.cursor(last), nil
		}
		rows = append(rows, row)
	}
	return rows, nil, nil
}

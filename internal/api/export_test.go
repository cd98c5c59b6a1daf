package api

import "github.com/cybervault/cybervault"

// Route is one call, for the tests that walk all of them.
type Route struct {
	Method, Pattern string
	Scope           cybervault.Scope
	Statuses        []int
}

// Routes lists every call.
func Routes() []Route {
	var all []Route
	for _, rt := range routes() {
		r := Route{Method: rt.method, Pattern: documented(rt.pattern), Scope: rt.scope}
		for _, a := range rt.answers {
			r.Statuses = append(r.Statuses, a.status)
		}
		all = append(all, r)
	}
	return all
}

// EncodePosition and DecodePosition write and read the ids of a stream's items.
func EncodePosition(p cybervault.ChangePosition) string { return encodePosition(p) }

func DecodePosition(s string) (cybervault.ChangePosition, bool) { return decodePosition(s) }

// ParseTilePath reads the path of a tile.
func ParseTilePath(path string) (level int, index int64, width int, ok bool) {
	return parseTilePath(path)
}

package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func searchCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"search/by fields":             searchFields,
		"search/however JSON is put":   searchSpellings,
		"search/with other filters":    searchWithFilters,
		"search/dense pages":           searchDense,
		"search/rare in a long log":    searchSparse,
		"search/of strangers finds no": searchForeign,
	}
}

func (f *fixture) search(text string) cybervault.Search {
	f.Helper()
	s, err := cybervault.ParseSearch(text)
	f.must(err)
	s.Severities = map[string]cybervault.Severity{cybervault.EventThreatDetected: cybervault.SeverityHigh}
	return s
}

// found lists all that a query finds, page by page, and in how many pages.
func (f *fixture) found(q cybervault.EventQuery) (ids []cybervault.EventID, pages int) {
	f.Helper()
	q.Workspace = f.ws
	for {
		page, err := f.s.Events(f.Context(), q)
		f.must(err)
		pages++
		for _, e := range page.Rows {
			ids = append(ids, e.ID)
		}
		switch {
		case !page.More:
			return ids, pages
		case !page.Resume.IsZero():
			q.Before = cybervault.EventID{UUID: page.Resume}
		default:
			q.Before = page.Rows[len(page.Rows)-1].ID
		}
	}
}

func (f *fixture) wantFound(t *testing.T, q cybervault.EventQuery, pubs []*cybervault.Publication, want ...int) {
	t.Helper()
	var got []int
	ids, _ := f.found(q)
	for _, id := range ids {
		got = append(got, slices.IndexFunc(pubs, func(p *cybervault.Publication) bool { return p.Event.ID == id }))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%+v (-want +got):\n%s", q, diff)
	}
}

func searchFields(f *fixture) {
	pubs := f.publishEach(
		event{data: `{"source_ip":"203.0.113.42","count":5,"user":"root"}`},                        // 0
		event{data: `{"source_ip":"203.0.113.4","count":50,"note":"203.0.113.42"}`},                // 1
		event{kind: "patch.failed", data: `{"source_ip":"203.0.113.42","count":5e1}`},              // 2
		event{data: `{"severity":"low","list":["a",{"user":"Root"}],"deep":{"user":"ROOT user"}}`}, // 3
	)
	for text, want := range map[string][]int{
		"data.source_ip:203.0.113.42":                  {2, 0},
		"data.source_ip:203.0.113.*":                   {2, 1, 0},
		"data.source_ip:*.42":                          {2, 0},
		"-data.source_ip:203.0.113.42":                 {3, 1},
		"data.source_ip:*":                             {2, 1, 0},
		"data.count:50":                                {2, 1},
		"data.count:>5":                                {2, 1},
		"data.count:<=5":                               {0},
		"data.list.user:root":                          {3},
		"data.deep.user:root*":                         {3},
		`data.deep.user:"root user"`:                   {3},
		"data.user:root":                               {0},
		"event:patch.*":                                {2},
		"event:threat.detected":                        {3, 1, 0},
		"event:*.failed":                               {2},
		"-event:patch.failed data.source_ip:*":         {1, 0},
		"severity:high":                                {1, 0},
		"severity:<high":                               {3, 2},
		"203.0.113.42":                                 {2, 1, 0},
		"203.0.113.42 severity:high":                   {1, 0},
		"203.0.113.42 note":                            {1},
		"data.a:nothing":                               nil,
		"id:" + pubs[1].Event.ID.String():              {1},
		"-id:" + pubs[1].Event.ID.String():             {3, 2, 0},
		"severity:low id:" + pubs[1].Event.ID.String(): nil,
	} {
		f.wantFound(f.T, cybervault.EventQuery{Search: f.search(text)}, pubs, want...)
	}
}

func searchSpellings(f *fixture) {
	pubs := f.publishEach(
		event{data: `{"path":"/a_b/100%"}`},                          // 0
		event{data: `{"path":"\/a_b\/100%"}`},                        // 1
		event{data: `{"p\u0061th":"\u002fa_b\u002f100\u0025"}`},      // 2
		event{data: `{"path":"C:\\Windows\\x","t":"<script>"}`},      // 3
		event{data: `{"path":"/axb/1000","t":"\u003cSCRIPT\u003e"}`}, // 4
		event{data: `{"path":"ÄrGeR!","t":"\u00e4rger"}`},            // 5
		event{data: `{"path":"k"}`},                                  // 6
		event{data: `{"path":"\u212a"}`},                             // 7: the sign of Kelvin
	)
	broken := f.publication(event{})
	broken.Event.Body = []byte("\xff neither UTF-8 nor JSON path")
	f.publish(broken)
	for text, want := range map[string][]int{
		"data.path:/a_b/100%":        {2, 1, 0},
		"data.path:/A_B/*":           {2, 1, 0},
		`data.path:C:\windows\x`:     {3},
		`data.t:"<script>"`:          {4, 3},
		"data.path:ärger!":           {5},
		"data.t:ÄRGER":               {5},
		"data.path:K":                {6},
		"data.path:*00*":             {4, 2, 1, 0},
		"-data.path:* -data.other:x": {-1},
	} {
		f.wantFound(f.T, cybervault.EventQuery{Search: f.search(text)}, pubs, want...)
	}
}

func searchWithFilters(f *fixture) {
	pubs := f.publishEach(
		event{data: `{"n":1}`}, event{data: `{"n":2}`}, event{kind: "patch.failed", data: `{"n":2}`}, event{data: `{"n":2,"x":"hit"}`}, event{data: `{"n":2}`},
	)
	search := f.search("data.n:2")
	f.wantFound(f.T, cybervault.EventQuery{Search: search}, pubs, 4, 3, 2, 1)
	f.wantFound(f.T, cybervault.EventQuery{Search: search, Type: "threat.*"}, pubs, 4, 3, 1)
	f.wantFound(f.T, cybervault.EventQuery{Search: search, Type: "patch.failed"}, pubs, 2)
	f.wantFound(f.T, cybervault.EventQuery{Search: f.search("data.n:2 event:threat.*"), Type: "patch.failed"}, pubs)
	f.wantFound(f.T, cybervault.EventQuery{Search: search, Text: "HIT"}, pubs, 3)
	f.wantFound(f.T, cybervault.EventQuery{Search: search, Since: start.Add(time.Second), Until: start.Add(4 * time.Second)}, pubs, 3, 2, 1)
	f.wantFound(f.T, cybervault.EventQuery{Search: search, Before: pubs[3].Event.ID}, pubs, 2, 1)
	f.wantFound(f.T, cybervault.EventQuery{Search: search, Unmatched: true, Limit: 1}, pubs, 4, 3, 2, 1)
}

// Every second of some hundred fits: no page lacks any, and the last knows it is.
func searchDense(f *fixture) {
	var want []cybervault.EventID
	var pubs []*cybervault.Publication
	for i := range 300 {
		pub := f.publication(event{kind: []string{"patch.failed", "patch.deployed"}[i/2%2], data: fmt.Sprintf(`{"odd":%d}`, i%2)})
		if i%2 == 1 {
			want = append(want, pub.Event.ID)
		}
		pubs = append(pubs, pub)
	}
	f.publish(pubs...)
	slices.Reverse(want)
	for limit, pages := range map[int]int{1: 150, 7: 22, 50: 3, 149: 2, 150: 1, 200: 1} {
		got, n := f.found(cybervault.EventQuery{Search: f.search("data.odd:1"), Limit: limit})
		if diff := cmp.Diff(want, got); diff != "" || n != pages {
			f.Errorf("limit %d: %d pages, want %d; (-want +got):\n%s", limit, n, pages, diff)
		}
	}
	if got, _ := f.found(cybervault.EventQuery{Search: f.search("data.odd:1 event:patch.failed"), Limit: 9}); len(got) != 75 {
		f.Errorf("%d of one type, want 75", len(got))
	}
}

// Two in a log that is longer than what a page looks at: pages without any row lead
// to them.
func searchSparse(f *fixture) {
	const n = 20_500
	var want []cybervault.EventID
	for from := 0; from < n; from += 500 {
		pubs := make([]*cybervault.Publication, 500)
		for i := range pubs {
			pubs[i] = f.publication(event{data: fmt.Sprintf(`{"n":%d}`, from+i)})
		}
		if from == 0 {
			want = append(want, pubs[7].Event.ID, pubs[3].Event.ID)
		}
		f.publish(pubs...)
	}
	got, pages := f.found(cybervault.EventQuery{Search: f.search("data.n:<8 -data.n:<3 -data.n:4 -data.n:5 -data.n:6")})
	if diff := cmp.Diff(want, got); diff != "" || pages != 2 {
		f.Errorf("found in %d pages, want 2 (-want +got):\n%s", pages, diff)
	}
	page, err := f.s.Events(f.Context(), cybervault.EventQuery{Workspace: f.ws, Search: f.search("data.n:<0")})
	f.must(err)
	if len(page.Rows) != 0 || !page.More || page.Resume.IsZero() {
		f.Errorf("a page of a long search: %d rows, more %v, resume %v", len(page.Rows), page.More, page.Resume)
	}
	if got, pages := f.found(cybervault.EventQuery{Search: f.search("data.n:3 data.n:*")}); len(got) != 1 || pages != 2 {
		f.Errorf("one of them: %v in %d pages", got, pages)
	}
}

func searchForeign(f *fixture) {
	f.publish(f.publication(event{data: `{"n":1}`, ws: f.strangersWorkspace()}))
	f.wantFound(f.T, cybervault.EventQuery{Search: f.search("data.n:1")}, nil)
}

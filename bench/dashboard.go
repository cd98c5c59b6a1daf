package bench

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// DashboardReport is how long the pages of the dashboard take on a full store.
type DashboardReport struct {
	Scenario   string      `json:"scenario"`
	Machine    Machine     `json:"machine"`
	Store      string      `json:"store"`
	Deliveries int         `json:"deliveries"` // in the store
	Pages      []PageTimes `json:"pages"`
	Searches   []PageTimes `json:"searches"`        // what reads events until it has a page of them, or all of them
	Reference  PageTimes   `json:"reference"`       // the page of an address that does not exist: it asks the store for nothing
	Slowest    float64     `json:"slowest_page_ms"` // the largest median
	Ratio      float64     `json:"ratio"`           // of that to the reference
	Scripts    int         `json:"scripts_gzip_bytes"`
	Styles     int         `json:"styles_gzip_bytes"`
	Foreign    []string    `json:"requests_to_other_hosts"` // addresses that a page would load from elsewhere
	Link       string      `json:"link,omitempty"`          // that opens the dashboard, while it is left open

	leaveOpen func(*DashboardReport) error
}

// Dashboard makes up a past of so many deliveries and asks for each page as a
// browser does: the time ends when the whole document is there. What a browser
// needs besides, it has cached after the first page. leaveOpen may be nil; otherwise it
// is called with the whole report, and the server stays up until it returns.
func Dashboard(ctx context.Context, deliveries int, leaveOpen func(*DashboardReport) error, o Options) (*DashboardReport, error) {
	r := &DashboardReport{Scenario: "dashboard", Machine: thisMachine(), Store: o.Store, Deliveries: deliveries, Foreign: []string{}, leaveOpen: leaveOpen}
	o.Publishers, o.Batch, o.Events = max(o.Publishers, 1), max(o.Batch, 1), max(o.Events, 1000)
	_, err := Deliver(ctx, Scenario{Name: r.Scenario, run: func(ctx context.Context, b *bench) error { return r.run(ctx, b) }}, o)
	return r, err
}

func (r *DashboardReport) run(ctx context.Context, b *bench) error {
	s, err := b.newSite(ctx)
	if err != nil {
		return err
	}
	l := &load{fanout: 1, batch: b.o.Batch, connections: b.o.Publishers}
	if l.types, err = s.setUp(ctx, manyWebhooks, 1, nil); err != nil {
		return err
	}
	if err := s.warmUp(ctx, l); err != nil { // what is made up is like what has happened
		return err
	}
	b.say("making up %d deliveries", r.Deliveries)
	if _, err := s.seed(ctx, r.Deliveries, 0); err != nil {
		return err
	}
	v, err := s.visit(ctx)
	if err != nil {
		return err
	}
	if r.Reference, err = v.time(ctx, "/nowhere", http.StatusNotFound); err != nil {
		return err
	}
	paths, err := v.paths(ctx)
	if err != nil {
		return err
	}
	for _, path := range paths {
		times, err := v.time(ctx, path, http.StatusOK)
		if err != nil {
			return err
		}
		b.say("%s: %.1f ms, at most %.1f", path, times.Median, times.Max)
		r.Pages = append(r.Pages, times)
		r.Slowest = max(r.Slowest, times.Median)
	}
	for _, q := range searches {
		times, err := v.time(ctx, "/events?"+url.Values{"q": {q}}.Encode(), http.StatusOK)
		if err != nil {
			return err
		}
		b.say("search for %s: %.1f ms, at most %.1f", q, times.Median, times.Max)
		r.Searches = append(r.Searches, times)
	}
	r.Ratio = r.Slowest / r.Reference.Median
	if err := r.weigh(ctx, v); err != nil || r.leaveOpen == nil {
		return err
	}
	r.Link = v.link
	return r.leaveOpen(r)
}

// searches are one that every event fits; one that none fits, which ends after as many
// as a page may look at; and a field and a word that stand in no event, for which the
// store looks through all of them.
var searches = []string{"severity:critical", "severity:info", "data.nowhere:*", "nowhere"}

// visit logs in with the link that the server printed.
func (s *site) visit(ctx context.Context) (*visitor, error) {
	_, link, ok := strings.Cut(s.server.log.String(), "Dashboard: ")
	if !ok {
		return nil, errors.New("the server printed no link to its dashboard")
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	v := &visitor{base: "http://" + s.server.address, client: &http.Client{Jar: jar, Transport: &http.Transport{DisableCompression: true}}}
	link, _, _ = strings.Cut(link, "\n")
	u, err := url.Parse(strings.TrimSpace(link))
	if err != nil {
		return nil, fmt.Errorf("the link to the dashboard: %w", err)
	}
	v.link = v.base + u.RequestURI() + "&next=/" // without next it leads to the owner's account
	page, err := v.get(ctx, strings.TrimPrefix(v.link, v.base), http.StatusOK)
	if err == nil && !bytes.Contains(page, []byte("/logout")) {
		err = errors.New("the link to the dashboard does not log in")
	}
	return v, err
}

// visitor is a browser with a session.
type visitor struct {
	base   string
	link   string // that logs in
	client *http.Client
}

func (v *visitor) get(ctx context.Context, path string, status int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.base+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != status {
		err = fmt.Errorf("%s answered %s", path, res.Status)
	}
	return body, err
}

func (v *visitor) time(ctx context.Context, path string, status int) (PageTimes, error) {
	t := PageTimes{Query: path}
	var all []float64
	for range pageRuns {
		began := time.Now()
		body, err := v.get(ctx, path, status)
		took := time.Since(began)
		if err == nil && !bytes.HasSuffix(bytes.TrimSpace(body), []byte("</html>")) {
			err = fmt.Errorf("%s is no whole page", path)
		}
		if err != nil {
			return t, err
		}
		t.Rows = bytes.Count(body, []byte(`class="row-link"`))
		all = append(all, float64(took.Microseconds())/1000)
		t.Max = max(t.Max, all[len(all)-1])
		if took > slowPage {
			break
		}
	}
	t.Runs, t.Median = len(all), median(all)
	return t, nil
}

var rowLink = regexp.MustCompile(`class="row-link"[^>]* href="([^"]+)"`)

// paths are one address of each page, with what a person would look for.
func (v *visitor) paths(ctx context.Context) ([]string, error) {
	const hooks = "/settings/integrations/webhooks"
	paths := []string{
		"/", "/?span=24h", "/?span=7d", "/deliveries", "/deliveries?status=dead_letter", "/deliveries?status=pending%2Cheld%2Cdead_letter", "/deliveries?event=bench.t0", "/deliveries?since=7d&until=6d",
		"/events", "/events?event=bench.t0", "/incidents", "/rules", "/rules/exceptions", hooks, hooks + "/new", "/settings/api-keys", "/settings/members", "/settings/audit-log",
		"/settings/event-types", "/settings/event-types/threat.detected", "/settings/health", "/account",
	}
	for _, list := range []string{"/deliveries", "/events"} {
		page, err := v.get(ctx, list, http.StatusOK)
		if err != nil {
			return nil, err
		}
		first := rowLink.FindSubmatch(page)
		if first == nil {
			return nil, fmt.Errorf("%s has no row", list)
		}
		paths = append(paths, string(first[1]))
	}
	page, err := v.get(ctx, hooks, http.StatusOK)
	if err != nil {
		return nil, err
	}
	if first := regexp.MustCompile(hooks + `/whk_[0-9a-f-]+`).Find(page); first != nil {
		paths = append(paths, string(first))
	}
	return paths, nil
}

var resource = regexp.MustCompile(`(?:src|href)="([^"]+\.(?:js|css|svg|woff2?)[^"]*)"`)

// weigh adds up what a page loads, compressed, and names what comes from elsewhere.
func (r *DashboardReport) weigh(ctx context.Context, v *visitor) error {
	page, err := v.get(ctx, "/", http.StatusOK)
	if err != nil {
		return err
	}
	for _, m := range resource.FindAllSubmatch(page, -1) {
		path := string(m[1])
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
			r.Foreign = append(r.Foreign, path)
			continue
		}
		body, err := v.get(ctx, path, http.StatusOK)
		if err != nil {
			return err
		}
		var small bytes.Buffer
		w := gzip.NewWriter(&small)
		if _, err := w.Write(body); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		switch {
		case strings.Contains(path, ".js"):
			r.Scripts += small.Len()
		case strings.Contains(path, ".css"):
			r.Styles += small.Len()
		}
	}
	return nil
}

// JSON is the report as one line.
func (r *DashboardReport) JSON() ([]byte, error) { return json.Marshal(r) }

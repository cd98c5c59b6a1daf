package dashboard

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/cybervault/cybervault"
)

//go:embed templates/*.html
var templateFiles embed.FS

// page is the part of a view that the layout needs. Every view struct embeds it.
type page struct {
	Title   string
	Section string // which entry of the navigation is the current one
	Inside  bool   // somebody is logged in: show the navigation
	Dev     bool
	Version string
	Theme   string // "light", "dark" or "system"
	Who     string // is logged in
	Role    string
	may     *cybervault.Session
	// Unowned is true for the operator of an installation that has no owner yet.
	Unowned bool
	Here    string // path and query of this page, for the way back
	Notice  string // one line on what was just done
	// Replace is the address that the browser's bar should show instead of the
	// one that was posted to, so that a reload does not post again.
	Replace string
}

func (p *page) base() *page { return p }

type view interface{ base() *page }

// May reports whether who is logged in has a permission: what they may not do is not
// offered.
func (p *page) May(permission string) bool {
	return p.may != nil && p.may.May(cybervault.Permission(permission))
}

func (d *dashboard) newPage(r *http.Request, section, title string) page {
	p := page{
		Title: title, Section: section, Inside: true,
		Dev: d.Dev, Version: d.Version, Theme: theme(r), Here: here(r),
		Notice: notices[r.URL.Query().Get("done")],
	}
	if s := sessionOf(r.Context()); s != nil {
		p.may, p.Who, p.Role = s, cut(s.Name, shownInList), string(s.Role)
		if p.Who == "" {
			p.Who = cut(s.Email, shownInList)
		}
		if s.Operator() {
			owned, err := d.Access.SetUp(r.Context())
			p.Unowned = err == nil && !owned
		}
	}
	return p
}

// notices are what a page may say after a redirect; the address carries only
// the key, so that no link can put words into our mouth.
var notices = map[string]string{ //nolint:gosec // words, no credentials
	"saved":         "Settings saved.",
	"enabled":       "The webhook is enabled.",
	"disabled":      "The webhook is disabled. New events are skipped for it.",
	"deleted":       "The webhook is deleted. Its deliveries stay in the log.",
	"replayed":      "Replay started: this is the new delivery.",
	"cancelled":     "The delivery is cancelled.",
	"tested":        "The test event is on its way.",
	"type-saved":    "The event type is saved, for what is published from now on.",
	"type-deleted":  "The event type is deleted. Its events stay in the log, and no more can be published.",
	"token-ended":   "The enrolment token is ended. Agents that came by it stay.",
	"agent-removed": "The agent is removed, and its key with it.",
	"revoked":       "The API key is revoked.",
	"changed":       "The incident is changed.",
	"noted":         "The note is added.",
	"on":            "The rule is on, for what is judged from now on.",
	"off":           "The rule is off. What it finds is left out from now on, and counted.",
	"excepted":      "The exception is added, and holds for what is judged from now on.",
	"removed":       "The exception is removed. What is judged from now on is told of again.",
	"welcome":       "Your account is made, and you are logged in. The steps below are what is next.",
	"joined":        "You are logged in.",
	"renamed":       "Your name is changed.",
	"password":      "Your password is changed. You are logged out everywhere else.",
	"factor":        "It is added. Your recovery codes stay as they are.",
	"unfactor":      "The authenticator is removed.",
	"unpasskey":     "The passkey is removed. Delete it on the device as well: here it opens nothing any more.",
	"ended":         "The session has ended.",
	"role":          "The role is changed.",
	"left":          "The member is removed, and logged out everywhere.",
	"withdrawn":     "The invitation is withdrawn.",
	"switched":      "You are in the other workspace now.",
	"merged":        "Merged: this is the incident where all of it is now.",
}

// here is the address to come back to: the page itself for a GET, the overview
// after a POST.
func here(r *http.Request) string {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "/"
	}
	q := r.URL.Query()
	for _, key := range []string{"did", "done", "left"} {
		q.Del(key)
	}
	q.Del("token")
	if len(q) == 0 {
		return r.URL.Path
	}
	return r.URL.Path + "?" + q.Encode()
}

// localPath returns p if it is a path on this server, and "/" otherwise, so that
// no link to the log-in page can lead elsewhere afterwards.
func localPath(p string) string {
	if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n\t") {
		return "/"
	}
	return p
}

// navItem is one entry of the navigation.
type navItem struct {
	Section, URL, Name string
	Current            bool
}

func newNavItem(v view, section, url, name string) navItem {
	return navItem{section, url, name, v.base().Section == section}
}

func parseTemplates(a *assets) (map[string]*template.Template, error) {
	shared, err := template.New("").Funcs(template.FuncMap{"asset": a.url, "navItem": newNavItem}).
		ParseFS(templateFiles, "templates/layout.html", "templates/part_*.html")
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template)
	for _, file := range names {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" || strings.HasPrefix(name, "part_") {
			continue
		}
		t, err := shared.Clone()
		if err != nil {
			return nil, err
		}
		if pages[name], err = t.ParseFS(templateFiles, file); err != nil {
			return nil, fmt.Errorf("dashboard: %w", err)
		}
	}
	return pages, nil
}

// render answers with a page. Nothing is written before the whole page has
// been made, so that a failure still gets its own page.
func (d *dashboard) render(w http.ResponseWriter, status int, name string, v view) error {
	return d.execute(w, status, name, "layout", v)
}

// renderPart answers with one part of a page, for htmx to put in place.
func (d *dashboard) renderPart(w http.ResponseWriter, name, part string, v view) error {
	return d.execute(w, http.StatusOK, name, part, v)
}

func (d *dashboard) execute(w http.ResponseWriter, status int, name, part string, v view) error {
	var b bytes.Buffer
	if err := d.pages[name].ExecuteTemplate(&b, part, v); err != nil {
		return fmt.Errorf("dashboard: page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Add("Vary", "HX-Request")
	w.WriteHeader(status)
	_, _ = w.Write(visible(b.Bytes())) // the browser went away: nobody is left to tell
	return nil
}

// wantsPart reports whether htmx asked, and wants a part of the page only.
func wantsPart(r *http.Request) bool {
	return r.Header.Get("HX-Request") == "true" && r.Header.Get("HX-History-Restore-Request") != "true"
}

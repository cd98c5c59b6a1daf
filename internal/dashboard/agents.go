package dashboard

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

const (
	agentsPath  = "/agents"
	agentEvents = 10 // that an agent's page shows
)

type agentsView struct {
	page
	Text     string
	Statuses []choice
	List     agentList
	Tokens   []tokenRow
	Form     tokenForm
	NewToken string // in the clear, once
	Command  string // that enrols a machine
}

// agentList is the part of the page that follows changes.
type agentList struct {
	Tiles   []tile
	Rows    []agentRow
	Any     bool // something is filtered
	Older   string
	First   string
	Problem string
	Live    liveView
}

type agentRow struct {
	ID, Host, System, Version string
	Badge                     badge
	Labels                    []string
	Seen                      moment
	Since                     moment
}

type tokenRow struct {
	ID, Name, Uses, By string
	Labels             []string
	Expires            moment
}

// tokenForm is what a person was about to make.
type tokenForm struct {
	Name, Labels, Uses string
	Errors             map[string]string
	Problem            string
}

var agentBadges = map[cybervault.AgentStatus]badge{
	cybervault.AgentOnline: {"ok", "Online"}, cybervault.AgentOffline: {"bad", "Offline"}, cybervault.AgentEnrolled: {"mute", "Enrolled"},
}

func labelList(labels map[string]string) []string {
	list := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, cut(name+"="+labels[name], 60))
	}
	return list
}

func (d *dashboard) agentRow(a *cybervault.Agent) agentRow {
	return agentRow{
		ID: a.ID.String(), Host: cut(a.Hostname, shownInList), System: cut(a.OS, shownInList), Version: cut(a.Version, 40), Badge: agentBadges[a.Status],
		Labels: labelList(a.Labels), Seen: d.moment(a.LastSeen), Since: d.moment(a.ChangedAt),
	}
}

func (d *dashboard) listAgents(w http.ResponseWriter, r *http.Request) error {
	return d.renderAgents(w, r, http.StatusOK, &agentsView{Form: tokenForm{Uses: "1"}})
}

func (d *dashboard) renderAgents(w http.ResponseWriter, r *http.Request, status int, v *agentsView) error {
	ctx, query := r.Context(), r.URL.Query()
	ws := workspaceOf(ctx)
	v.page, v.Text = d.newPage(r, "agents", "Agents"), query.Get("q")
	if r.Method == http.MethodPost {
		v.Replace, v.Here = agentsPath, agentsPath
	}
	if v.Form.Errors == nil {
		v.Form.Errors = map[string]string{}
	}
	chosen := cybervault.AgentStatus(query.Get("status"))
	for _, s := range cybervault.AgentStatuses() {
		v.Statuses = append(v.Statuses, choice{Value: string(s), Label: agentBadges[s].Text, Chosen: s == chosen})
	}
	address := func(before string) string {
		q := url.Values{}
		for name, value := range map[string]string{"q": v.Text, "status": string(chosen), "before": before} {
			if value != "" {
				q.Set(name, value)
			}
		}
		if len(q) == 0 {
			return agentsPath
		}
		return agentsPath + "?" + q.Encode()
	}
	v.List.Any = v.Text != "" || chosen != ""
	before, err := optionalID[cybervault.AgentID]("before", query.Get("before"))
	var found cybervault.Page[*cybervault.Agent]
	if err == nil {
		found, err = d.Fleet.Agents(ctx, cybervault.AgentQuery{Workspace: ws, Status: chosen, Text: strings.TrimSpace(v.Text), Before: before, Limit: cybervault.DefaultPageSize})
	}
	if cybervault.ErrorCode(err) == cybervault.CodeInvalid {
		v.List.Problem, status = plainError(err), http.StatusUnprocessableEntity
	} else if err != nil {
		return err
	}
	for _, a := range found.Rows {
		v.List.Rows = append(v.List.Rows, d.agentRow(a))
	}
	if found.More && len(found.Rows) > 0 {
		v.List.Older = address(found.Rows[len(found.Rows)-1].ID.String())
	}
	if !before.IsZero() {
		v.List.First = address("")
	} else if r.Method == http.MethodGet && v.List.Problem == "" {
		v.List.Live = liveView{URL: address(""), Every: 3000}
	}
	counts, err := d.Fleet.Counts(ctx, ws)
	if err != nil {
		return err
	}
	if counts.Total() > 0 {
		v.List.Tiles = agentTiles(counts)
	}
	if wantsPart(r) {
		return d.renderPart(w, "agents", "agents-list", v)
	}
	if v.May("configure") {
		tokens, err := d.Fleet.Tokens(ctx, ws)
		if err != nil {
			return err
		}
		for _, t := range tokens {
			v.Tokens = append(v.Tokens, tokenRow{ID: t.ID.String(), Name: cut(t.Name, shownInList), Uses: count(int64(t.Uses)), By: cut(t.By, shownInList), Labels: labelList(t.Labels), Expires: d.moment(t.ExpiresAt)})
		}
	}
	if v.NewToken != "" {
		v.Command = "CYBERVAULT_AGENT_TOKEN=" + v.NewToken + " \\\n  cybervault agent --server " + d.origin(r) + " --tail /var/log/auth.log"
	}
	return d.render(w, status, "agents", v)
}

func agentTiles(counts cybervault.AgentCounts) []tile {
	tiles := []tile{
		{Name: "Online", Value: count(int64(counts[cybervault.AgentOnline])), Note: "of " + plural(counts.Total(), "agent", "agents"), Link: agentsPath + "?status=online"},
		{Name: "Offline", Value: count(int64(counts[cybervault.AgentOffline])), Note: "lost, and told of", Link: agentsPath + "?status=offline"},
		{Name: "Enrolled", Value: count(int64(counts[cybervault.AgentEnrolled])), Note: "and not heard of yet", Link: agentsPath + "?status=enrolled"},
	}
	if counts[cybervault.AgentOffline] > 0 {
		tiles[1].Tone = "bad"
	}
	return tiles
}

// createAgentToken makes a token, and shows it this once.
func (d *dashboard) createAgentToken(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	v := &agentsView{Form: tokenForm{Name: r.PostForm.Get("name"), Labels: r.PostForm.Get("labels"), Uses: r.PostForm.Get("uses"), Errors: map[string]string{}}}
	t := cybervault.AgentToken{Workspace: workspaceOf(r.Context()), Name: v.Form.Name, Labels: map[string]string{}}
	for word := range strings.FieldsSeq(v.Form.Labels) {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			v.Form.Errors["labels"] = "Write each as name=value, with spaces between them."
		}
		t.Labels[name] = value
	}
	uses, err := strconv.Atoi(strings.TrimSpace(v.Form.Uses))
	if err != nil || uses < 1 {
		v.Form.Errors["uses"] = "Give a number, 1 or more."
	}
	t.Uses = uses
	if len(v.Form.Errors) > 0 {
		return d.renderAgents(w, r, http.StatusUnprocessableEntity, v)
	}
	plain, err := d.Fleet.NewToken(r.Context(), &t)
	switch e := asError(err); {
	case err == nil:
		v.NewToken, v.Form = plain, tokenForm{Uses: "1"}
		return d.renderAgents(w, r, http.StatusOK, v)
	case e != nil && e.Code == cybervault.CodeInvalid && e.Field != "":
		v.Form.Errors[e.Field] = "It " + e.Message + "."
	case e != nil && e.Code == cybervault.CodeConflict:
		v.Form.Problem = plainError(err)
	default:
		return err
	}
	return d.renderAgents(w, r, http.StatusUnprocessableEntity, v)
}

func (d *dashboard) endAgentToken(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.AgentTokenID](r)
	if err != nil {
		return err
	}
	if err := d.Fleet.DeleteToken(r.Context(), workspaceOf(r.Context()), id); err != nil {
		return err
	}
	http.Redirect(w, r, agentsPath+"?done=token-ended", http.StatusSeeOther)
	return nil
}

type agentView struct {
	page
	Agent     agentRow
	Addresses []string
	Interval  string
	Missed    int
	Enrolled  moment
	Packages  []string // how they stand, in words
	AsOf      moment
	Reboot    bool
	Events    []eventRow
	All       string // where all its events are listed
}

func (d *dashboard) showAgent(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id, err := pathID[cybervault.AgentID](r)
	if err != nil {
		return err
	}
	a, err := d.Fleet.Agent(ctx, workspaceOf(ctx), id)
	if err != nil {
		return err
	}
	v := &agentView{page: d.newPage(r, "agents", cut(a.Hostname, shownInList)), Agent: d.agentRow(a), Interval: cybervault.FormatDuration(a.Interval), Missed: a.Missed, Enrolled: d.moment(a.EnrolledAt)}
	v.Packages, v.AsOf, v.Reboot = packageWords(&a.Packages), d.moment(a.Packages.At), a.Packages.RebootRequired
	for _, address := range a.Addresses {
		v.Addresses = append(v.Addresses, cut(address, 60))
	}
	text := "data.agent_id:" + a.ID.String()
	v.All = "/events?" + url.Values{"q": {text}}.Encode()
	search, err := cybervault.ParseSearch(text)
	if err != nil {
		return err
	}
	var told []*cybervault.Event
	for _, kind := range []string{"endpoint.*", "patch.*"} {
		found, err := d.Log.Events(ctx, cybervault.EventQuery{Workspace: workspaceOf(ctx), Type: kind, Search: search, Limit: agentEvents})
		if err != nil {
			return err
		}
		told = append(told, found.Rows...)
	}
	slices.SortFunc(told, func(a, b *cybervault.Event) int { return cmp.Compare(b.ID.Key(), a.ID.Key()) })
	v.Events = d.eventRows(told[:min(len(told), agentEvents)], d.severities(ctx))
	return d.render(w, http.StatusOK, "agent", v)
}

// packageWords says how the packages of a machine stand; nil where it has not told.
func packageWords(p *cybervault.PackageState) []string {
	if p.Manager == "" {
		return nil
	}
	words := []string{count(int64(p.Installed)) + " installed"}
	if p.Broken > 0 {
		words = append(words, count(int64(p.Broken))+" not in order")
	}
	switch {
	case p.Pending == nil:
	case *p.Pending == 0:
		words = append(words, "none pending")
	default:
		pending := count(int64(*p.Pending)) + " pending"
		if p.PendingSecurity != nil && *p.PendingSecurity > 0 {
			pending += ", " + count(int64(*p.PendingSecurity)) + " of them for security"
		}
		words = append(words, pending)
	}
	return words
}

func (d *dashboard) removeAgent(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID[cybervault.AgentID](r)
	if err != nil {
		return err
	}
	if err := d.Fleet.Remove(r.Context(), workspaceOf(r.Context()), id); err != nil {
		return err
	}
	http.Redirect(w, r, agentsPath+"?done=agent-removed", http.StatusSeeOther)
	return nil
}

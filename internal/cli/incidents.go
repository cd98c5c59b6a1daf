package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// incidentRow is what the API says about an incident.
type incidentRow struct {
	ID          string  `json:"id"`
	Title       string  `json:"title"`
	Severity    string  `json:"severity"`
	Status      string  `json:"status"`
	Resolution  *string `json:"resolution"`
	Disposition *string `json:"disposition"`
	Assignee    *string `json:"assignee"`
	Entities    struct {
		SourceIPs []string `json:"source_ips"`
		Users     []string `json:"users"`
		Assets    []string `json:"assets"`
	} `json:"entities"`
	Vectors    []string `json:"vectors"`
	Tactics    []string `json:"tactics"`
	Techniques []string `json:"techniques"`
	Counts     struct {
		Members int   `json:"members"`
		Records int64 `json:"records"`
	} `json:"counts"`
	FirstSeen  time.Time  `json:"first_seen"`
	LastSeen   time.Time  `json:"last_seen"`
	OpenedAt   time.Time  `json:"opened_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
	ResolvedAt *time.Time `json:"resolved_at"`
	MergedInto *string    `json:"merged_into"`
	Merged     []string   `json:"merged"`
	Revision   int64      `json:"revision"`

	Members []incidentMember `json:"members"`
	Notes   []incidentNote   `json:"notes"`
	History []incidentNote   `json:"history"`
}

type incidentMember struct {
	ID         string    `json:"id"`
	Event      string    `json:"event"`
	EventID    *string   `json:"event_id"`
	Severity   string    `json:"severity"`
	Vector     string    `json:"vector"`
	Confidence float64   `json:"confidence"`
	Count      int       `json:"count"`
	SourceIP   *string   `json:"source_ip"`
	User       *string   `json:"user"`
	Asset      *string   `json:"target_asset"`
	LastSeen   time.Time `json:"last_seen"`
}

type incidentNote struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"`
	Text string    `json:"text"`
}

func newIncidents(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "incidents", GroupID: groupAPI, Short: "List incidents and lead them through their life", Args: cobra.NoArgs}
	f := addClientFlags(cmd)
	cmd.RunE = listIncidents(env, f, addIncidentFilters(env, cmd))
	list := &cobra.Command{Use: "list", Short: "List incidents, the one that was opened last first", Args: cobra.NoArgs}
	list.RunE = listIncidents(env, f, addIncidentFilters(env, list))
	get := &cobra.Command{
		Use: "show INCIDENT", Short: "Show an incident with its members, notes and history", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return callIncident(cmd, env, f, http.MethodGet, args[0], "", nil)
		},
	}
	note := &cobra.Command{
		Use: "note INCIDENT TEXT", Short: "Add a note to an incident", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return callIncident(cmd, env, f, http.MethodPatch, args[0], "", map[string]any{"note": args[1]})
		},
	}
	merge := &cobra.Command{
		Use: "merge INCIDENT INTO", Short: "Move all that an incident holds to another one, and resolve it", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return callIncident(cmd, env, f, http.MethodPost, args[0], "/merge", map[string]any{"merge_into": args[1]})
		},
	}
	cmd.AddCommand(list, get,
		changeIncident(env, f, "acknowledge", "acknowledged", "Say that somebody looks after an incident", "assignee", "note"),
		changeIncident(env, f, "resolve", "resolved", "End an incident, and say what it was", "disposition", "note"),
		changeIncident(env, f, "reopen", "open", "Open an incident again", "note"), note, merge)
	return cmd
}

// addIncidentFilters is addListFlags with the words that incidents have.
func addIncidentFilters(env *Env, cmd *cobra.Command) *listFlags {
	f := addListFlags(env, cmd, "status", "severity", "since", "until", "q")
	for name, usage := range map[string]string{
		"status":   "only this status, or these joined by commas: open, acknowledged, resolved",
		"severity": "only this severity, or these joined by commas: info, low, medium, high, critical",
		"q":        "only incidents with this text in their title, or in an address, a user or an asset",
	} {
		cmd.Flags().Lookup(name).Usage = usage
	}
	return f
}

// changeIncident makes the command that takes an incident to a status.
func changeIncident(env *Env, f *clientFlags, use, status, about string, fields ...string) *cobra.Command {
	cmd := &cobra.Command{Use: use + " INCIDENT", Short: about, Args: cobra.ExactArgs(1)}
	usage := map[string]string{
		"assignee": "who looks after it", "note": "a note to add",
		"disposition": "what it was: true_positive, false_positive or undetermined; it moves the confidence of what the same rules find later",
	}
	values := map[string]*string{}
	for _, name := range fields {
		values[name] = cmd.Flags().String(name, "", usage[name])
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{"status": status}
		for name, value := range values {
			if *value != "" {
				body[name] = *value
			}
		}
		return callIncident(cmd, env, f, http.MethodPatch, args[0], "", body)
	}
	return cmd
}

func listIncidents(env *Env, f *clientFlags, filters *listFlags) runner {
	return func(cmd *cobra.Command, _ []string) error {
		query, err := filters.query()
		if err != nil {
			return err
		}
		t := &table{heading: []string{"OPENED", "SEVERITY", "STATUS", "MEMBERS", "RECORDS", "TITLE", "ID"}}
		return show(cmd.Context(), env, f, "/v1/incidents", query, filters.limit, t, func(i incidentRow) []string {
			return []string{moment(&i.OpenedAt), i.Severity, i.Status, strconv.Itoa(i.Counts.Members), strconv.FormatInt(i.Counts.Records, 10), short(i.Title, 100), i.ID}
		})
	}
}

// callIncident makes a call about one incident and shows the one it answers with.
func callIncident(cmd *cobra.Command, env *Env, f *clientFlags, method, id, action string, body any) error {
	c, err := f.connect(env)
	if err != nil {
		return err
	}
	raw, err := c.do(cmd.Context(), method, "/v1/incidents/"+segment(id)+action, nil, body)
	if err != nil {
		return err
	}
	if f.json {
		return printLine(env.Stdout, raw)
	}
	var i incidentRow
	if err := json.Unmarshal(raw, &i); err != nil {
		return fmt.Errorf("the server's answer is not what this version expects: %w", err)
	}
	return showIncident(env, &i)
}

func showIncident(env *Env, i *incidentRow) error {
	p := colours(env, env.Stdout)
	list := func(values []string) string { return short(strings.Join(values, ", "), 200) }
	err := details(env.Stdout, p,
		"incident", i.ID, "title", i.Title, "severity", i.Severity, "status", i.Status, "resolved by", text(i.Resolution), "disposition", text(i.Disposition),
		"assignee", text(i.Assignee), "merged into", text(i.MergedInto), "merged", list(i.Merged),
		"addresses", list(i.Entities.SourceIPs), "users", list(i.Entities.Users), "assets", list(i.Entities.Assets),
		"vectors", list(i.Vectors), "tactics", list(i.Tactics), "techniques", list(i.Techniques), "records", strconv.FormatInt(i.Counts.Records, 10),
		"first seen", moment(&i.FirstSeen), "last seen", moment(&i.LastSeen), "opened", moment(&i.OpenedAt), "updated", moment(&i.UpdatedAt),
		"resolved", moment(i.ResolvedAt), "revision", strconv.FormatInt(i.Revision, 10))
	if err != nil {
		return err
	}
	members := &table{heading: []string{"LAST SEEN", "EVENT", "SEVERITY", "WHAT", "FROM", "USER", "TARGET", "RECORDS", "CONFIDENCE", "EVENT ID"}}
	for _, m := range i.Members {
		members.add(moment(&m.LastSeen), m.Event, m.Severity, m.Vector, text(m.SourceIP), text(m.User), text(m.Asset),
			strconv.Itoa(m.Count), strconv.FormatFloat(m.Confidence, 'f', 2, 64), text(m.EventID))
	}
	notes := &table{heading: []string{"NOTED", "BY", "NOTE"}}
	for _, n := range i.Notes {
		notes.add(moment(&n.At), n.By, n.Text)
	}
	history := &table{heading: []string{"CHANGED", "BY", "WHAT"}}
	for _, n := range i.History {
		history.add(moment(&n.At), n.By, n.Text)
	}
	for _, t := range []*table{members, notes, history} {
		if len(t.rows) == 0 {
			continue
		}
		fmt.Fprintln(env.Stdout)
		if err := t.print(env.Stdout, p); err != nil {
			return err
		}
	}
	return nil
}

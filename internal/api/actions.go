package api

import (
	"context"
	"encoding/binary"
	"net/http"

	"github.com/cybervault/cybervault"
)

// Actions is the log of who did what.
type Actions interface {
	// Actions lists the actions of a workspace, newest first.
	Actions(ctx context.Context, q cybervault.ActionQuery) (cybervault.Page[*cybervault.Action], error)
	// ExportActions hands every line of the chain to line, oldest first, and returns
	// its end. Of other workspaces' lines a workspace may be told the hashes only.
	ExportActions(ctx context.Context, ws cybervault.WorkspaceID, line func(cybervault.ActionLine) error) (cybervault.ActionHead, error)
}

// mediaNDJSON is lines of JSON.
const mediaNDJSON = "application/x-ndjson"

// maxActorBytes bounds the filters of actions.
const maxActorBytes = 254

func (s *server) listActions(c *call) error {
	f := &filters{query: c.query}
	l := newList(c, "actions")
	q := cybervault.ActionQuery{Workspace: c.workspace(), Limit: f.limit()}
	q.Actor, q.Action, q.Target = f.short("actor"), f.short("action"), f.short("target")
	q.Since, q.Until = f.span()
	before := l.before(f)
	q.Before = int64(binary.BigEndian.Uint64(before[8:]))
	if err := f.wrong.err(); err != nil {
		return err
	}
	page, err := s.Actions.Actions(c.ctx(), q)
	if err != nil {
		return err
	}
	answer := listJSON[cybervault.ActionLine]{Data: make([]cybervault.ActionLine, len(page.Rows))}
	for i, a := range page.Rows {
		answer.Data[i] = a.Line()
	}
	if page.More && len(page.Rows) > 0 {
		var last cybervault.UUID // a cursor holds an id; here it is the number
		binary.BigEndian.PutUint64(last[8:], uint64(page.Rows[len(page.Rows)-1].Number))
		answer.NextCursor = l.cursor(last)
	}
	return writeJSON(c, http.StatusOK, answer)
}

// short reads a filter of actions.
func (f *filters) short(name string) string {
	text, _ := f.text(name)
	if len(text) > maxActorBytes {
		f.refusef(name, "is %d bytes long, more than %d", len(text), maxActorBytes)
	}
	return text
}

func aboutListActions(rt *route) {
	rt.id, rt.tag, rt.summary = "listActions", tagAudit, "List who did what"
	rt.doc = "Every change of the workspace's settings, every answer to an incident, and every log-in to the dashboard: when, by whom, from where, and what it was before and after. Newest first."
	rt.params = append([]param{
		{"actor", "Only what was done by this user or API key: its id, or a part of its name.", schema{"type": "string", "maxLength": maxActorBytes}},
		{"action", "Only this action, such as webhook.update, or those that begin with it and a dot, such as webhook.", schema{"type": "string", "maxLength": maxActorBytes}},
		{"target", "Only what was done to this: an id or a name, whole.", schema{"type": "string", "maxLength": maxActorBytes}},
		sinceParam(), untilParam(),
	}, pageParams()...)
	rt.answers = []answer{{status: 200, doc: "One page of actions.", schema: listOf[cybervault.ActionLine]()}}
}

// actionsEnd is the last line of an export.
type actionsEnd struct {
	Head cybervault.ActionHead `json:"head"`
}

func (s *server) exportActions(c *call) error {
	c.w.Header().Set("Content-Type", mediaNDJSON)
	c.w.Header().Set("Content-Disposition", `attachment; filename="cybervault-actions.ndjson"`)
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return nil // nobody reads the whole log to leave it out
	}
	out := &patient{c.w, http.NewResponseController(c.w)}
	write := func(v any) error {
		line, err := encode(v)
		if err == nil {
			_, err = out.Write(line)
		}
		return err
	}
	head, err := s.Actions.ExportActions(c.ctx(), c.workspace(), func(line cybervault.ActionLine) error { return write(line) })
	if err == nil {
		err = write(actionsEnd{head})
	}
	if err != nil {
		s.Logger.WarnContext(c.ctx(), "an export of who did what broke off", "error", err)
		panic(http.ErrAbortHandler) // so that it is not taken for a whole one
	}
	return nil
}

func aboutExportActions(rt *route) {
	rt.id, rt.tag, rt.summary = "exportActions", tagAudit, "Export who did what"
	rt.doc = "The whole log of who did what, oldest first, one line of JSON each, and a last line with its end: what `cybervault audit verify` checks. " +
		"The chain goes through all workspaces of the installation; of another one's lines only numbers and hashes are told, unless the key is of the first workspace."
	rt.answers = []answer{{status: 200, doc: "Lines of JSON.", media: mediaNDJSON, schema: schema{"type": "string"}}}
}

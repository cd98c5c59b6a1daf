package api

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/cybervault/cybervault"
)

// pathID reads the {id} of the path. An id that is malformed cannot exist.
func pathID[I cybervault.AnyID](c *call, what string) (I, error) {
	id, err := cybervault.ParseID[I](c.r.PathValue("id"))
	if err != nil {
		return id, notFound(what, c.r.PathValue("id"))
	}
	return id, nil
}

func notFound(what, id string) error {
	return &cybervault.Error{Code: cybervault.CodeNotFound, Message: "there is no " + what + " " + shorten(id) + " in this workspace"}
}

// named gives an error of CodeNotFound, which the services word as they like,
// the words of the API.
func named(err error, what string, id interface{ String() string }) error {
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound {
		return &cybervault.Error{Code: cybervault.CodeNotFound, Message: notFound(what, id.String()).Error(), Err: err}
	}
	return err
}

func (s *server) listEvents(c *call) error {
	f := &filters{query: c.query}
	l := newList(c, "events")
	q := cybervault.EventQuery{Workspace: c.workspace(), Limit: f.limit(), Before: cybervault.EventID{UUID: l.before(f)}, Search: f.events(s.Catalogue.List(c.workspace()))}
	q.Since, q.Until = f.span()
	if choice, ok := f.text("event"); ok {
		q.Type = f.eventChoice("event", choice)
	}
	if text, ok := f.text("unmatched"); ok {
		if q.Unmatched = text == "true"; !q.Unmatched && text != "false" {
			f.refusef("unmatched", "%q is neither true nor false", shorten(text))
		}
	}
	if err := f.wrong.err(); err != nil {
		return err
	}
	page, err := s.Log.Events(c.ctx(), q)
	if err != nil {
		return err
	}
	// Written by hand, since encoding/json would re-format the stored envelopes.
	var body bytes.Buffer
	body.WriteString(`{"data":[`)
	for i, e := range page.Rows {
		if i > 0 {
			body.WriteByte(',')
		}
		body.Write(e.Body)
	}
	body.WriteString(`],"next_cursor":`)
	switch {
	case page.More && !page.Resume.IsZero():
		body.WriteString(`"` + *l.cursor(page.Resume) + `"`)
	case page.More && len(page.Rows) > 0:
		body.WriteString(`"` + *l.cursor(page.Rows[len(page.Rows)-1].ID.UUID) + `"`)
	default:
		body.WriteString("null")
	}
	body.WriteString("}\n")
	return writeBytes(c, http.StatusOK, body.Bytes())
}

func aboutListEvents(rt *route) {
	rt.id, rt.tag, rt.summary = "listEvents", tagEvents, "List events"
	rt.doc = "The stored envelopes as they are delivered, newest first. A search by fields looks at 20,000 events for one page: it may hold fewer rows than asked for, or none, and still have a next_cursor that leads on."
	rt.params = append([]param{
		{"event", "Only this event type: a name, a namespace such as threat.*, or *.", schema{"type": "string"}},
		sinceParam(), untilParam(), searchParam(),
		{"unmatched", "With true, only events that no webhook had chosen when they were published: they are kept, and went to nobody.", schema{"type": "boolean", "default": false}},
	}, pageParams()...)
	rt.answers = []answer{{status: 200, doc: "One page of events.", schema: listOf[cybervault.Envelope]()}}
}

func (s *server) getEvent(c *call) error {
	id, err := pathID[cybervault.EventID](c, "event")
	if err != nil {
		return err
	}
	e, err := s.Log.Event(c.ctx(), c.workspace(), id)
	if err != nil {
		return named(err, "event", id)
	}
	return writeBytes(c, http.StatusOK, e.Body)
}

func aboutGetEvent(rt *route) {
	rt.id, rt.tag, rt.summary = "getEvent", tagEvents, "Read one event"
	rt.doc = "The stored envelope, byte for byte what is signed and delivered."
	rt.answers = []answer{{status: 200, doc: "The event.", schema: of[cybervault.Envelope]()}}
}

func (s *server) listEventDeliveries(c *call) error {
	id, err := pathID[cybervault.EventID](c, "event")
	if err != nil {
		return err
	}
	if _, err := s.Log.Event(c.ctx(), c.workspace(), id); err != nil {
		return named(err, "event", id)
	}
	return s.answerDeliveries(c, "deliveries of "+id.String(), cybervault.DeliveryQuery{Event: id})
}

func aboutListEventDeliveries(rt *route) {
	rt.id, rt.tag, rt.summary = "listEventDeliveries", tagEvents, "List the deliveries of one event"
	rt.doc = "One for each webhook that chose the event type, and one for each replay, newest first. Where there is none at all, explanation says why."
	rt.params = append([]param{webhookParam(), statusParam()}, pageParams()...)
	page := listOf[deliveryJSON]()
	page["properties"].(schema)["explanation"] = schema{"type": "string", "description": "Why the event has no deliveries at all; absent otherwise."}
	rt.answers = []answer{{status: 200, doc: "One page of deliveries.", schema: page}}
}

// isEventID reports whether a filter means one event rather than a type.
func isEventID(value string) bool {
	return strings.HasPrefix(value, cybervault.EventID{}.Prefix())
}

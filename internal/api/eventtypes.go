package api

import (
	"encoding/json"
	"net/http"

	"github.com/cybervault/cybervault"
)

func (s *server) listEventTypes(c *call) error {
	types := s.Catalogue.List(c.workspace())
	if types == nil {
		types = []cybervault.EventType{}
	}
	return writeJSON(c, http.StatusOK, listJSON[cybervault.EventType]{Data: types})
}

func aboutListEventTypes(rt *route) {
	rt.id, rt.tag, rt.summary = "listEventTypes", tagEvents, "List event types"
	rt.doc = "The whole catalogue at once; next_cursor is always null."
	rt.answers = []answer{{status: 200, doc: "The event types.", schema: listOf[cybervault.EventType]()}}
}

func (s *server) getEventType(c *call) error {
	name := c.r.PathValue("type")
	t, ok := s.Catalogue.Lookup(c.workspace(), name)
	if !ok {
		return notFound("event type", name)
	}
	return writeJSON(c, http.StatusOK, t)
}

func aboutGetEventType(rt *route) {
	rt.id, rt.tag, rt.summary = "getEventType", tagEvents, "Read one event type"
	rt.doc = "Severity, description, JSON Schema and example."
	rt.answers = []answer{{status: 200, doc: "The event type.", schema: of[cybervault.EventType]()}}
}

func eventTypeFields() fields[cybervault.EventType] {
	object := func(into *json.RawMessage, raw json.RawMessage) error {
		if raw[0] != '{' {
			return cybervault.Errorf(cybervault.CodeInvalid, "is %s: give an object", kindOf(raw))
		}
		*into = raw
		return nil
	}
	return fields[cybervault.EventType]{
		{
			name: "severity", required: true, doc: "say how severe such an event is",
			schema: enum(cybervault.SeverityInfo, cybervault.SeverityLow, cybervault.SeverityMedium, cybervault.SeverityHigh, cybervault.SeverityCritical),
			read: func(raw json.RawMessage, into *cybervault.EventType) error {
				text, err := readString(raw)
				into.Severity = cybervault.Severity(text)
				return err
			},
		},
		{
			name: "description", required: true, doc: "say when such an event is raised",
			schema: schema{"type": "string", "maxLength": cybervault.MaxDescriptionBytes},
			read: func(raw json.RawMessage, into *cybervault.EventType) (err error) {
				into.Description, err = readString(raw)
				return err
			},
		},
		{
			name: "schema", doc: "the JSON Schema (2020-12) that the data of such an event must fit; any object if not given", schema: schema{"type": "object"},
			null: ignoreNull[cybervault.EventType],
			read: func(raw json.RawMessage, into *cybervault.EventType) error { return object(&into.Schema, raw) },
		},
		{
			name: "example", doc: "a data object that the schema accepts, for tests; {} if not given", schema: schema{"type": "object"},
			null: ignoreNull[cybervault.EventType],
			read: func(raw json.RawMessage, into *cybervault.EventType) error { return object(&into.Example, raw) },
		},
	}
}

func (s *server) putEventType(c *call) error {
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	request, err := eventTypeFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	request.Name = c.r.PathValue("type")
	saved, created, err := s.Catalogue.SaveEventType(c.ctx(), c.workspace(), request)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		c.w.Header().Set("Location", "/v1/event-types/"+saved.Name)
	}
	return writeJSON(c, status, saved)
}

func aboutPutEventType(rt *route) {
	rt.id, rt.tag, rt.summary = "putEventType", tagEvents, "Add or change an event type"
	rt.doc = "An event type of the workspace's own, in a namespace that is none of the core types'. The whole of it is replaced. " +
		"A change holds for what is published from then on; events that are stored stay as they are."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: eventTypeFields().describe(bodyOptions{}),
		example: schema{"severity": "high", "description": "A badge was used twice.", "schema": schema{"type": "object", "required": []string{"badge"}}, "example": schema{"badge": "B-17"}}}
	rt.answers = []answer{
		{status: 200, doc: "Changed.", schema: of[cybervault.EventType]()},
		{status: 201, doc: "Added.", schema: of[cybervault.EventType](), headers: []string{"Location"}},
	}
	rt.errors = []int{409, 503}
}

// deleteEventType refuses while a webhook names the type.
func (s *server) deleteEventType(c *call) error {
	name := c.r.PathValue("type")
	if t, ok := s.Catalogue.Lookup(c.workspace(), name); !ok {
		return notFound("event type", name)
	} else if !t.Core {
		hooks, err := s.Webhooks.Webhooks(c.ctx(), c.workspace())
		if err != nil {
			return err
		}
		if err := cybervault.FreeToDelete(hooks, name); err != nil {
			return err
		}
	}
	if err := s.Catalogue.DeleteEventType(c.ctx(), c.workspace(), name); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func aboutDeleteEventType(rt *route) {
	rt.id, rt.tag, rt.summary = "deleteEventType", tagEvents, "Delete an event type"
	rt.doc = "One of the workspace's own; a conflict for a core type, and while a webhook names it among its events. Its events stay in the log and can be replayed; no more can be published."
	rt.answers = []answer{{status: 204, doc: "Deleted."}}
	rt.errors = []int{409, 503}
}

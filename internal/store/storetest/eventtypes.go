package storetest

import (
	"encoding/json"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func eventTypes(f *fixture) {
	want := func(want ...*cybervault.OwnEventType) {
		f.Helper()
		got, err := f.s.EventTypes(f.Context())
		f.must(err)
		if diff := cmp.Diff(want, got); diff != "" {
			f.Errorf("event types (-want +got):\n%s", diff)
		}
	}
	ownType := func(name string) *cybervault.OwnEventType {
		return &cybervault.OwnEventType{Workspace: f.ws, EventType: cybervault.EventType{
			Name: name, Severity: cybervault.SeverityHigh, Description: "Ein Gerät fiel aus.",
			Schema: json.RawMessage(`{"type":"object","required":["n"]}`), Example: json.RawMessage(`{"n":"\u0000"}`),
		}}
	}
	want()
	b, a := ownType("acme.b"), ownType("acme.a")
	f.must(f.s.SaveEventType(f.Context(), b))
	f.must(f.s.SaveEventType(f.Context(), a))
	want(a, b)

	a.Severity, a.Description, a.Schema, a.Example = cybervault.SeverityInfo, "", json.RawMessage(`{}`), json.RawMessage(`{"n":1}`)
	f.must(f.s.SaveEventType(f.Context(), a))
	want(a, b)

	f.wantCode(f.s.DeleteEventType(f.Context(), f.ws, "acme.c"), cybervault.CodeNotFound)
	f.wantCode(f.s.DeleteEventType(f.Context(), f.strangersWorkspace(), "acme.a"), cybervault.CodeNotFound)
	f.must(f.s.DeleteEventType(f.Context(), f.ws, "acme.a"))
	want(b)

	bad := ownType("acme.d")
	bad.Description = "a\x00b"
	f.wantCode(f.s.SaveEventType(f.Context(), bad), cybervault.CodeInvalid)
	want(b)
}

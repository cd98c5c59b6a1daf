package storetest

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func controls(f *fixture) {
	read := func(known int64) *cybervault.Controls {
		f.Helper()
		c, err := f.s.Controls(f.Context(), f.ws, known)
		f.must(err)
		return c
	}
	if c := read(0); c.Revision != 0 || len(c.Exceptions) > 0 {
		f.Errorf("before any: %+v", c)
	}
	first := &cybervault.Controls{
		Off: map[string]cybervault.RuleOff{"942100": {Reason: "zu laut", At: time.Date(2026, 3, 10, 8, 0, 0, 0, time.UTC)}},
		Exceptions: []cybervault.Exception{{ID: cybervault.NewID[cybervault.ExceptionID](f.ids), Rule: "*", Where: map[string][]string{"source_ip|cidr": {"10.0.0.0/8"}},
			Reason: "our scanner", CreatedAt: time.Date(2026, 3, 10, 8, 0, 0, 0, time.UTC), Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}},
	}
	f.must(f.s.SaveControls(f.Context(), f.ws, first))
	got := read(0)
	if got.Revision != 1 {
		f.Fatalf("after the first: %+v", got)
	}
	first.Revision = 1
	if diff := cmp.Diff(first, got); diff != "" {
		f.Errorf("(-want +got):\n%s", diff)
	}
	if c := read(1); c.Revision != 1 || len(c.Exceptions) > 0 {
		f.Errorf("of the known revision: %+v", c)
	}
	got.Off = nil
	f.must(f.s.SaveControls(f.Context(), f.ws, got))
	if c := read(1); c.Revision != 2 || len(c.Off) > 0 || len(c.Exceptions) != 1 {
		f.Errorf("after the second: %+v", c)
	}
	f.wantCode(f.s.SaveControls(f.Context(), f.ws, got), cybervault.CodeConflict) // made from the first
	f.wantCode(f.s.SaveControls(f.Context(), f.ws, &cybervault.Controls{}), cybervault.CodeConflict)
	if c, err := f.s.Controls(f.Context(), f.strangersWorkspace(), 0); err != nil || c.Revision != 0 {
		f.Errorf("of another workspace: %+v, %v", c, err)
	}
}

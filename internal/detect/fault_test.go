package detect

import (
	"testing"

	"github.com/cybervault/cybervault"
)

// A rule set that fails on a record, as none at all does, is counted, and ends
// nothing.
func TestAFaultOfTheRulesEndsNothing(t *testing.T) {
	t.Parallel()
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	rec := &cybervault.Record{Category: "webserver", Fields: map[string]string{cybervault.FieldWebURI: "/"}}
	if m := e.inspect(nil, rec); m != nil {
		t.Errorf("matches of rules that failed: %v", m)
	}
	if n := e.Stats().Failed; n != 1 {
		t.Errorf("%d faults are counted, want 1", n)
	}
}

package testenv_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// judged is a test that a ledger judges.
type judged struct {
	testing.TB
	failures []string
}

func (j *judged) Errorf(format string, args ...any) {
	j.failures = append(j.failures, fmt.Sprintf(format, args...))
}

func (j *judged) Helper() {}

// states is a server that lists deliveries: the pages of each status.
type states map[string][]string

func (s states) Try(_ context.Context, _, path, _ string) (int, []byte, error) {
	for status, pages := range s {
		if !strings.Contains(path, "status="+status+"&") {
			continue
		}
		page := 0
		if _, cursor, ok := strings.Cut(path, "&cursor="); ok {
			fmt.Sscan(cursor, &page)
		}
		return http.StatusOK, []byte(pages[page]), nil
	}
	return http.StatusOK, []byte(`{"data":[],"next_cursor":null}`), nil
}

func TestLedgerTellsWhatIsLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	t.Setenv("CYBERVAULT_LEDGER", path)
	t.Setenv("CYBERVAULT_TORTURE", "2")
	j := &judged{TB: t}
	l := testenv.NewLedger(j, "a test")
	sink, other := l.Sink("first", "wh_1"), l.Sink("second", "wh_2")
	l.Published(5)
	for _, id := range []string{"evt_1", "evt_2", "evt_3", "evt_4"} {
		l.Acknowledged(id)
		other.Got(id, true)
	}
	sink.Got("evt_1", true)
	sink.Got("evt_1", true) // a duplicate
	sink.Got("evt_2", false)
	sink.Got("evt_2", true)
	sink.Got("evt_3", false) // dead-lettered
	sink.Got("evt_4", false) // lost
	sink.Got("evt_5", true)  // its acknowledgement did not arrive
	l.Settle(states{"dead_letter": {
		`{"data":[{"event_id":"evt_9","webhook_id":"wh_1"},{"event_id":"evt_4","webhook_id":"wh_2"}],"next_cursor":"1"}`,
		`{"data":[{"event_id":"evt_3","webhook_id":"wh_1"}],"next_cursor":null}`,
	}}, time.Minute)
	l.Check(j)
	want := testenv.Count{Name: "a test", Published: 5, Acknowledged: 4, Delivered: 7, Dead: 1, Duplicates: 1, Lost: 1}
	got := l.Count()
	got.Seconds = 0
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	if len(j.failures) != 1 || !strings.Contains(j.failures[0], "evt_4 to first") {
		t.Errorf("failures: %q", j.failures)
	}
	if line := l.String(); !strings.Contains(line, "published 5, acknowledged 4, delivered 7, dead-lettered 1, duplicates 1, lost 1") {
		t.Errorf("in one line: %s", line)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var written testenv.Count
	if err := json.Unmarshal(text, &written); err != nil || written.Lost != 1 || written.Delivered != 7 {
		t.Errorf("written: %s (%v)", text, err)
	}
}

func TestLedgerTellsWhatHasNotEnded(t *testing.T) {
	t.Parallel()
	j := &judged{TB: t}
	l := testenv.NewLedger(j, "a test")
	l.Settle(states{"held": {`{"data":[{"id":"dlv_1","event_id":"evt_1"}]}`}}, time.Millisecond)
	if len(j.failures) != 1 || !strings.Contains(j.failures[0], "dlv_1 is held") {
		t.Errorf("failures: %q", j.failures)
	}
	l.Check(j)
	if len(j.failures) != 2 {
		t.Errorf("a ledger of nothing passes: %q", j.failures)
	}
}

func TestTortureIsOnceUnlessTold(t *testing.T) {
	for text, want := range map[string]int{"": 1, "x": 1, "0": 1, "20": 20} {
		t.Setenv("CYBERVAULT_TORTURE", text)
		if got := testenv.Torture(); got != want {
			t.Errorf("CYBERVAULT_TORTURE=%q: %d, want %d", text, got, want)
		}
	}
}

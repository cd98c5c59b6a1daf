package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
)

// shelf is a controlStore in memory; quicker is called before a save.
type shelf struct {
	stored  *cybervault.Controls
	quicker func()
	events  []*cybervault.Event
}

func (s *shelf) Controls(_ context.Context, _ cybervault.WorkspaceID, known int64) (*cybervault.Controls, error) {
	if s.stored == nil {
		return &cybervault.Controls{}, nil
	}
	if s.stored.Revision == known {
		return &cybervault.Controls{Revision: known}, nil
	}
	return s.stored.Clone(), nil
}

func (s *shelf) SaveControls(_ context.Context, _ cybervault.WorkspaceID, c *cybervault.Controls) error {
	if q := s.quicker; q != nil {
		s.quicker = nil
		q()
	}
	if s.stored != nil && s.stored.Revision != c.Revision || s.stored == nil && c.Revision != 0 {
		return cybervault.Errorf(cybervault.CodeConflict, "too late")
	}
	s.stored = c.Clone()
	s.stored.Revision++
	return nil
}

func (s *shelf) Events(_ context.Context, q cybervault.EventQuery) (cybervault.Page[*cybervault.Event], error) {
	var page cybervault.Page[*cybervault.Event]
	for _, e := range s.events {
		if e.Type == q.Type {
			page.Rows = append(page.Rows, e)
		}
	}
	return page, nil
}

func newControls(t *testing.T, s *shelf) *controls {
	t.Helper()
	n := int64(0)
	return &controls{store: s, engine: newEngine(t), now: time.Now, log: slog.New(slog.DiscardHandler), newID: func() cybervault.ExceptionID {
		n++
		return cybervault.ExceptionID{UUID: cybervault.UUIDFromParts(n, n)}
	}}
}

// guessing is a batch in which root is guessed at, and what the engine says of it.
func guessing(t *testing.T, e *detect.Engine, from string) []cybervault.Finding {
	t.Helper()
	b := e.Begin(cybervault.WorkspaceID{})
	for range 20 {
		if err := b.Add(t.Context(), &cybervault.Record{Service: "sshd", SourceIP: from,
			Fields: map[string]string{cybervault.FieldSourceIP: from, cybervault.FieldUser: "root", cybervault.FieldOutcome: cybervault.OutcomeFailure}}); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := b.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// What people say holds at once where they say it, on other nodes with their next
// look; a change meets that of somebody else without undoing it.
func TestControls(t *testing.T) {
	t.Parallel()
	ctx, ws, s := t.Context(), cybervault.WorkspaceID{}, &shelf{}
	one, two := newControls(t, s), newControls(t, s)
	s.quicker = func() {
		if err := two.SetRule(ctx, ws, "942100", false, "too loud"); err != nil {
			t.Error(err)
		}
	}
	made, err := one.AddException(ctx, ws, cybervault.Exception{Rule: "brute_force", Where: map[string][]string{"source_ip|cidr": {"203.0.113.0/24"}}, Reason: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, off := s.stored.Off["942100"]; !off || len(s.stored.Exceptions) != 1 || s.stored.Revision != 2 {
		t.Fatalf("of two changes at once %+v is left", s.stored)
	}
	if fs := guessing(t, one.engine, "203.0.113.9"); len(fs) > 0 {
		t.Errorf("hidden, and found: %s", fs[0].Data)
	}
	if fs := guessing(t, one.engine, "198.51.100.9"); len(fs) != 1 {
		t.Errorf("%d findings from elsewhere", len(fs))
	}
	if err := two.follow(ctx); err != nil {
		t.Fatal(err)
	}
	if fs := guessing(t, two.engine, "203.0.113.9"); len(fs) > 0 {
		t.Errorf("another node found: %s", fs[0].Data)
	}
	if err := two.RemoveException(ctx, ws, made.ID); err != nil {
		t.Fatal(err)
	}
	if fs := guessing(t, two.engine, "203.0.113.8"); len(fs) != 1 {
		t.Errorf("%d findings once the exception is gone", len(fs))
	}
	if err := two.RemoveException(ctx, ws, made.ID); cybervault.ErrorCode(err) != cybervault.CodeNotFound {
		t.Errorf("removed twice: %v", err)
	}
	for _, e := range []cybervault.Exception{
		{Rule: "*", Reason: "x"}, {Rule: "x"}, {Rule: "x", Reason: "x", Until: time.Now().Add(-time.Hour)}, {Rule: "x", Reason: "x", Where: map[string][]string{"a|re": {"("}}},
	} {
		if _, err := one.AddException(ctx, ws, e); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if err := one.SetRule(ctx, ws, "942100", false, ""); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("off without a reason: %v", err)
	}
	if err := one.SetRule(ctx, ws, "942100", true, ""); err != nil || len(s.stored.Off) > 0 {
		t.Errorf("%v, %+v", err, s.stored)
	}
}

// A preview replays what stored events show.
func TestPreviewOfAnException(t *testing.T) {
	t.Parallel()
	s := &shelf{}
	event := func(n int64, data map[string]any) {
		body, err := json.Marshal(map[string]any{"data": data})
		if err != nil {
			t.Fatal(err)
		}
		s.events = append(s.events, &cybervault.Event{ID: cybervault.EventID{UUID: cybervault.UUIDFromParts(n, n)}, Type: cybervault.EventThreatDetected, Timestamp: time.Unix(n, 0), Body: body})
	}
	line := func(path, agent string) string {
		return fmt.Sprintf(`203.0.113.9 - - [10/Mar/2026:08:00:00 +0000] "GET %s HTTP/1.1" 404 9 "-" "%s"`, path, agent)
	}
	found := func(rule, record string) map[string]any {
		return map[string]any{"engine": "web", "rule_id": rule, "record": record}
	}
	event(1, map[string]any{"vector": "scanner", "source_ip": "203.0.113.9", "detections": []any{found("913100", line("/a", "probe/1"))}})
	event(2, map[string]any{"vector": "scanner", "source_ip": "203.0.113.9", "detections": []any{found("913100", line("/a", "probe/1")), found("942100", line("/a", "other"))}})
	event(3, map[string]any{"vector": "scanner", "source_ip": "198.51.100.9", "target_asset": "shop", "detections": []any{found("913100", "cut off")}})
	s.events = append(s.events, &cybervault.Event{Type: cybervault.EventThreatDetected, Body: []byte("of another form")})
	c := newControls(t, s)
	for name, x := range map[string]struct {
		e    cybervault.Exception
		want string
	}{
		"a field":   {cybervault.Exception{Rule: "*", Where: map[string][]string{"cs-user-agent|startswith": {"probe/"}}}, "4 looked, 1 hidden, 1 partly"},
		"a rule":    {cybervault.Exception{Rule: "942100"}, "4 looked, 0 hidden, 1 partly"},
		"a vector":  {cybervault.Exception{Rule: "scanner"}, "4 looked, 3 hidden, 0 partly"},
		"an asset":  {cybervault.Exception{Rule: "*", Where: map[string][]string{"host": {"shop"}}}, "4 looked, 1 hidden, 0 partly"},
		"a network": {cybervault.Exception{Rule: "913100", Where: map[string][]string{"source_ip|cidr": {"203.0.113.0/24"}}}, "4 looked, 1 hidden, 1 partly"},
		"nothing":   {cybervault.Exception{Rule: "933100"}, "4 looked, 0 hidden, 0 partly"},
	} {
		x.e.Reason = "a test"
		p, err := c.PreviewException(t.Context(), cybervault.WorkspaceID{}, x.e)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d looked, %d hidden, %d partly", p.Looked, p.Hidden, p.Partly); got != x.want || len(p.Findings) != p.Hidden+p.Partly {
			t.Errorf("%s: %s, want %s; %+v", name, got, x.want, p.Findings)
		}
		if s.stored != nil {
			t.Error("a preview changed something")
		}
		for _, f := range p.Findings {
			if strings.Join(f.Rules, "") == "" {
				t.Errorf("%+v", f)
			}
		}
	}
}

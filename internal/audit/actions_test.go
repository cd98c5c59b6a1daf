package audit_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/audit"
)

// actions is a log of n lines, as it is exported.
func actions(n int) []cybervault.ActionLine {
	lines := make([]cybervault.ActionLine, n)
	var previous [32]byte
	for i := range lines {
		a := cybervault.Action{
			Number: int64(i + 1), Workspace: cybervault.WorkspaceID{UUID: cybervault.UUIDFromParts(1, 2)}, At: time.Date(2026, 11, 1, 0, 0, i, 123_000, time.UTC),
			Actor:  cybervault.Actor{Kind: cybervault.ActorUser, ID: "usr_1", Name: "ann <b>@example.com", Address: "192.0.2.1"},
			Action: "webhook.update", Target: fmt.Sprint("whk_", i), Before: json.RawMessage(`{"a": "<b>", "n": 1.50}`), Previous: previous,
		}
		a.Hash = a.Digest()
		previous = a.Hash
		lines[i] = a.Line()
	}
	return lines
}

func headOf(lines []cybervault.ActionLine) cybervault.ActionHead {
	last := lines[len(lines)-1]
	return cybervault.ActionHead{Number: last.Number, Hash: last.Hash}
}

// export writes lines with their end, in the way the API writes JSON.
func export(t *testing.T, lines []cybervault.ActionLine, head cybervault.ActionHead) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Encode(map[string]any{"head": head}); err != nil {
		t.Fatal(err)
	}
	return &out
}

func TestVerifyActions(t *testing.T) {
	t.Parallel()
	whole := actions(5)
	found, err := audit.VerifyActions(export(t, whole, headOf(whole)), nil)
	if err != nil || found.Head != headOf(whole) || found.Withheld != 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	whole[2].Withhold()
	third := cybervault.ActionHead{Number: 3, Hash: strings.ToUpper(whole[2].Hash)}
	kept, err := audit.ParseActionHead(fmt.Sprintf(" %d:%s\n", third.Number, third.Hash))
	if err != nil {
		t.Fatal(err)
	}
	if found, err = audit.VerifyActions(export(t, whole, headOf(whole)), &kept); err != nil || found.Withheld != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	none := cybervault.ActionHead{Hash: strings.Repeat("0", 64)}
	if found, err = audit.VerifyActions(export(t, nil, none), nil); err != nil || found.Head != none {
		t.Fatalf("an empty log: %+v, %v", found, err)
	}
}

// rehash makes a whole chain of changed lines, as somebody would who can write to the
// database.
func rehash(lines []cybervault.ActionLine) {
	previous := strings.Repeat("0", 64)
	for i := range lines {
		lines[i].Previous = previous
		digest := lines[i].Digest()
		lines[i].Hash = hex.EncodeToString(digest[:])
		previous = lines[i].Hash
	}
}

func TestTamperedActionsAreFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tamper func(lines []cybervault.ActionLine) ([]cybervault.ActionLine, bool) // true: the end is written anew too
		want   string
	}{
		"a changed actor": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[1].Actor.Name = "bob"
			return l, false
		}, "line 2 was changed"},
		"a changed address": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[0].Actor.Address = ""
			return l, false
		}, "line 1 was changed"},
		"a changed time": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[4].At = l[4].At.Add(time.Microsecond)
			return l, false
		}, "line 5 was changed"},
		"a changed before": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) { l[1].Before = nil; return l, false }, "line 2 was changed"},
		"a changed after": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[1].After = json.RawMessage(`{}`)
			return l, false
		}, "line 2 was changed"},
		"a changed workspace": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[1].Workspace = cybervault.WorkspaceID{}
			return l, false
		}, "line 2 was changed"},
		"a line hashed anew": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[1].Target = "x"
			rehash(l[:2])
			return l, false
		}, "line 3 does not follow line 2"},
		"removed":          {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) { return slices.Delete(l, 2, 3), false }, "line 3 is missing"},
		"several removed":  {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) { return slices.Delete(l, 0, 2), false }, "lines 1 to 2 are missing"},
		"the last removed": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) { return l[:4], false }, "lines 5 to 5 are missing: the store has written them"},
		"all removed":      {func([]cybervault.ActionLine) ([]cybervault.ActionLine, bool) { return nil, false }, "lines 1 to 5 are missing"},
		"swapped": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[1], l[2] = l[2], l[1]
			return l, false
		}, "line 2 is missing"},
		"twice": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			return slices.Insert(l, 1, l[0]), false
		}, "line 1 stands after line 1"},
		"put in and hashed anew": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[1].Target = "x"
			rehash(l)
			return l, false
		}, "not the one that the store wrote last"},
		"withheld and hashed anew": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[1].Hash = l[2].Hash
			l[1].Withhold()
			return l, false
		}, "line 3 does not follow"},
		"all written anew": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) {
			l[1].Target = "x"
			rehash(l)
			return l, true
		}, "line 3 is not the one that was kept"},
		"an older database": {func(l []cybervault.ActionLine) ([]cybervault.ActionLine, bool) { return l[:2], true }, "before line 3 that was kept"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := actions(5)
			third, head := headOf(lines[:3]), headOf(lines)
			var kept *cybervault.ActionHead
			lines, anew := c.tamper(lines)
			if anew {
				kept, head = &third, headOf(lines)
				if _, err := audit.VerifyActions(export(t, lines, head), nil); err != nil {
					t.Errorf("found without what was kept: %v", err)
				}
			}
			_, err := audit.VerifyActions(export(t, lines, head), kept)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("found %v, want %q", err, c.want)
			}
		})
	}
}

func TestExportsThatAreNone(t *testing.T) {
	t.Parallel()
	whole := export(t, actions(3), headOf(actions(3))).String()
	for name, c := range map[string]struct{ export, want string }{
		"broken off":  {whole[:strings.LastIndex(strings.TrimSpace(whole), "\n")+1], "has no end"},
		"empty":       {"", "has no end"},
		"two of them": {whole + whole, "goes on after its end"},
		"no JSON":     {"<html>\n", "cannot be read"},
		"half a line": {whole[:len(whole)/2], "cannot be read"},
		"a long line": {strings.Repeat("x", 5<<20), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := audit.VerifyActions(strings.NewReader(c.export), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("found %v, want %q", err, c.want)
			}
		})
	}
	for _, head := range []string{"", "3", "0:" + strings.Repeat("0", 64), "x:" + strings.Repeat("0", 64), "3:00", "3:" + strings.Repeat("g", 64), strings.Repeat("9", 500)} {
		if _, err := audit.ParseActionHead(head); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("%q: %v", head, err)
		}
	}
}

package cybervault_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cybervault/cybervault"
)

func TestUUIDIsVersion7AndSplitsIntoKeyAndRest(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	rapid.Check(t, func(t *rapid.T) {
		// 2^43 milliseconds: until the year 2248.
		ms := rapid.Int64Range(0, 1<<43-1).Draw(t, "ms")
		counter := rapid.Int64Range(0, 1<<12-1).Draw(t, "counter")
		node := rapid.Int64Range(0, 255).Draw(t, "node")
		rest := rapid.Int64Range(0, 1<<54-1).Draw(t, "rest")
		key := ms<<20 | counter<<8 | node
		u := cybervault.UUIDFromParts(key, rest)
		if u.Key() != key || u.Rest() != rest || u.Key() < 0 {
			t.Fatalf("%d, %d became %s, and that %d, %d", key, rest, u, u.Key(), u.Rest())
		}
		if !u.Time().Equal(time.UnixMilli(ms)) || u.Time().Location() != time.UTC {
			t.Fatalf("%s was made at %v, want %v", u, u.Time(), time.UnixMilli(ms).UTC())
		}
		if !form.MatchString(u.String()) {
			t.Fatalf("%q is not the usual form of a version 7 UUID", u)
		}
		if back, err := cybervault.ParseUUID(u.String()); err != nil || back != u {
			t.Fatalf("%s read back: %s, %v", u, back, err)
		}
		if at := cybervault.KeyAt(time.UnixMilli(ms)); at > key || at != ms<<20 {
			t.Fatalf("KeyAt is %d for a key of %d", at, key)
		}
	})
	if k := cybervault.KeyAt(time.Time{}); k != 0 {
		t.Errorf("KeyAt of the zero time is %d, want 0", k)
	}
}

func TestKeysAscendWithTheText(t *testing.T) {
	t.Parallel()
	s := cybervault.NewIDSource(255, 0, time.Now)
	last := s.Next()
	for range 10_000 {
		u := s.Next()
		if u.Key() <= last.Key() || u.String() <= last.String() {
			t.Fatalf("%s comes after %s", u, last)
		}
		last = u
	}
}

// A clock that stands still, goes back, and jumps.
func TestIDsAscendWhateverTheClockDoes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := cybervault.NewIDSource(7, 0, func() time.Time { return now })
	last := int64(0)
	mint := func(n int) cybervault.UUID {
		t.Helper()
		var u cybervault.UUID
		for range n {
			if u = s.Next(); u.Key() <= last || u.Key()&255 != 7 {
				t.Fatalf("key %d after %d", u.Key(), last)
			}
			last = u.Key()
		}
		return u
	}
	if u := mint(4096); !u.Time().Equal(now) {
		t.Errorf("the 4,096th id of a millisecond says %v", u.Time())
	}
	if u := mint(1); !u.Time().Equal(now.Add(time.Millisecond)) {
		t.Errorf("the next one runs ahead of the clock by a millisecond, not to %v", u.Time())
	}
	now = now.Add(-time.Hour)
	mint(5000)
	now = now.Add(2 * time.Hour)
	if u := mint(1); !u.Time().Equal(now) {
		t.Errorf("after the clock went on the id says %v, want %v", u.Time(), now)
	}
}

func TestIDsOfTwoRunsOfTheServer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	first := cybervault.NewIDSource(0, 0, func() time.Time { return now })
	greatest := first.NextRun(10_000)[9_999].Key()
	now = now.Add(-24 * time.Hour) // the clock was set back between the runs
	second := cybervault.NewIDSource(0, greatest, func() time.Time { return now })
	if next := second.Next().Key(); next <= greatest {
		t.Errorf("the next run's first key %d is not above %d", next, greatest)
	}
}

func TestARunHasOneStepBetweenKeys(t *testing.T) {
	t.Parallel()
	s := cybervault.NewIDSource(3, 0, time.Now)
	var mu sync.Mutex
	seen := map[int64]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range 200 {
				run := s.NextRun(n)
				for i, u := range run {
					if i > 0 && u.Key() != run[i-1].Key()+cybervault.KeyStep {
						t.Errorf("keys %d and %d of one run", run[i-1].Key(), u.Key())
					}
					mu.Lock()
					if seen[u.Key()] {
						t.Errorf("key %d was minted twice", u.Key())
					}
					seen[u.Key()] = true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
}

func TestParseID(t *testing.T) {
	t.Parallel()
	const uuid = "0192f0c1-2b3c-7d4e-8f50-123456789abc"
	id, err := cybervault.ParseID[cybervault.EventID]("wh_" + uuid)
	if err != nil || id.String() != "wh_"+uuid || id.IsZero() {
		t.Fatalf("%s, %v", id, err)
	}
	for _, bad := range []string{
		"", "wh_", uuid, "dlv_" + uuid, "WH_" + uuid, "wh_" + strings.ToUpper(uuid), "wh_" + uuid + "0", "wh_" + uuid[1:],
		"wh_" + strings.ReplaceAll(uuid, "-", ""), "wh_0192f0c1-2b3c-4d4e-8f50-123456789abc", "wh_0192f0c1-2b3c-7d4e-cf50-123456789abc",
		"wh_0192f0c12-b3c-7d4e-8f50-123456789abc", "wh_0192f0c1-2b3c-7d4e-8f50-12345678zabc", " wh_" + uuid, strings.Repeat("x", 10_000),
	} {
		_, err := cybervault.ParseID[cybervault.EventID](bad)
		if cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("%.80q: %v, want CodeInvalid", bad, err)
			continue
		}
		if len(err.Error()) > 200 || !strings.Contains(err.Error(), "wh_") {
			t.Errorf("%.80q: the error does not say briefly what is wanted: %v", bad, err)
		}
	}
}

func TestIDsInJSON(t *testing.T) {
	t.Parallel()
	s := cybervault.NewIDSource(0, 0, time.Now)
	type record struct {
		Event cybervault.EventID     `json:"event"`
		None  cybervault.DeliveryID  `json:"none,omitzero"`
		Zero  cybervault.WorkspaceID `json:"zero"`
	}
	in := record{Event: cybervault.NewID[cybervault.EventID](s)}
	b, err := json.Marshal(in)
	if want := `{"event":"` + in.Event.String() + `","zero":""}`; err != nil || string(b) != want {
		t.Fatalf("%s, %v; want %s", b, err, want)
	}
	var out record
	if err := json.Unmarshal([]byte(`{"event":"`+in.Event.String()+`"}`), &out); err != nil || out != in {
		t.Errorf("read back %+v, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"event":"dlv_1"}`), &out); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("another kind of id: %v", err)
	}
	if again := cybervault.MakeID[cybervault.EventID](in.Event.Key(), in.Event.Rest()); again != in.Event {
		t.Errorf("rebuilt from its two numbers: %s, want %s", again, in.Event)
	}
}

func FuzzParseUUID(f *testing.F) {
	f.Add("0192f0c1-2b3c-7d4e-8f50-123456789abc")
	f.Add("0192F0C1-2b3c-7d4e-8f50-123456789abc")
	f.Add("0192f0c1-2b3c-4d4e-8f50-123456789abc")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := cybervault.ParseUUID(s)
		if err != nil {
			if !u.IsZero() && u.String() == s {
				t.Errorf("%q is refused and understood", s)
			}
			return
		}
		if u.String() != s {
			t.Errorf("%q is read as %q", s, u)
		}
		if u.Time().Year() < 2248 {
			if back := cybervault.UUIDFromParts(u.Key(), u.Rest()); back != u {
				t.Errorf("%s is kept as %s", u, back)
			}
		}
	})
}

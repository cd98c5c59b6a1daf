package detect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect"
	"github.com/cybervault/cybervault/internal/detect/sample"
)

var (
	day  = time.Date(2026, 3, 10, 8, 0, 0, 0, time.UTC)
	wsA  = cybervault.WorkspaceID{UUID: cybervault.UUIDFromParts(1, 1)}
	wsB  = cybervault.WorkspaceID{UUID: cybervault.UUIDFromParts(2, 2)}
	sqli = "/item?id=1%27%20OR%20%271%27=%271"
)

// line is an access-log line.
func line(after time.Duration, ip, target string, status int) string {
	return fmt.Sprintf(`%s - - [%s] "GET %s HTTP/1.1" %d 512 "-" "Mozilla/5.0"`, ip, day.Add(after).Format("02/Jan/2006:15:04:05 -0700"), target, status)
}

func lines(n int, of func(i int) string) *strings.Reader {
	var b strings.Builder
	for i := range n {
		b.WriteString(of(i) + "\n")
	}
	return strings.NewReader(b.String())
}

func TestOneAttackIsOneEvent(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	const n = 200
	fs := feed(t, e, wsA, "web", lines(n, func(i int) string {
		return line(time.Duration(i)*time.Second, "203.0.113.5", fmt.Sprintf("/item?id=%d%%27%%20OR%%20%%271%%27=%%271", i), 200)
	}))
	if len(fs) != 1 {
		t.Fatalf("%d events", len(fs))
	}
	ev := decode(t, fs[0])
	if ev.Count != n || !ev.FirstSeen.Equal(day) || !ev.LastSeen.Equal(day.Add((n-1)*time.Second)) || ev.Vector != "sql_injection" || str(ev.TargetAsset) != "web" {
		t.Errorf("%+v", ev)
	}
	if ev.Detections[0].Count != n || len(ev.Detections) > 10 {
		t.Errorf("%d detections, the first of %d records", len(ev.Detections), ev.Detections[0].Count)
	}
	if !fs[0].Timestamp.Equal(ev.LastSeen) {
		t.Errorf("timestamp %v", fs[0].Timestamp)
	}
}

func TestQuietAndOtherSourcesSeparateAttacks(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	fs := feed(t, e, wsA, "web", strings.NewReader(strings.Join([]string{
		line(0, "203.0.113.5", sqli, 200), line(9*time.Minute, "203.0.113.5", sqli, 200),
		line(9*time.Minute, "203.0.113.6", sqli, 200),
		line(20*time.Minute, "203.0.113.5", sqli, 200), // eleven minutes later
	}, "\n")))
	var got []string
	ids := map[string]bool{}
	for _, f := range fs {
		ev := decode(t, f)
		got = append(got, fmt.Sprintf("%s x%d", str(ev.SourceIP), ev.Count))
		ids[ev.ThreatID] = true
	}
	if d := cmp.Diff([]string{"203.0.113.5 x2", "203.0.113.6 x1", "203.0.113.5 x1"}, got, cmp.Transformer("sort", func(s []string) []string {
		return slices.Sorted(slices.Values(s))
	})); d != "" {
		t.Error(d)
	}
	if len(ids) != 3 {
		t.Errorf("%d different ids", len(ids))
	}
}

// Over many requests an attack is told of when it is concluded and when it has
// grown, under one id.
func TestGrowth(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	var counts []int
	var id string
	for i := range 120 {
		for _, f := range feed(t, e, wsA, "web", strings.NewReader(line(time.Duration(i)*time.Second, "203.0.113.5", sqli, 200))) {
			ev := decode(t, f)
			counts = append(counts, ev.Count)
			if id != "" && ev.ThreatID != id {
				t.Errorf("another id: %s", ev.ThreatID)
			}
			id = ev.ThreatID
		}
	}
	if d := cmp.Diff([]int{1, 10, 100}, counts); d != "" {
		t.Error(d)
	}
	// A new vector and a higher severity are told of at once.
	fs := feed(t, e, wsA, "web", strings.NewReader(strings.TrimSuffix(strings.Repeat(line(130*time.Second, "203.0.113.5", "/?h=%3Bcat%20/etc/passwd", 200)+"\n", 10), "\n")))
	if len(fs) != 1 {
		t.Fatalf("%d events", len(fs))
	}
	if ev := decode(t, fs[0]); ev.Vector != "remote_code_execution" || ev.Severity != "critical" || ev.ThreatID != id {
		t.Errorf("%+v", ev)
	}
}

// The same telemetry gives the same findings and keys, however many workers;
// handed in again to the same engine it gives nothing new.
func TestReplay(t *testing.T) {
	t.Parallel()
	var want []cybervault.Finding
	for i, workers := range []int{1, 4, 3} {
		e := newEngine(t, detect.Config{Workers: workers, NoGate: i == 2})
		fs := append(feed(t, e, wsA, "s", sample.AccessLog()), feed(t, e, wsA, "s", sample.AuthLog())...)
		if want == nil {
			want = fs
		}
		if d := cmp.Diff(want, fs); d != "" {
			t.Errorf("run %d: %s", i, d)
		}
		if again := append(feed(t, e, wsA, "s", sample.AccessLog()), feed(t, e, wsA, "s", sample.AuthLog())...); len(again) > 0 {
			t.Errorf("run %d, handed in again: %d events, the first %s", i, len(again), again[0].Data)
		}
	}
	keys := map[string]bool{}
	for _, f := range want {
		keys[f.Key] = true
	}
	if len(keys) != len(want) || len(want) == 0 {
		t.Errorf("%d keys of %d findings", len(keys), len(want))
	}
}

// Workspaces share neither attacks nor windows, nor ids.
func TestWorkspacesAreApart(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	fail := func(from, n int) *strings.Reader {
		return lines(n, func(i int) string {
			return fmt.Sprintf("Mar 10 08:00:%02d gate sshd[%d]: Failed password for root from 198.51.100.7 port %d ssh2", from+i, from+i, 4000+from+i)
		})
	}
	if fs := append(feed(t, e, wsA, "", fail(0, 4)), feed(t, e, wsB, "", fail(4, 4))...); len(fs) != 0 {
		t.Errorf("attempts of two workspaces added up: %s", fs[0].Data)
	}
	a, b := feed(t, e, wsA, "", fail(8, 4)), feed(t, e, wsB, "", fail(8, 4))
	if len(a) != 1 || len(b) != 1 || a[0].Key == b[0].Key || decode(t, a[0]).AuthID == decode(t, b[0]).AuthID {
		t.Errorf("%d and %d events", len(a), len(b))
	}
}

// What is not known is null, and every field is there.
func TestDataHasEveryField(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{Now: func() time.Time { return day }})
	for text, want := range map[string][]string{
		`{"method":"GET","url":"` + sqli + `","headers":{"Cookie":"a=1' OR '1'='1' --"}}`:                           {"threat_id", "severity", "source_ip", "target_asset", "vector", "confidence", "mitre_id", "count", "first_seen", "last_seen", "incident_id", "detections"},
		strings.Repeat("Mar 10 08:00:00 sshd[7]: Failed password for root from host.example.net port 1 ssh2\n", 12): {"auth_id", "severity", "pattern", "user", "source_ip", "target_asset", "count", "first_seen", "last_seen", "confidence", "mitre_id", "incident_id", "detections"},
	} {
		fs := feed(t, e, wsA, "", strings.NewReader(text))
		if len(fs) != 1 {
			t.Fatalf("%s: %d events", text, len(fs))
		}
		var data map[string]json.RawMessage
		if err := json.Unmarshal(fs[0].Data, &data); err != nil {
			t.Fatal(err)
		}
		var got []string
		for k := range data {
			got = append(got, k)
		}
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		for _, k := range []string{"source_ip", "target_asset", "incident_id"} {
			if string(data[k]) != "null" {
				t.Errorf("%s is %s", k, data[k])
			}
		}
		if !fs[0].Timestamp.Equal(day) {
			t.Errorf("timestamp %v", fs[0].Timestamp)
		}
	}
}

// A hostile record cannot make an event too large to publish.
func TestEventsStayWithinTheirLimit(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	var b strings.Builder
	for _, attack := range []string{"' OR '1'='1", "<script>alert(1)</script>", "../../etc/passwd", "; cat /etc/passwd", "${jndi:ldap://x}", "<?php eval(1)", "union select 1 from a", "sleep(5)", "http://169.254.169.254/"} {
		body, err := json.Marshal(strings.Repeat("\x01", 4200))
		if err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(attack)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, `{"body":%s,"client_ip":"203.0.113.5","timestamp":"2026-03-10T08:00:00Z","url":"/?x=","headers":{"Cookie":%s}}`+"\n", body, `"v=`+string(quoted[1:]))
	}
	fs := feed(t, e, wsA, strings.Repeat("s", 300), strings.NewReader(b.String()))
	if len(fs) == 0 {
		t.Fatal("no event")
	}
	for _, f := range fs {
		if len(f.Data) > cybervault.MaxEventBytes-4096 {
			t.Errorf("%d bytes", len(f.Data))
		}
		for _, d := range decode(t, f).Detections {
			if len(d.Record) > cybervault.MaxDetectionRecordBytes {
				t.Errorf("a record of %d bytes", len(d.Record))
			}
		}
	}
}

// One odd request is no event; several of different kinds are.
func TestConfidenceFollowsTheEvidence(t *testing.T) {
	t.Parallel()
	one := feed(t, newEngine(t, detect.Config{}), wsA, "web", strings.NewReader(line(0, "203.0.113.5", "/config.xml", 404)))
	if len(one) != 0 {
		t.Errorf("a stale link: %s", one[0].Data)
	}
	confidence := func(text ...string) float64 {
		fs := feed(t, newEngine(t, detect.Config{MinConfidence: 0.01}), wsA, "web", strings.NewReader(strings.Join(text, "\n")))
		if len(fs) != 1 {
			t.Fatalf("%d events of %q", len(fs), text)
		}
		return decode(t, fs[0]).Confidence
	}
	weak := confidence(line(0, "203.0.113.5", "/?q=1.e(", 200))
	more := confidence(line(0, "203.0.113.5", sqli, 404), line(1, "203.0.113.5", sqli+"&x=1", 404))
	most := confidence(line(0, "203.0.113.5", sqli, 500), line(1, "203.0.113.5", "/?q=%3Cscript%3Ealert(1)%3C/script%3E", 404), line(2, "203.0.113.5", "/?f=../../etc/passwd", 404))
	if weak >= 0.5 {
		t.Errorf("one rule that matched one word of a harmless value: %v", weak)
	}
	if !(weak < more && more < most && most < 1) {
		t.Errorf("confidences %v, %v, %v", weak, more, most)
	}
	if !strings.HasPrefix(detect.EngineVersion(), "ai_v") {
		t.Errorf("engine version %q", detect.EngineVersion())
	}
}

func TestSSHScanIsAThreat(t *testing.T) {
	t.Parallel()
	fs := feed(t, newEngine(t, detect.Config{}), wsA, "", lines(7, func(i int) string {
		return fmt.Sprintf("Mar 10 08:00:%02d gate sshd[%d]: banner exchange: Connection from 198.51.100.7 port %d: invalid format", i, i, 4000+i)
	}))
	if len(fs) != 1 || fs[0].Type != cybervault.EventThreatDetected {
		t.Fatalf("%+v", fs)
	}
	if ev := decode(t, fs[0]); ev.Vector != "reconnaissance" || str(ev.MitreID) != "T1046" || ev.Count != 7 || str(ev.TargetAsset) != "gate" {
		t.Errorf("%+v", ev)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for _, cfg := range []detect.Config{{Paranoia: 5}, {Paranoia: -1}, {MinConfidence: 1.5}, {MinConfidence: -0.1}} {
		if _, err := detect.New(cfg); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestConcurrentBatches(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	var wg sync.WaitGroup
	for i := range 8 {
		ws := []cybervault.WorkspaceID{wsA, wsB}[i%2]
		wg.Go(func() {
			fs := feed(t, e, ws, "web", lines(200, func(n int) string {
				return line(time.Duration(n)*time.Second, fmt.Sprintf("203.0.113.%d", i), sqli, 200)
			}))
			if len(fs) != 1 || decode(t, fs[0]).Count != 200 {
				t.Errorf("batch %d: %d events", i, len(fs))
			}
		})
	}
	wg.Wait()
	if s := e.Stats(); s.Records != 1600 || s.Inspected != 1600 || s.RuleSetAsked >= 800 || s.OpenAttacks != 8 {
		t.Errorf("%+v", s)
	}
}

// Attacks held in memory are bounded; those let go were told of.
func TestAttacksAreBounded(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	const n = 20100
	fs := feed(t, e, wsA, "web", lines(n, func(i int) string {
		return line(time.Duration(i)*time.Millisecond, fmt.Sprintf("2001:db8::%x", i+1), sqli, 200)
	}))
	if s := e.Stats(); s.OpenAttacks != 20000 || s.EvictedAttacks != n-20000 {
		t.Errorf("%+v", s)
	}
	if len(fs) != n {
		t.Errorf("%d events", len(fs))
	}
}

func TestCancelledBatch(t *testing.T) {
	t.Parallel()
	e := newEngine(t, detect.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	b := e.Begin(wsA)
	if err := b.Add(ctx, &cybervault.Record{Category: "webserver", Fields: map[string]string{cybervault.FieldWebURI: sqli}}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := b.End(ctx); err == nil {
		t.Error("no error")
	}
}

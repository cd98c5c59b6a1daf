package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/cybervault/cybervault/test/testenv"
)

// command runs the program as its user would, and returns what it said.
func command(t *testing.T, server *testenv.Server, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Binary(t), args...)
	cmd.Dir = t.TempDir()
	if server != nil {
		cmd.Env = append(os.Environ(), "CYBERVAULT_SERVER="+server.URL(), "CYBERVAULT_API_KEY="+server.APIKey)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// mustRun is command for one that succeeds.
func mustRun(t *testing.T, server *testenv.Server, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := command(t, server, args...)
	if err != nil {
		t.Fatalf("cybervault %s: %v\n%s%s", strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout, stderr
}

// steady publishes from several callers at once until it is told to end.
type steady struct {
	stop  atomic.Bool
	wg    sync.WaitGroup
	mu    sync.Mutex
	acked []string // webhook-ids
}

func publishSteadily(t *testing.T, server *testenv.Server) *steady {
	t.Helper()
	p := &steady{}
	for range 4 {
		p.wg.Go(func() {
			for !p.stop.Load() {
				status, answer, err := server.Try(t.Context(), http.MethodPost, "/v1/events", alert)
				var receipt struct{ ID string }
				if err != nil || status != http.StatusAccepted || json.Unmarshal(answer, &receipt) != nil {
					t.Errorf("publish beside a backup: %d %s %v", status, answer, err)
					return
				}
				p.mu.Lock()
				p.acked = append(p.acked, receipt.ID)
				p.mu.Unlock()
			}
		})
	}
	return p
}

func (p *steady) sofar() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.acked)
}

func (p *steady) waitMore(t *testing.T, n int) {
	t.Helper()
	from := len(p.sofar())
	waitFor(t, func() (bool, any) { now := len(p.sofar()); return now >= from+n, now - from }, "not enough was published")
}

func (p *steady) end() {
	p.stop.Store(true)
	p.wg.Wait()
}

// A server is backed up while events are published and delivered, goes on, and is
// lost. What it had acknowledged before the backup is in the restored one, what
// was delivered before is not sent again, what was pending is sent under the same
// webhook-id, signed with the same secret.
func TestRestoredServerGoesOn(t *testing.T) {
	t.Parallel()
	receiver := testenv.NewReceiver(t)
	var refusing atomic.Bool
	refusing.Store(true)
	receiver.AnswerWith(func(w http.ResponseWriter, _ *http.Request, got testenv.Received) {
		if refusing.Load() && bytes.Contains(got.Body, []byte("threat.detected")) {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	schedule := strings.TrimSuffix(strings.Repeat("2s,", 60), ",")
	options := []string{"--allow-destination", "127.0.0.0/8", "--retry-schedule", schedule}
	old := testenv.StartServer(t, testenv.ServerOptions{Args: options})
	hook := addWebhook(t, old, receiver, "")
	quiet := call[webhook](t, old, http.StatusCreated, http.MethodPost, "/v1/webhooks", `{"url":"https://127.0.0.1:1/","events":["patch.failed"]}`)

	var refused []string
	for range 5 {
		refused = append(refused, call[struct{ ID string }](t, old, http.StatusAccepted, http.MethodPost, "/v1/events", threat).ID)
	}
	var delivered []string
	for range 100 {
		delivered = append(delivered, call[struct{ ID string }](t, old, http.StatusAccepted, http.MethodPost, "/v1/events", alert).ID)
	}
	waitDelivered(t, old, len(delivered))

	publishers := publishSteadily(t, old)
	publishers.waitMore(t, 20)
	before := publishers.sofar()
	file := filepath.Join(t.TempDir(), "cybervault.backup")
	_, said := mustRun(t, old, "backup", file)
	if !strings.Contains(said, "Wrote and checked") || !strings.Contains(said, "fingerprint") {
		t.Errorf("backup said %s", said)
	}
	publishers.waitMore(t, 50)
	publishers.end()
	reader := follow(t, old, "", "")
	call[struct{}](t, old, http.StatusAccepted, http.MethodPost, "/v1/events", alert)
	reader.items(1)
	var highest int64
	for _, got := range receiver.Wait(patience, "what was published after the backup", func(all []testenv.Received) bool { return len(all) > len(delivered)+len(before)+50 }) {
		highest = max(highest, sequenceOf(t, got))
	}
	old.Kill()

	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the backup is %v, %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(old.Dir, "data", ".backup-*")); len(left) > 0 {
		t.Errorf("the server left %v behind", left)
	}

	data := filepath.Join(t.TempDir(), "restored")
	_, said = mustRun(t, nil, "restore", file, "--data", data)
	if !strings.Contains(said, "put the key file with fingerprint") {
		t.Errorf("restore said %s", said)
	}
	// Not with a key of its own making.
	if _, errs, err := command(t, nil, "serve", "--listen", "127.0.0.1:0", "--data", data); err == nil || !strings.Contains(errs, "put its key file back") {
		t.Fatalf("started without the key: %v %s", err, errs)
	}
	key, err := os.ReadFile(filepath.Join(old.Dir, "data", "secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "secret.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}

	refusing.Store(false)
	already := len(receiver.Received())
	restored := testenv.StartServer(t, testenv.ServerOptions{Args: append([]string{"--data", data}, options...)})
	fresh := call[struct{ ID string }](t, restored, http.StatusAccepted, http.MethodPost, "/v1/events", alert).ID
	waitFor(t, func() (bool, any) {
		left := call[list[delivery]](t, restored, http.StatusOK, http.MethodGet, "/v1/deliveries?status=pending", "")
		return len(left.Data) == 0, left.Data
	}, "these are still pending")
	for _, id := range slices.Concat(delivered, refused, before) {
		call[struct{}](t, restored, http.StatusOK, http.MethodGet, "/v1/events/"+id, "")
	}
	official, err := standardwebhooks.NewWebhook(hook.Secret)
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]int64{}
	for _, got := range receiver.Received()[already:] {
		if err := official.Verify(got.Body, got.Header); err != nil {
			t.Errorf("the signature of %s: %v", got.Header.Get("webhook-id"), err)
		}
		sent[got.Header.Get("webhook-id")] = sequenceOf(t, got)
	}
	for _, id := range delivered {
		if _, again := sent[id]; again {
			t.Errorf("%s was delivered before the backup and is sent again", id)
		}
	}
	for _, id := range refused {
		if _, ok := sent[id]; !ok {
			t.Errorf("%s was pending in the backup and is not sent", id)
		}
	}
	if sent[fresh] <= highest {
		t.Errorf("the first event after the restore has sequence number %d; the receiver has seen %d", sent[fresh], highest)
	}
	wantNumbersAcrossTheGap(t, restored, hook.ID, sent[fresh])

	// A reader that knows more than the restored server is told so.
	status, answer := testStream(t, restored, reader.last)
	if status != http.StatusGone {
		t.Errorf("the stream at a position after the backup: %d %s", status, answer)
	}
	if got := call[webhook](t, restored, http.StatusOK, http.MethodGet, "/v1/webhooks/"+quiet.ID, ""); got.ID != quiet.ID {
		t.Errorf("the other webhook is %+v", got)
	}
}

func sequenceOf(t *testing.T, got testenv.Received) int64 {
	t.Helper()
	n, err := strconv.ParseInt(got.Header.Get("X-CyberVault-Sequence"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// wantNumbersAcrossTheGap reads all sequence numbers of a webhook: those of before
// the gap are found, each once, and the first behind it.
func wantNumbersAcrossTheGap(t *testing.T, server *testenv.Server, hook string, first int64) {
	t.Helper()
	var last int64
	gaps := 0
	for from := int64(1); from > 0; {
		page := call[sequences](t, server, http.StatusOK, http.MethodGet, fmt.Sprintf("/v1/webhooks/%s/sequence?from=%d", hook, from), "")
		for _, d := range page.Data {
			if d.Sequence != last+1 {
				gaps++
				if d.Sequence != first {
					t.Errorf("number %d follows %d; the gap ends with %d", d.Sequence, last, first)
				}
			}
			last = d.Sequence
		}
		if page.NextFrom == nil {
			break
		}
		from = *page.NextFrom
	}
	if gaps != 1 || last != first {
		t.Errorf("%d gaps and the last number %d; want one gap, before %d", gaps, last, first)
	}
}

func testStream(t *testing.T, server *testenv.Server, last string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL()+"/v1/stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+server.APIKey)
	req.Header.Set("Last-Event-ID", last)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return resp.StatusCode, ""
	}
	var text bytes.Buffer
	_, _ = text.ReadFrom(resp.Body)
	return resp.StatusCode, text.String()
}

// A backup read from the directory of a running server, key included, restored
// with --paused: nothing is sent until the webhook is enabled.
func TestPausedRestoreSendsNothing(t *testing.T) {
	t.Parallel()
	receiver := testenv.NewReceiver(t)
	receiver.AnswerWith(testenv.Status(http.StatusServiceUnavailable))
	options := []string{"--allow-destination", "127.0.0.0/8", "--retry-schedule", strings.TrimSuffix(strings.Repeat("5s,", 60), ",")}
	old := testenv.StartServer(t, testenv.ServerOptions{Args: options})
	hook := addWebhook(t, old, receiver, "")
	event := call[struct{ ID string }](t, old, http.StatusAccepted, http.MethodPost, "/v1/events", threat).ID
	receiver.WaitFor(patience, 1)

	file := filepath.Join(t.TempDir(), "cybervault.backup")
	mustRun(t, nil, "backup", "--data", filepath.Join(old.Dir, "data"), "--include-key", file)
	if _, errs, err := command(t, nil, "backup", "--data", filepath.Join(old.Dir, "data"), file); err == nil || !strings.Contains(errs, "--force") {
		t.Errorf("a backup replaced another one without --force: %v %s", err, errs)
	}
	if _, errs, err := command(t, nil, "restore", file, "--data", filepath.Join(old.Dir, "data"), "--force"); err == nil || !strings.Contains(errs, "another CyberVault server") {
		t.Errorf("restored under a running server: %v %s", err, errs)
	}
	old.Kill()
	if _, errs, err := command(t, nil, "restore", file, "--data", filepath.Join(old.Dir, "data")); err == nil || !strings.Contains(errs, "--force") {
		t.Errorf("restored over a database without --force: %v %s", err, errs)
	}
	data := filepath.Join(t.TempDir(), "forensics")
	mustRun(t, nil, "restore", file, "--data", data, "--paused")

	receiver.AnswerWith(testenv.Status(http.StatusOK))
	already := len(receiver.Received())
	restored := testenv.StartServer(t, testenv.ServerOptions{Args: append([]string{"--data", data}, options...)})
	shown := call[struct {
		Status string `json:"status"`
		Reason string `json:"disabled_reason"`
	}](t, restored, http.StatusOK, http.MethodGet, "/v1/webhooks/"+hook.ID, "")
	if shown.Status != "disabled" || !strings.Contains(shown.Reason, "restored") {
		t.Errorf("the webhook is %+v", shown)
	}
	if all := deliveriesOf(t, restored, event); len(all) != 1 || all[0].Status != "pending" {
		t.Errorf("the deliveries are %+v", all)
	}
	call[struct{}](t, restored, http.StatusOK, http.MethodPatch, "/v1/webhooks/"+hook.ID, `{"status":"enabled"}`)
	got := receiver.WaitFor(patience, already+1)
	if len(got) != already+1 || got[already].Header.Get("webhook-id") != event {
		t.Errorf("after it was enabled the receiver got %d requests", len(got)-already)
	}
}

// On PostgreSQL the answer says what to use instead.
func TestBackupOnPostgreSQL(t *testing.T) {
	t.Parallel()
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--database-url", testenv.Postgres(t)}})
	_, errs, err := command(t, server, "backup", "cybervault.backup")
	if err == nil || !strings.Contains(errs, "pg_dump") || !strings.Contains(errs, "key file") {
		t.Errorf("a backup on PostgreSQL: %v %s", err, errs)
	}
}

package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/cybervault/cybervault/test/testenv"
)

const patience = 30 * time.Second

// onBoth runs a test on a fresh server with SQLite, and on one with PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, server *testenv.Server), args ...string) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, testenv.StartServer(t, testenv.ServerOptions{Args: args}))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, testenv.StartServer(t, testenv.ServerOptions{Args: append([]string{"--database-url", testenv.Postgres(t)}, args...)}))
	})
}

// call makes a call that must be answered with the given status, and decodes the answer.
func call[T any](t *testing.T, server *testenv.Server, want int, method, path, body string) T {
	t.Helper()
	status, answer := server.Do(method, path, body)
	var v T
	if status != want {
		t.Fatalf("%s %s: %d, want %d: %s", method, path, status, want, answer)
	}
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &v); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, answer)
		}
	}
	return v
}

type webhook struct {
	ID         string  `json:"id"`
	Secret     string  `json:"secret"`
	VerifiedAt *string `json:"verified_at"`
}

type delivery struct {
	ID           string    `json:"id"`
	Status       string    `json:"status"`
	AttemptCount int       `json:"attempt_count"`
	LastFailure  *string   `json:"last_failure"`
	ReplayOf     *string   `json:"replay_of"`
	Attempts     []attempt `json:"attempts"`
}

type attempt struct {
	Number  int     `json:"number"`
	Status  int     `json:"status"`
	Failure *string `json:"failure"`
}

type list[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
}

func addWebhook(t *testing.T, server *testenv.Server, receiver *testenv.Receiver, more string) webhook {
	t.Helper()
	settings, err := json.Marshal(map[string]any{"url": receiver.URL + "/hook", "events": []string{"*"}, "ca_certificate": receiver.CAPEM})
	if err != nil {
		t.Fatal(err)
	}
	if receiver.CAPEM == "" {
		settings = []byte(`{"url":"` + receiver.URL + `/hook","events":["*"]}`)
	}
	return call[webhook](t, server, http.StatusCreated, http.MethodPost, "/v1/webhooks", strings.TrimSuffix(string(settings), "}")+more+"}")
}

const threat = `{"event":"threat.detected","data":{"threat_id":"thr_94x2k1","severity":"critical","source_ip":"203.0.113.42",
"target_asset":"prod-db-01.cybervault.internal","vector":"sql_injection","confidence":0.98,"mitre_id":"T1190"}}`

// waitDelivery asks for the one delivery of an event until done says so.
func waitDelivery(t *testing.T, server *testenv.Server, id string, done func(delivery) bool) delivery {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		d := call[delivery](t, server, http.StatusOK, http.MethodGet, "/v1/deliveries/"+id, "")
		if done(d) {
			return d
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s the delivery is %+v", patience, d)
		}
	}
}

func deliveriesOf(t *testing.T, server *testenv.Server, event string) []delivery {
	t.Helper()
	return call[list[delivery]](t, server, http.StatusOK, http.MethodGet, "/v1/events/"+event+"/deliveries", "").Data
}

// The mission's own Node.js function, unchanged, and the official Standard
// Webhooks library accept what a receiver got, and refuse it when changed.
func TestReceiversVerifyWhatTheyGet(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		hook := addWebhook(t, server, receiver, "")
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		got := receiver.WaitFor(patience, 1)[0]

		signature := got.Header.Get("X-CyberVault-Signature")
		if !nodeVerifies(t, got.Body, signature, hook.Secret) {
			t.Error("the Node.js function refuses the body as it was received")
		}
		changed := []byte(strings.Replace(string(got.Body), "0.98", "0.97", 1))
		if nodeVerifies(t, changed, signature, hook.Secret) {
			t.Error("the Node.js function accepts a changed body")
		}

		official, err := standardwebhooks.NewWebhook(hook.Secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := official.Verify(got.Body, got.Header); err != nil {
			t.Errorf("the Standard Webhooks library refuses the request: %v", err)
		}
		if official.Verify(changed, got.Header) == nil {
			t.Error("the Standard Webhooks library accepts a changed body")
		}
	}, "--allow-destination", "127.0.0.0/8")
}

// nodeVerifies runs verifyWebhook of the documentation in Node.js.
func nodeVerifies(t *testing.T, body []byte, signature, secret string) bool {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("Node.js is missing: apt-get install nodejs")
	}
	module, err := filepath.Abs(filepath.Join("..", "..", "examples", "receivers", "node", "verify.js"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "-e", `
const { verifyWebhook } = require(process.argv[1]);
const chunks = [];
process.stdin.on('data', c => chunks.push(c)).on('end', () => {
  console.log(verifyWebhook(Buffer.concat(chunks), process.argv[2], process.argv[3]));
});`, module, signature, secret)
	cmd.Stdin = strings.NewReader(string(body))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v: %s", err, out)
	}
	switch answer := strings.TrimSpace(string(out)); answer {
	case "true":
		return true
	case "false":
		return false
	default:
		t.Fatalf("node printed %q", answer)
		return false
	}
}

// What a receiver is sent: the envelope in the order of the sample, and the
// headers that the documentation promises.
func TestWireFormat(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		addWebhook(t, server, receiver, `,"headers":{"X-Team":"blue"}`)
		receipt := call[struct {
			ID             string `json:"id"`
			IdempotencyKey string `json:"idempotency_key"`
			Deliveries     int    `json:"deliveries"`
		}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		if receipt.Deliveries != 1 || !strings.HasPrefix(receipt.IdempotencyKey, "idm_") {
			t.Errorf("receipt: %+v", receipt)
		}
		got := receiver.WaitFor(patience, 1)[0]
		d := deliveriesOf(t, server, receipt.ID)[0]
		for name, want := range map[string]string{
			"Content-Type": "application/json", "X-CyberVault-Event": "threat.detected", "X-CyberVault-Delivery": d.ID, "X-CyberVault-Attempt": "1",
			"X-CyberVault-Sequence": "1", "webhook-id": receipt.ID, "X-Team": "blue",
		} {
			if value := got.Header.Get(name); value != want {
				t.Errorf("%s: %q, want %q", name, value, want)
			}
		}
		if agent := got.Header.Get("User-Agent"); !strings.HasPrefix(agent, "CyberVault-Webhooks/") {
			t.Errorf("User-Agent: %q", agent)
		}
		body := string(got.Body)
		at := -1
		for _, key := range []string{`{"id":"wh_`, `","event":"threat.detected","timestamp":"`, `Z","data":{"threat_id":"thr_94x2k1","severity":"critical"`,
			`"confidence":0.98,"mitre_id":"T1190"},"metadata":{"workspace_id":"ws_`, `","engine_version":"ai_v`, `","idempotency_key":"idm_`} {
			next := strings.Index(body, key)
			if next <= at {
				t.Fatalf("%s does not stand in its place in %s", key, body)
			}
			at = next
		}
		stored := call[json.RawMessage](t, server, http.StatusOK, http.MethodGet, "/v1/events/"+receipt.ID, "")
		if strings.TrimSpace(string(stored)) != body {
			t.Errorf("the event in the log is not what was sent:\n%s\n%s", stored, body)
		}
	}, "--allow-destination", "127.0.0.0/8")
}

// A refused delivery is tried again by the schedule, under the same ids and
// with the same bytes; one that is refused for good is a dead letter, and can
// be replayed.
func TestRetryDeadLetterReplay(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewPlainReceiver(t)
		receiver.AnswerWith(testenv.Status(http.StatusServiceUnavailable))
		addWebhook(t, server, receiver, `,"retry_schedule":["50ms","100ms"]`)
		receipt := call[struct {
			ID string `json:"id"`
		}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		first := deliveriesOf(t, server, receipt.ID)[0]
		dead := waitDelivery(t, server, first.ID, func(d delivery) bool { return d.Status == "dead_letter" })
		if dead.AttemptCount != 3 || len(dead.Attempts) != 3 || dead.LastFailure == nil || *dead.LastFailure != "status" || dead.Attempts[2].Number != 3 {
			t.Errorf("the dead letter: %+v", dead)
		}
		receiver.AnswerWith(testenv.Status(http.StatusCreated))
		replay := call[delivery](t, server, http.StatusAccepted, http.MethodPost, "/v1/deliveries/"+first.ID+"/replay", "")
		if replay.ReplayOf == nil || *replay.ReplayOf != first.ID {
			t.Errorf("the replay: %+v", replay)
		}
		waitDelivery(t, server, replay.ID, func(d delivery) bool { return d.Status == "delivered" })
		if all := deliveriesOf(t, server, receipt.ID); len(all) != 2 {
			t.Errorf("the event has %d deliveries, want 2: %+v", len(all), all)
		}
		got := receiver.Received()
		if len(got) != 4 {
			t.Fatalf("the receiver got %d requests, want 4", len(got))
		}
		for _, g := range got[1:] {
			if string(g.Body) != string(got[0].Body) || g.Header.Get("webhook-id") != got[0].Header.Get("webhook-id") {
				t.Error("an attempt differs from the first in its bytes or its webhook-id")
			}
		}
	}, "--dev")
}

// Verification: the test payload comes first, what is published meanwhile is
// held, and freed once the receiver has accepted the test.
func TestVerificationHoldsAndFrees(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		receiver.AnswerWith(testenv.Status(http.StatusTeapot))
		hook := addWebhook(t, server, receiver, `,"verification":true`)
		if got := receiver.WaitFor(patience, 1)[0]; got.Header.Get("X-CyberVault-Event") != "webhook.test" || got.Header.Get("X-CyberVault-Test") != "true" {
			t.Errorf("the test payload came with %v", got.Header)
		}
		receipt := call[struct {
			ID string `json:"id"`
		}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		held := deliveriesOf(t, server, receipt.ID)[0]
		if held.Status != "held" {
			t.Errorf("before verification the delivery is %s, want held", held.Status)
		}
		if a := call[attempt](t, server, http.StatusOK, http.MethodPost, "/v1/webhooks/"+hook.ID+"/verify", ""); a.Failure == nil || a.Status != http.StatusTeapot {
			t.Errorf("a refused verification answers %+v", a)
		}
		receiver.AnswerWith(testenv.Status(http.StatusOK))
		if a := call[attempt](t, server, http.StatusOK, http.MethodPost, "/v1/webhooks/"+hook.ID+"/verify", ""); a.Failure != nil {
			t.Errorf("an accepted verification answers %+v", a)
		}
		waitDelivery(t, server, held.ID, func(d delivery) bool { return d.Status == "delivered" })
		if w := call[webhook](t, server, http.StatusOK, http.MethodGet, "/v1/webhooks/"+hook.ID, ""); w.VerifiedAt == nil {
			t.Error("the webhook does not say that it is verified")
		}
	}, "--allow-destination", "127.0.0.0/8")
}

// A server that is told to stop lets the attempt under way end and records it.
func TestGracefulStop(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewPlainReceiver(t)
		release := make(chan struct{})
		receiver.AnswerWith(func(w http.ResponseWriter, r *http.Request, _ testenv.Received) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			w.WriteHeader(http.StatusOK)
		})
		addWebhook(t, server, receiver, "")
		receipt := call[struct {
			ID string `json:"id"`
		}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
		receiver.WaitFor(patience, 1)
		stopped := make(chan struct{})
		go func() { server.Stop(); close(stopped) }()
		close(release)
		<-stopped
		server.Restart()
		d := deliveriesOf(t, server, receipt.ID)[0]
		if d.Status != "delivered" || d.AttemptCount != 1 {
			t.Errorf("after the stop the delivery is %+v", d)
		}
		if n := len(receiver.Received()); n != 1 {
			t.Errorf("the receiver got %d requests, want 1", n)
		}
	}, "--dev")
}

package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

const pageBytes = 4096

// A database of which any one page was lost is never read as if nothing were
// missing: the server refuses to start, or answers what it still has, or says
// that the file is damaged and what to do.
func TestALostPageIsNoticed(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(seed(t), 3))
	receiver := testenv.NewPlainReceiver(t)
	server := testenv.StartServer(t, testenv.ServerOptions{Failpoint: nowhere, Args: []string{"--dev"}})
	if status, answer := server.Do(http.MethodPost, "/v1/webhooks", `{"url":"`+receiver.URL+`/hook","events":["*"]}`); status != http.StatusCreated {
		t.Fatalf("add a webhook: %d %s", status, answer)
	}
	const published = 300
	p := &publisher{server: server, half: make(chan struct{})}
	<-p.start(published)
	everyDeliveryEnds(t, server)
	server.Stop()
	path := filepath.Join(server.Dir, "data", "cybervault.db")
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused, told, whole := 0, 0, 0
	for range 8 * testenv.Torture() {
		page := 1 + random.IntN(len(sound)/pageBytes-1) // the first is 0
		lost := append([]byte(nil), sound...)
		clear(lost[page*pageBytes : (page+1)*pageBytes])
		put(t, path, lost)
		what := fmt.Sprintf("without page %d", page+1)
		says := &output{listening: make(chan string, 1)}
		url, stop := launch(t, server, says)
		switch {
		case url != "" && readBack(t, url, server.APIKey, p.acknowledged(), what):
			whole++
		case url != "":
			told++
		case strings.Contains(says.String(), "is damaged") && strings.Contains(says.String(), "from a backup"):
			refused++
		default:
			t.Errorf("%s the server does not start, and says:\n%s", what, says)
		}
		stop()
	}
	t.Logf("of %d pages one was lost: %d times the server did not start, %d times it said so when it came to it, %d times nobody needed it", len(sound)/pageBytes, refused, told, whole)
	put(t, path, sound)
	server.Restart()
	if !readBack(t, server.URL(), server.APIKey, p.acknowledged(), "with the file put back") {
		t.Error("a file that was put back is still called damaged")
	}
}

// put puts a database where a server that was killed has left another, with its
// log.
func put(t *testing.T, path string, data []byte) {
	t.Helper()
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.RemoveAll(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// launch starts the program of a server that was stopped on its data, and returns
// where it listens, or "" once it has ended instead. stop kills it.
func launch(t *testing.T, server *testenv.Server, says *output) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	cmd := exec.CommandContext(ctx, server.Program(), "serve", "--dev", "--listen", "127.0.0.1:0", "--data", filepath.Join(server.Dir, "data"))
	cmd.Stdout, cmd.Stderr = says, says
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = func() { cancel(); <-ended }
	select {
	case address := <-says.listening:
		return "http://" + address, stop
	case <-ended:
		return "", stop
	}
}

// output keeps what a program says, and tells where it listens.
type output struct {
	listening chan string

	mu   sync.Mutex
	text strings.Builder
	told bool
}

var listening = regexp.MustCompile(`msg=listening address=(\S+) .*\n`)

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	if m := listening.FindStringSubmatch(o.text.String()); m != nil && !o.told {
		o.told = true
		o.listening <- m[1]
	}
	return len(p), nil
}

// String is what the program has said.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// readBack asks for every event, publishes one more, and reports whether all was
// answered; what is not must be said to be damaged.
func readBack(t *testing.T, url, key string, acknowledged map[string]string, what string) (whole bool) {
	t.Helper()
	whole = true
	ask := func(method, path, body string) (answer []byte, ok bool) {
		status, answer := call(t, method, url+path, key, body)
		switch {
		case status == http.StatusOK, status == http.StatusAccepted:
			return answer, true
		case status == http.StatusServiceUnavailable && strings.Contains(string(answer), "is damaged"):
			whole = false
		default:
			t.Errorf("%s: %s %s is answered with %d %s", what, method, path, status, answer)
		}
		return nil, false
	}
	for key, id := range acknowledged {
		answer, ok := ask(http.MethodGet, "/v1/events/"+id, "")
		if !ok {
			break // the others would be answered alike, and take as long
		}
		var event struct {
			Data struct {
				Summary string `json:"summary"`
			} `json:"data"`
		}
		if err := json.Unmarshal(answer, &event); err != nil || event.Data.Summary != key {
			t.Errorf("%s: %s is answered with %s", what, id, answer)
		}
	}
	for _, path := range []string{"/v1/deliveries?limit=200", "/v1/events?limit=200"} {
		answer, ok := ask(http.MethodGet, path, "")
		var page struct {
			Data []json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(answer, &page); ok && (err != nil || len(page.Data) != 200) {
			t.Errorf("%s: %s lists %d of 200", what, path, len(page.Data))
		}
	}
	ask(http.MethodPost, "/v1/events", `{"event":"system.alert","data":{"alert_id":"more","code":"test","severity":"low","status":"firing","summary":"more"}}`)
	return whole
}

func call(t *testing.T, method, url, key, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// problem is an answer of application/problem+json.
type problem struct {
	status int
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Field  string `json:"field"`
}

// ask makes a call with a key and returns the problem it must be answered with.
func ask(t *testing.T, server *testenv.Server, key, method, path, body string) problem {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, server.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if media := resp.Header.Get("Content-Type"); media != "application/problem+json" {
		t.Fatalf("%s %s: %d with Content-Type %q: %s", method, path, resp.StatusCode, media, answer)
	}
	p := problem{status: resp.StatusCode}
	if err := json.Unmarshal(answer, &p); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, answer)
	}
	return p
}

// Whatever is wrong with a call is answered with a problem that names the field
// and the remedy, and leaves nothing behind.
func TestBadInput(t *testing.T) {
	t.Parallel()
	server := testenv.StartServer(t, testenv.ServerOptions{})
	reader := call[struct {
		Key string `json:"key"`
	}](t, server, http.StatusCreated, http.MethodPost, "/v1/keys", `{"name":"reader","scopes":["read"]}`).Key
	for range 3 {
		call[struct{}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", threat)
	}
	cursor := call[list[json.RawMessage]](t, server, http.StatusOK, http.MethodGet, "/v1/events?limit=1", "").NextCursor
	if cursor == nil {
		t.Fatal("the first page of three events has no cursor")
	}
	hook := func(url string) string { return `{"url":"` + url + `","events":["*"]}` }

	for _, c := range []struct {
		name, key, method, path, body string
		status                        int
		field, says                   string
	}{
		{"no JSON", server.APIKey, "POST", "/v1/events", `{"event":`, 400, "", "JSON"},
		{"an unknown event type", server.APIKey, "POST", "/v1/events", `{"event":"threat.detcted","data":{}}`, 422, "event", "threat.detected"},
		{"a broken schema", server.APIKey, "POST", "/v1/events", strings.Replace(threat, "0.98", "1.7", 1), 422, "data.confidence", "1"},
		{"257 KiB", server.APIKey, "POST", "/v1/events", strings.Replace(threat, "thr_94x2k1", strings.Repeat("x", 257<<10), 1), 413, "", "256 KiB"},
		{"http://", server.APIKey, "POST", "/v1/webhooks", hook("http://siem.example.com/"), 422, "url", "https://"},
		{"a metadata address", server.APIKey, "POST", "/v1/webhooks", hook("https://169.254.169.254/latest"), 422, "url", "169.254.169.254"},
		{"IPv4 in IPv6", server.APIKey, "POST", "/v1/webhooks", hook("https://[::ffff:10.0.0.1]/"), 422, "url", "10.0.0.1"},
		{"a name for loopback", server.APIKey, "POST", "/v1/webhooks", hook("https://localhost/"), 422, "url", "--allow-destination"},
		{"no events chosen", server.APIKey, "POST", "/v1/webhooks", `{"url":"https://siem.example.com/","events":[]}`, 422, "events", "at least one"},
		{"a header of ours", server.APIKey, "POST", "/v1/webhooks", `{"url":"https://siem.example.com/","events":["*"],"headers":{"webhook-id":"x"}}`, 422, "headers", "set by CyberVault"},
		{"no key", "", "GET", "/v1/events", "", 401, "", "key"},
		{"an unknown key", "cvk_unknown", "GET", "/v1/events", "", 401, "", "key"},
		{"a wrong scope", reader, "POST", "/v1/events", threat, 403, "", "events:write"},
		{"a wrong scope for webhooks", reader, "POST", "/v1/webhooks", hook("https://siem.example.com/"), 403, "", "admin"},
		{"a cursor of another list", server.APIKey, "GET", "/v1/deliveries?cursor=" + *cursor, "", 422, "cursor", ""},
		{"a cursor with other filters", server.APIKey, "GET", "/v1/events?event=threat.*&cursor=" + *cursor, "", 422, "cursor", ""},
		{"a limit of 201", server.APIKey, "GET", "/v1/events?limit=201", "", 422, "limit", "200"},
		{"no such event", server.APIKey, "GET", "/v1/events/wh_01947a2e-0000-7000-8000-000000000000", "", 404, "", "no event"},
	} {
		p := ask(t, server, c.key, c.method, c.path, c.body)
		if p.status != c.status || p.Status != c.status || p.Title == "" || p.Type == "" || p.Code == "" ||
			!strings.HasPrefix(p.Field, c.field) || !strings.Contains(p.Detail, c.says) && !strings.Contains(p.Field+": "+p.Detail, c.says) {
			t.Errorf("%s: want %d about %q that says %q, got %d %+v", c.name, c.status, c.field, c.says, p.status, p)
		}
	}
	if events := call[list[json.RawMessage]](t, server, http.StatusOK, http.MethodGet, "/v1/events", "").Data; len(events) != 3 {
		t.Errorf("%d events are stored, 3 were published well", len(events))
	}
	if hooks := call[list[json.RawMessage]](t, server, http.StatusOK, http.MethodGet, "/v1/webhooks", "").Data; len(hooks) != 0 {
		t.Errorf("%d webhooks are stored, none was well", len(hooks))
	}
}

// An idempotency key is answered with the first receipt for the same content,
// and with 409 for other content; in a batch each event has its own answer.
func TestIdempotencyAndBatch(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		keyed := strings.Replace(threat, `{"event"`, `{"idempotency_key":"order-1","event"`, 1)
		first := call[struct {
			ID string `json:"id"`
		}](t, server, http.StatusAccepted, http.MethodPost, "/v1/events", keyed)
		again := call[struct {
			ID string `json:"id"`
		}](t, server, http.StatusOK, http.MethodPost, "/v1/events", keyed)
		if first.ID != again.ID {
			t.Errorf("the same key gave %s and %s", first.ID, again.ID)
		}
		if p := ask(t, server, server.APIKey, http.MethodPost, "/v1/events", strings.Replace(keyed, "0.98", "0.97", 1)); p.status != http.StatusConflict || p.Field != "idempotency_key" {
			t.Errorf("the same key with other content: %d %+v", p.status, p)
		}
		batch := call[struct {
			Data []struct {
				Status int `json:"status"`
			} `json:"data"`
			Accepted, Failed int
		}](t, server, http.StatusOK, http.MethodPost, "/v1/events/batch", "["+threat+`,{"event":"nonsense","data":{}},`+keyed+"]")
		if len(batch.Data) != 3 || batch.Data[0].Status != 202 || batch.Data[1].Status != 422 || batch.Data[2].Status != 200 {
			t.Errorf("the batch: %+v", batch)
		}
	})
}

// Telemetry that shows an attack becomes an event that is delivered; the answer
// names it, and lines that cannot be read spoil nothing.
func TestTelemetryBecomesADelivery(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		receiver := testenv.NewReceiver(t)
		addWebhook(t, server, receiver, "")
		var log strings.Builder
		for _, attack := range []string{"1%27%20OR%20%271%27=%271", "1%20UNION%20SELECT%20password%20FROM%20users--", "1;DROP%20TABLE%20users--"} {
			log.WriteString(`203.0.113.9 - - [10/Mar/2026:13:55:36 +0000] "GET /item?id=` + attack + ` HTTP/1.1" 200 512 "-" "Mozilla/5.0"` + "\n")
		}
		log.WriteString("this line is no log line at all\n")
		receipt := call[struct {
			Records    int      `json:"records"`
			Unreadable int      `json:"unreadable"`
			Events     []string `json:"events"`
		}](t, server, http.StatusOK, http.MethodPost, "/v1/telemetry?source=shop", log.String())
		if receipt.Records != 3 || receipt.Unreadable != 1 || len(receipt.Events) != 1 {
			t.Fatalf("the receipt: %+v", receipt)
		}
		// The incident that it belongs to is delivered as well, before it or after.
		got := receiver.WaitFor(patience, 2)[0]
		if !strings.Contains(string(got.Body), receipt.Events[0]) {
			got = receiver.WaitFor(patience, 2)[1]
		}
		var envelope struct {
			ID   string `json:"id"`
			Data struct {
				Vector     string            `json:"vector"`
				MitreID    string            `json:"mitre_id"`
				SourceIP   string            `json:"source_ip"`
				Confidence float64           `json:"confidence"`
				Count      int               `json:"count"`
				Detections []json.RawMessage `json:"detections"`
			} `json:"data"`
		}
		if err := json.Unmarshal(got.Body, &envelope); err != nil {
			t.Fatal(err)
		}
		d := envelope.Data
		if envelope.ID != receipt.Events[0] || d.Vector != "sql_injection" || d.MitreID != "T1190" || d.SourceIP != "203.0.113.9" || d.Count != 3 ||
			d.Confidence <= 0.5 || d.Confidence >= 1 || len(d.Detections) == 0 {
			t.Errorf("the event: %s", got.Body)
		}
	}, "--allow-destination", "127.0.0.0/8")
}

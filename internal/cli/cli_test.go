package cli_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault/internal/cli"
)

var update = flag.Bool("update", false, "write the golden files anew")

// result is what a command did.
type result struct {
	status         int
	stdout, stderr string
}

// run runs a command to its end in this process.
func run(t *testing.T, env map[string]string, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := cli.Run(t.Context(), world(env, strings.NewReader(stdin), &stdout, &stderr, args...))
	return result{status, stdout.String(), stderr.String()}
}

func world(env map[string]string, stdin io.Reader, stdout, stderr io.Writer, args ...string) cli.Env {
	return cli.Env{
		Args: args, Stdin: stdin, Stdout: stdout, Stderr: stderr, Version: "1.2.3",
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Now:       func() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) },
	}
}

// fakeServer answers each call with the next of the answers that stand under
// "METHOD path", and notes what it was asked.
type fakeServer struct {
	URL string

	mu      sync.Mutex
	answers map[string][]answer
	asked   []string
}

type answer struct {
	status int
	body   string
}

const anException = `{"id":"exc_1","rule":"reconnaissance","where":{"source_ip|cidr":["198.51.100.0/24"],"user":["ann","bob"]},"reason":"scanner","created_at":"2026-01-30T08:00:00Z","until":"2027-06-30T00:00:00Z","ended":false}`

func newFakeServer(t *testing.T, answers map[string][]answer) *fakeServer {
	t.Helper()
	f := &fakeServer{answers: answers}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.URL = s.URL
	return f
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	if r.Header.Get("Authorization") != "Bearer key-of-the-test" {
		http.Error(w, "no key", http.StatusUnauthorized)
		return
	}
	name := r.Method + " " + r.URL.EscapedPath()
	queue := f.answers[name]
	if len(queue) == 0 {
		http.Error(w, "the test has no answer for "+name, http.StatusTeapot)
		return
	}
	a := queue[0]
	if len(queue) > 1 {
		f.answers[name] = queue[1:]
	}
	if a.status >= http.StatusBadRequest {
		w.Header().Set("Content-Type", "application/problem+json")
	}
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func (f *fakeServer) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

// golden compares what a command asked and printed with testdata/NAME.golden.
func golden(t *testing.T, name string, args []string, f *fakeServer, got result) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "$ cybervault %s\n", strings.Join(args, " "))
	for _, r := range f.requests() {
		fmt.Fprintf(&b, "> %s\n", r)
	}
	fmt.Fprintf(&b, "-- stdout\n%s-- stderr\n%s-- status %d\n", got.stdout, got.stderr, got.status)
	text := strings.ReplaceAll(b.String(), strings.TrimPrefix(f.URL, "http://"), "SERVER")
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run the test with -update and read what it writes", err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

const (
	anEvent     = `{"id":"wh_01890a5d-ac96-774b-bcce-b302099a8057","event":"threat.detected","timestamp":"2026-01-31T11:59:00Z","data":{"severity":"critical","vector":"sql_injection","source_ip":"203.0.113.42"},"metadata":{"workspace_id":"ws_01890a5d-ac96-774b-bcce-b302099a8057","engine_version":"ai_v1","idempotency_key":"idm_x"}}`
	aDelivery   = `{"id":"dlv_1","event_id":"wh_1","event":"threat.detected","webhook_id":"whk_1","status":"pending","reason":null,"sequence":7,"attempt_count":2,"created_at":"2026-01-31T11:59:00Z","next_attempt_at":"2026-01-31T12:01:00Z","finished_at":null,"replay_of":null,"test":false,"last_status":500,"last_failure":"status"}`
	aSkipped    = `{"id":"dlv_2","event_id":"wh_1","event":"auth.suspicious","webhook_id":"whk_2","status":"skipped","reason":"webhook_disabled","sequence":null,"attempt_count":0,"created_at":"2026-01-31T11:58:00Z","next_attempt_at":null,"finished_at":"2026-01-31T11:58:00Z","replay_of":null,"test":false,"last_status":null,"last_failure":null}`
	anAttempt   = `{"id":"att_1","delivery_id":"dlv_1","number":1,"started_at":"2026-01-31T11:59:00Z","succeeded":false,"failure":"tls","error":"the certificate is for another name\u001b[31m","status":null,"remote_addr":"203.0.113.9:443","elapsed_ms":12.34,"response_body":""}`
	anAnswered  = `{"id":"att_2","delivery_id":"dlv_1","number":2,"started_at":"2026-01-31T11:59:05Z","succeeded":true,"failure":null,"error":null,"status":200,"remote_addr":"203.0.113.9:443","elapsed_ms":3,"response_body":"ok"}`
	aWebhook    = `{"id":"whk_1","url":"https://siem.example.com/in","events":["threat.*","auth.suspicious"],"description":"SOC","status":"enabled","disabled_reason":null,"accept":"default","headers":{"X-Tenant":"***","Authorization":"***"},"retry_schedule":["5s","30s"],"verification":true,"verified_at":null,"ca_certificate":null,"created_at":"2026-01-31T11:00:00Z","updated_at":"2026-01-31T11:00:00Z"}`
	anIncident  = `{"id":"inc_1","title":"SQL injection from 203.0.113.42 against shop\u001b[31m","severity":"high","status":"open","resolution":null,"disposition":null,"assignee":null,"entities":{"source_ips":["203.0.113.42"],"users":[],"assets":["shop"]},"vectors":["sql_injection"],"tactics":["initial-access"],"techniques":["T1190"],"threat_ids":["thr_1"],"counts":{"members":1,"records":37},"first_seen":"2026-01-31T11:58:00Z","last_seen":"2026-01-31T11:59:00Z","opened_at":"2026-01-31T11:59:00Z","updated_at":"2026-01-31T11:59:30Z","resolved_at":null,"merged_into":null,"merged":[],"revision":3}`
	someMembers = `,"members":[{"id":"thr_1","event":"threat.detected","event_id":"wh_1","severity":"high","vector":"sql_injection","confidence":0.975,"count":37,"source_ip":"203.0.113.42","user":null,"target_asset":"shop","last_seen":"2026-01-31T11:59:00Z"}],"notes":[{"at":"2026-01-31T12:00:00Z","by":"ada","text":"looks\nreal"}],"history":[{"at":"2026-01-31T12:00:00Z","by":"ada","text":"status: open → acknowledged"}]}`
	aKey        = `{"id":"key_1","name":"log shipper","hint":"cvk_abcd","scopes":["telemetry:write"],"created_at":"2026-01-31T11:00:00Z","revoked_at":null}`
	aReceipt    = `{"id":"wh_01890a5d-ac96-774b-bcce-b302099a8057","event":"system.alert","timestamp":"2026-01-31T12:00:00Z","idempotency_key":"idm_1","deliveries":3}`
	aType       = `{"name":"system.alert","severity":"medium","description":"CyberVault itself needs a person","schema":{"type":"object"},"example":{"code":"x < y"}}`
)

func withSecret(object string) string {
	return strings.TrimSuffix(object, "}") + `,"secret":"whsec_c2VjcmV0"}`
}

func page(next string, rows ...string) string {
	cursor := "null"
	if next != "" {
		cursor = `"` + next + `"`
	}
	return `{"data":[` + strings.Join(rows, ",") + `],"next_cursor":` + cursor + `}`
}

func TestCommandsThatSpeakToAServer(t *testing.T) {
	t.Parallel()
	pem := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(pem, []byte("PEM\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		args    string
		extra   []string // an argument with spaces
		stdin   string
		answers map[string][]answer
	}{
		"events":                 {args: "events --event threat.* --since 90m -n 3", answers: map[string][]answer{"GET /v1/events": {{200, page("", anEvent)}}}},
		"events_none":            {args: "events list --q x", answers: map[string][]answer{"GET /v1/events": {{200, page("")}}}},
		"events_json":            {args: "events list --json", answers: map[string][]answer{"GET /v1/events": {{200, page("", anEvent, anEvent)}}}},
		"events_pages":           {args: "events list --limit 250 --json", answers: map[string][]answer{"GET /v1/events": {{200, page("c1", anEvent)}, {200, page("c2")}, {200, page("", anEvent)}}}}, // the second of a search that found nothing there
		"events_get":             {args: "events get wh_1", answers: map[string][]answer{"GET /v1/events/wh_1": {{200, anEvent}}, "GET /v1/events/wh_1/deliveries": {{200, page("", aDelivery)}}}},
		"events_types":           {args: "events types", answers: map[string][]answer{"GET /v1/event-types": {{200, page("", aType)}}}},
		"events_type":            {args: "events types system.alert", answers: map[string][]answer{"GET /v1/event-types/system.alert": {{200, aType}}}},
		"events_publish":         {args: "events publish system.alert - --idempotency-key k1 --timestamp 2026-01-31T13:00:00+01:00", stdin: `{"a": 1.50}`, answers: map[string][]answer{"POST /v1/events": {{202, aReceipt}}}},
		"events_publish_no_json": {args: "events publish system.alert -", stdin: `{"a":`},
		"trigger":                {args: "trigger system.alert", answers: map[string][]answer{"GET /v1/event-types/system.alert": {{200, aType}}, "POST /v1/events": {{202, aReceipt}}}},
		"trigger_unknown":        {args: "trigger nope.nope", answers: map[string][]answer{"GET /v1/event-types/nope.nope": {{404, `{"status":404,"title":"Not Found","detail":"there is no event type nope.nope: GET /v1/event-types lists them","code":"not_found"}`}}}},

		"deliveries":        {args: "deliveries --status pending --webhook whk_1", answers: map[string][]answer{"GET /v1/deliveries": {{200, page("", aDelivery, aSkipped)}}}},
		"deliveries_get":    {args: "deliveries get dlv_1", answers: map[string][]answer{"GET /v1/deliveries/dlv_1": {{200, strings.TrimSuffix(aDelivery, "}") + `,"attempts":[` + anAttempt + `,` + anAnswered + `]}`}}}},
		"deliveries_replay": {args: "deliveries replay dlv_1 --json", answers: map[string][]answer{"POST /v1/deliveries/dlv_1/replay": {{202, aDelivery}}}},
		"deliveries_cancel": {args: "deliveries cancel dlv_1", answers: map[string][]answer{"POST /v1/deliveries/dlv_1/cancel": {{409, `{"status":409,"title":"Conflict","detail":"the delivery has ended: only one that is pending or held can be cancelled","code":"conflict"}`}}}},

		"webhooks":        {args: "webhooks", answers: map[string][]answer{"GET /v1/webhooks": {{200, page("", aWebhook)}}}},
		"webhooks_get":    {args: "webhooks get whk_1", answers: map[string][]answer{"GET /v1/webhooks/whk_1": {{200, aWebhook}}}},
		"webhooks_create": {args: "webhooks create https://siem.example.com/in --events threat.*,auth.suspicious --retry-schedule 5s,30s --verification --ca-certificate " + pem, extra: []string{"--header", "X-Tenant: a: b"}, answers: map[string][]answer{"POST /v1/webhooks": {{201, withSecret(aWebhook)}}}},
		"webhooks_tuned": {args: "webhooks update whk_1 --rate-limit 2.5 --concurrency 4 --ordered=false --client-certificate " + pem, extra: []string{"--filter", "data.confidence > 0.9"},
			answers: map[string][]answer{"PATCH /v1/webhooks/whk_1": {{200, strings.TrimSuffix(aWebhook, "}") + `,"filter":"data.confidence > 0.9","rate_limit":2.5,"concurrency":4,"ordered":false,"client_certificate":"***"}`}}}},
		"webhooks_untuned": {args: "webhooks update whk_1 --rate-limit 0 --concurrency 0 --ordered --client-certificate= --filter=", answers: map[string][]answer{"PATCH /v1/webhooks/whk_1": {{200, strings.TrimSuffix(aWebhook, "}") + `,"ordered":true}`}}}},
		"webhooks_oauth2": {args: "webhooks update whk_1 --authentication oauth2 --token-url https://id.example/token --client-id id --scopes a,b --credential-file - --signature ed25519 --proxy http://proxy.example:3128", stdin: "hunter2\n",
			answers: map[string][]answer{"PATCH /v1/webhooks/whk_1": {{200, strings.TrimSuffix(aWebhook, "}") + `,"authentication":{"type":"oauth2","token_url":"https://id.example/token","client_id":"id","client_secret":"***"},"signature":"ed25519","public_key":"whpk_x","proxy":"http://proxy.example:3128"}`}}}},
		"webhooks_basic": {args: "webhooks update whk_1 --authentication basic --username soc --proxy=",
			answers: map[string][]answer{"PATCH /v1/webhooks/whk_1": {{200, strings.TrimSuffix(aWebhook, "}") + `,"authentication":{"type":"basic","username":"soc","password":"***"}}`}}}},
		"webhooks_unauthenticated": {args: "webhooks update whk_1 --authentication none", answers: map[string][]answer{"PATCH /v1/webhooks/whk_1": {{200, aWebhook}}}},
		"webhooks_half":            {args: "webhooks update whk_1 --username soc", answers: nil},
		"webhooks_refused":         {args: "webhooks create http://10.0.0.1 --events nope", answers: map[string][]answer{"POST /v1/webhooks": {{422, `{"status":422,"title":"Unprocessable Entity","detail":"url: only https:// is accepted","code":"invalid","field":"url","errors":[{"field":"url","detail":"only https:// is accepted"},{"field":"events[0]","detail":"\"nope\" is no event type name"}]}`}}}},
		"webhooks_update":          {args: "webhooks update whk_1 --url https://other.example.com --retry-schedule server --verification=false", answers: map[string][]answer{"PATCH /v1/webhooks/whk_1": {{200, aWebhook}}}},
		"webhooks_disable":         {args: "webhooks disable whk_1", answers: map[string][]answer{"PATCH /v1/webhooks/whk_1": {{200, strings.Replace(aWebhook, `"enabled"`, `"disabled"`, 1)}}}},
		"webhooks_enable":          {args: "webhooks enable whk_1 --json", answers: map[string][]answer{"PATCH /v1/webhooks/whk_1": {{200, aWebhook}}}},
		"webhooks_delete":          {args: "webhooks delete whk_1", answers: map[string][]answer{"DELETE /v1/webhooks/whk_1": {{204, ""}}}},
		"webhooks_verify":          {args: "webhooks verify whk_1", answers: map[string][]answer{"POST /v1/webhooks/whk_1/verify": {{200, anAnswered}}}},
		"webhooks_verify_refused":  {args: "webhooks verify whk_1", answers: map[string][]answer{"POST /v1/webhooks/whk_1/verify": {{200, anAttempt}}}},
		"webhooks_test":            {args: "webhooks test whk_1", answers: map[string][]answer{"POST /v1/webhooks/whk_1/test": {{202, aDelivery}}}},
		"webhooks_secret":          {args: "webhooks secret whk_1", answers: map[string][]answer{"GET /v1/webhooks/whk_1/secret": {{200, `{"secret":"whsec_c2VjcmV0","created_at":"2026-01-31T11:00:00Z","previous":[]}`}}}},
		"webhooks_rotate":          {args: "webhooks rotate-secret whk_1 --overlap 1h", answers: map[string][]answer{"POST /v1/webhooks/whk_1/rotate-secret": {{200, withSecret(aWebhook)}}}},

		"incidents":             {args: "incidents --status open,acknowledged --q 203.0.113 -n 5", answers: map[string][]answer{"GET /v1/incidents": {{200, page("", anIncident)}}}},
		"incidents_show":        {args: "incidents show inc_1", answers: map[string][]answer{"GET /v1/incidents/inc_1": {{200, strings.TrimSuffix(anIncident, "}") + someMembers}}}},
		"incidents_acknowledge": {args: "incidents acknowledge inc_1 --assignee ada --json", answers: map[string][]answer{"PATCH /v1/incidents/inc_1": {{200, anIncident}}}},
		"incidents_resolve":     {args: "incidents resolve inc_1 --disposition false_positive", extra: []string{"--note", "our own scanner"}, answers: map[string][]answer{"PATCH /v1/incidents/inc_1": {{200, anIncident}}}},
		"incidents_reopen":      {args: "incidents reopen inc_1", answers: map[string][]answer{"PATCH /v1/incidents/inc_1": {{409, `{"status":409,"title":"Conflict","detail":"status: cannot change: the incident was merged into inc_2, where its members are","code":"conflict","field":"status"}`}}}},
		"incidents_note":        {args: "incidents note inc_1", extra: []string{"seen before"}, answers: map[string][]answer{"PATCH /v1/incidents/inc_1": {{200, anIncident}}}},
		"incidents_merge":       {args: "incidents merge inc_1 inc_2", answers: map[string][]answer{"POST /v1/incidents/inc_1/merge": {{200, anIncident}}}},

		"keys":        {args: "keys", answers: map[string][]answer{"GET /v1/keys": {{200, page("", aKey)}}}},
		"keys_create": {args: "keys create ci --scopes events:write,read", answers: map[string][]answer{"POST /v1/keys": {{201, strings.TrimSuffix(aKey, "}") + `,"key":"cvk_abcdefgh"}`}}}},
		"keys_revoke": {args: "keys revoke key_1", answers: map[string][]answer{"DELETE /v1/keys/key_1": {{204, ""}}}},

		"rules_disable":      {args: "rules disable 942100 --reason loud", answers: map[string][]answer{"PATCH /v1/rules/942100": {{204, ""}}}},
		"rules_enable":       {args: "rules enable 942100", answers: map[string][]answer{"PATCH /v1/rules/942100": {{204, ""}}}},
		"exceptions":         {args: "exceptions", answers: map[string][]answer{"GET /v1/exceptions": {{200, page("", anException)}}}},
		"exceptions_add":     {args: "exceptions add reconnaissance --where source_ip|cidr=198.51.100.0/24 --where user=ann --where user=bob --reason scanner --until 2027-06-30T00:00:00Z", answers: map[string][]answer{"POST /v1/exceptions": {{201, anException}}}},
		"exceptions_preview": {args: "exceptions add reconnaissance --reason scanner --would-hide", answers: map[string][]answer{"POST /v1/exceptions/preview": {{200, `{"looked":12,"hidden":1,"partly":0,"findings":[{"event_id":"wh_1","event":"threat.detected","timestamp":"2026-01-30T08:00:00Z","rules":["scan.sensitive_paths"],"whole":true}]}`}}}},
		"exceptions_remove":  {args: "exceptions remove exc_1", answers: map[string][]answer{"DELETE /v1/exceptions/exc_1": {{204, ""}}}},
		"exceptions_wrong":   {args: "exceptions add reconnaissance --where user --reason scanner"},

		"unavailable":      {args: "events", answers: map[string][]answer{"GET /v1/events": {{500, `{"status":500,"title":"Internal Server Error","detail":"something went wrong","code":"internal","request_id":"R1"}`}}}},
		"not_a_cybervault": {args: "events get ../keys", answers: nil},
		"redirect":         {args: "keys", answers: map[string][]answer{"GET /v1/keys": {{302, ""}}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, tc.answers)
			args := append(strings.Fields(tc.args), tc.extra...)
			got := run(t, map[string]string{"CYBERVAULT_SERVER": f.URL, "CYBERVAULT_API_KEY": "key-of-the-test"}, tc.stdin, args...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], pem, "ca.pem")
			}
			golden(t, name, args, f, got)
		})
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	key := map[string]string{"CYBERVAULT_API_KEY": "k"}
	cases := map[string]struct {
		args string
		env  map[string]string
		says string
	}{
		"unknown command":     {args: "evnets", says: `unknown command "evnets"`},
		"unknown subcommand":  {args: "events lst", says: `unknown command "lst"`},
		"unknown flag":        {args: "events --colour", says: "--colour"},
		"missing argument":    {args: "webhooks get", says: "accepts 1 arg(s)"},
		"missing flag":        {args: "webhooks create https://x.example", says: `"events" not set`},
		"no key":              {args: "events", says: "CYBERVAULT_API_KEY"},
		"not a server":        {args: "events --server localhost:8400", env: key, says: "use the form https://"},
		"server with a query": {args: "events --server http://localhost?x", env: key, says: "more than scheme, host and path"},
		"limit":               {args: "events -n 0", env: key, says: "--limit"},
		"moment":              {args: "events --since yesterday", env: key, says: "--since"},
		"header":              {args: "webhooks create https://x.example --events * --header hidden", env: key, says: "--header"},
		"schedule":            {args: "webhooks create https://x.example --events * --retry-schedule soon", env: key, says: "--retry-schedule"},
		"nothing to change":   {args: "webhooks update whk_1", env: key, says: "nothing to change"},
		"setting":             {args: "serve --listen nowhere", says: "--listen"},
		"secret as a flag":    {args: "serve --bootstrap-api-key x", says: "unknown flag"},
		"status":              {args: "listen --status 99", says: "--status"},
		"no secret":           {args: "verify --signature x -", says: "CYBERVAULT_WEBHOOK_SECRET"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, tc.env, "", strings.Fields(tc.args)...)
			if got.status != cli.ExitUsage || !strings.Contains(got.stderr, tc.says) || got.stdout != "" {
				t.Errorf("status %d, stdout %q, stderr %q; want status 2 and an error that says %q", got.status, got.stdout, got.stderr, tc.says)
			}
			if strings.Contains(got.stderr, "hidden") {
				t.Errorf("a credential is quoted back: %s", got.stderr)
			}
		})
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close() // its port is free now
	got := run(t, map[string]string{"CYBERVAULT_API_KEY": "k"}, "", "events", "--server", s.URL)
	if got.status != cli.ExitFailed || !strings.Contains(got.stderr, "no server answers at "+s.URL) || !strings.Contains(got.stderr, "cybervault serve") {
		t.Errorf("status %d, stderr %q; want status 1, the address and what to do", got.status, got.stderr)
	}
}

func TestKeyOverPlainHTTPIsWarnedOf(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // before anything is dialled
	var stdout, stderr bytes.Buffer
	cli.Run(ctx, world(map[string]string{"CYBERVAULT_API_KEY": "k"}, nil, &stdout, &stderr, "events", "--server", "http://cybervault.example"))
	if !strings.Contains(stderr.String(), "warning: the API key travels to cybervault.example unencrypted") {
		t.Errorf("stderr = %q", stderr.String())
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if got := run(t, nil, "", "version"); got.status != cli.ExitDone || !strings.HasPrefix(got.stdout, "cybervault 1.2.3 go") {
		t.Errorf("version: %+v", got)
	}
	if got := run(t, nil, "", "--version"); got.stdout != "cybervault 1.2.3\n" {
		t.Errorf("--version: %+v", got)
	}
}

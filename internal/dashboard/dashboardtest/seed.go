package dashboardtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/cybervault/cybervault"
)

// OK answers 200 in about 20 ms.
func OK(int) cybervault.Exchange {
	ms := time.Duration(9000+rand.IntN(26000)) * time.Microsecond
	if rand.IntN(40) == 0 {
		ms *= 9
	}
	return cybervault.Exchange{
		Status: 200, Elapsed: ms, RemoteAddr: "203.0.113.80:443", Protocol: "HTTP/2.0",
		Timings: cybervault.Timings{FirstByte: ms - 400*time.Microsecond},
		Answer:  []cybervault.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "Server", Value: "nginx"}},
		Body:    []byte(`{"received":true}`),
		TLS: &cybervault.PeerTLS{
			Version: "TLS 1.3", CipherSuite: "TLS_AES_128_GCM_SHA256", Subject: "CN=receiver.example.com", Issuer: "CN=R11,O=Let's Encrypt,C=US",
			Names: []string{"receiver.example.com"}, NotBefore: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 12, 30, 0, 0, 0, 0, time.UTC),
			Fingerprint: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		},
	}
}

// Down answers 503.
func Down(int) cybervault.Exchange {
	ms := time.Duration(80000+rand.IntN(60000)) * time.Microsecond
	return cybervault.Exchange{
		Status: 503, Failure: cybervault.FailureStatus, Error: "the receiver answered 503 Service Unavailable", Elapsed: ms,
		RemoteAddr: "198.51.100.17:443", Protocol: "HTTP/1.1",
		Timings: cybervault.Timings{DNS: 3100 * time.Microsecond, Connect: 18 * time.Millisecond, TLS: 31 * time.Millisecond, FirstByte: ms - time.Millisecond},
		Answer: []cybervault.Header{
			{Name: "Content-Type", Value: "text/html; charset=utf-8"}, {Name: "Retry-After", Value: "10"}, {Name: "Server", Value: "awselb/2.0"},
		},
		Body: []byte("<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n</body>\r\n</html>\r\n"),
	}
}

// Slow never answers in time.
func Slow(int) cybervault.Exchange {
	return cybervault.Exchange{
		Failure: cybervault.FailureTimeout, Error: "no complete headers within 5s", Elapsed: 5 * time.Second,
		RemoteAddr: "192.0.2.9:443", Timings: cybervault.Timings{DNS: 2 * time.Millisecond, Connect: 21 * time.Millisecond, TLS: 44 * time.Millisecond},
	}
}

// Late fails as Down until the attempt of that number.
func Late(success int) Answer {
	return func(n int) cybervault.Exchange {
		if n < success {
			return Down(n)
		}
		return OK(n)
	}
}

// attempt asks the receiver behind w. mu is held.
func (f *Fake) attempt(w *cybervault.Webhook, id cybervault.DeliveryID, eventType string, number int) *cybervault.Attempt {
	answer := f.answers[w.ID]
	if answer == nil {
		answer = OK
	}
	a := &cybervault.Attempt{Delivery: id, Number: number, StartedAt: f.clock(), Exchange: answer(number)}
	a.ID.UUID = f.ids.Next()
	if a.URL == "" {
		a.URL = w.URL
	}
	if a.Request == nil {
		a.Request = []cybervault.Header{
			{Name: "Content-Type", Value: "application/json"},
			{Name: "User-Agent", Value: "CyberVault-Webhooks/0.1.0"},
			{Name: "X-CyberVault-Event", Value: eventType},
			{Name: "X-CyberVault-Delivery", Value: id.String()},
			{Name: "X-CyberVault-Attempt", Value: strconv.Itoa(number)},
		}
		for _, h := range w.Headers {
			a.Request = append(a.Request, cybervault.Header{Name: h.Name, Value: "••••••••"})
		}
	}
	return a
}

// sign adds the signatures of an event to an attempt, as internal/deliver does.
func sign(a *cybervault.Attempt, w *cybervault.Webhook, e *cybervault.Event) {
	secret, seconds := w.Secrets[0].Value, a.StartedAt.Unix()
	standard, err := cybervault.SignStandard(secret, e.ID.String(), seconds, e.Body)
	if err != nil {
		panic(err) // a mistake in a test's own data
	}
	a.Request = append(a.Request,
		cybervault.Header{Name: "X-CyberVault-Signature", Value: cybervault.SignHex(secret, e.Body)},
		cybervault.Header{Name: "webhook-id", Value: e.ID.String()},
		cybervault.Header{Name: "webhook-timestamp", Value: strconv.FormatInt(seconds, 10)},
		cybervault.Header{Name: "webhook-signature", Value: standard})
}

// Hook adds a webhook and says how its receiver behaves.
func (f *Fake) Hook(address, description string, answer Answer, events ...string) *cybervault.Webhook {
	w, err := f.CreateWebhook(context.Background(), f.Workspace, cybervault.WebhookChange{URL: &address, Description: &description, Events: &events})
	if err != nil {
		panic(err) // a mistake in a test's own data
	}
	f.SetAnswer(w.ID, answer)
	return w
}

// Seed fills the workspace with the last hour of a middling company: five
// webhooks, one of them failing, one not verified, one disabled, and some
// hundred events. The same data each time, but for the ids.
func (f *Fake) Seed() {
	f.AddType(cybervault.EventType{
		Name: "door.opened", Severity: cybervault.SeverityHigh, Description: "A door of a server room was opened, by badge or by key.",
		Schema:  json.RawMessage(`{"type":"object","required":["door"],"properties":{"door":{"type":"string"},"badge":{"type":"string","pattern":"^B-[0-9]+$"}}}`),
		Example: json.RawMessage(`{"door":"room 4","badge":"B-17"}`),
	})
	random := rand.New(rand.NewPCG(8, 400))
	now := f.now()
	f.setClock(now.Add(-9 * 24 * time.Hour))
	f.Hook("https://siem.example.com/services/collector/cybervault", "SIEM (Splunk), production", OK, "*")
	f.Hook("https://hooks.pager.example.net/v2/enqueue", "On-call paging", OK, "threat.*", "incident.created", "system.alert")
	tickets := f.Hook("https://tickets.example.com/api/inbound/security?queue=soc", "Ticket desk", OK, "incident.*", "compliance.*")
	f.setClock(now.Add(-2 * 24 * time.Hour))
	deploy := f.Hook("https://deploy.example.org/hooks/patches", "", OK, "patch.*")
	f.SetWebhook(deploy.ID, func(w *cybervault.Webhook) { w.RetrySchedule = []time.Duration{5 * time.Second, 30 * time.Second} })
	old := f.Hook("https://legacy-soc.example.com/inbound", "Legacy SOC", Slow, "auth.suspicious")
	f.setClock(now.Add(-40 * time.Minute))
	fresh := f.Hook("https://lake.example.io/ingest/cybervault", "Data lake, staging", Slow, "compliance.*", "system.alert")
	f.SetWebhook(fresh.ID, func(w *cybervault.Webhook) { w.Verification = true })
	f.SetWebhook(old.ID, func(w *cybervault.Webhook) {
		w.Status, w.DisabledReason = cybervault.WebhookDisabled, "every attempt failed for 3 days; the last one timed out"
	})
	f.SetWebhook(tickets.ID, func(w *cybervault.Webhook) {
		w.Headers = []cybervault.Header{{Name: "Authorization", Value: "Bearer secret"}}
		w.Verification, w.VerifiedAt = true, now.Add(-9*24*time.Hour)
	})
	f.SetHealth(cybervault.WebhookHealth{Webhook: tickets.ID, Breaker: cybervault.BreakerOpen, FailingSince: now.Add(-9 * time.Minute), Failures: 7, OpenedAt: now.Add(-4 * time.Minute), ProbeAt: now.Add(40 * time.Second)})
	f.seedKeys(now)
	f.seedActions(now, tickets.ID)
	f.seedSystem(now)
	f.seedAgents(now)
	for second := 3600; second > 2; {
		f.setClock(now.Add(-time.Duration(second)*time.Second - time.Duration(random.IntN(1000))*time.Millisecond))
		switch {
		case second < 1300 && second > 700:
			f.SetAnswer(tickets.ID, Down)
		case second <= 700 && second > 400:
			f.SetAnswer(tickets.ID, Late(3))
		case second < 45:
			f.SetAnswer(tickets.ID, Down)
		default:
			f.SetAnswer(tickets.ID, OK)
		}
		f.SetAnswer(deploy.ID, OK)
		if second < 2200 && second > 1900 {
			f.SetAnswer(deploy.ID, Slow)
		}
		f.seedEvent(random)
		gap := 4 + random.IntN(13)
		if second < 1500 && second > 1100 { // an attack is under way
			gap = 1 + random.IntN(4)
		}
		second -= gap
	}
	f.seedIncidents(now)
	f.seedRules(now)
	f.setClock(time.Time{})
	f.SetAnswer(tickets.ID, Late(2))
}

func (f *Fake) setClock(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = t
	if !t.IsZero() {
		// The source never goes back; seeding does, so it gets one for each moment.
		f.ids = cybervault.NewIDSource(uint8(t.UnixNano()%250), 0, f.clock)
	} else {
		f.ids = cybervault.NewIDSource(251, 0, f.clock)
	}
}

func (f *Fake) seedKeys(now time.Time) {
	for _, k := range []struct {
		name   string
		scopes []cybervault.Scope
		age    time.Duration
		off    bool
		used   time.Duration
	}{
		{"First key", []cybervault.Scope{cybervault.ScopeAdmin}, 60 * 24 * time.Hour, true, 9 * 24 * time.Hour},
		{"Terraform", []cybervault.Scope{cybervault.ScopeAdmin}, 9 * 24 * time.Hour, false, 3 * time.Hour},
		{"CI pipeline", []cybervault.Scope{cybervault.ScopeEventsWrite, cybervault.ScopeRead}, 5 * 24 * time.Hour, false, time.Minute},
		{"Log shipper, eu-west", []cybervault.Scope{cybervault.ScopeTelemetryWrite}, 3 * time.Hour, false, 0},
	} {
		f.setClock(now.Add(-k.age))
		key, _, err := f.CreateKey(context.Background(), f.Workspace, k.name, k.scopes, time.Time{})
		if err == nil && k.used > 0 {
			key.UsedAt = now.Add(-k.used)
		}
		if err == nil && k.off {
			err = f.RevokeKey(context.Background(), f.Workspace, key.ID)
		}
		if err != nil {
			panic(err) // a mistake in a test's own data
		}
	}
}

// seedEvent publishes one event as they come by in such a company.
func (f *Fake) seedEvent(random *rand.Rand) {
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	source := fmt.Sprintf("203.0.113.%d", 2+random.IntN(250))
	host := pick("prod-db-01", "web-03", "web-07", "vpn-gw-1", "build-12", "laptop-4471", "laptop-2108")
	var name string
	var data map[string]any
	switch n := random.IntN(100); {
	case n < 24:
		name = cybervault.EventThreatDetected
		vector, technique := "sql_injection", "T1190"
		switch random.IntN(4) {
		case 0:
			vector, technique = "path_traversal", "T1083"
		case 1:
			vector, technique = "vulnerability_scan", "T1595.002"
		}
		data = map[string]any{"severity": pick("critical", "critical", "high", "medium"), "source_ip": source, "target_asset": host, "vector": vector, "confidence": float64(80+random.IntN(20)) / 100, "mitre_id": technique, "count": 1 + random.IntN(400)}
	case n < 47:
		name = cybervault.EventAuthSuspicious
		data = map[string]any{"severity": "medium", "pattern": pick("brute_force", "password_spray", "new_country", "mfa_fatigue"), "user": pick("root", "admin", "j.meyer", "deploy", "a.okafor"), "source_ip": source, "target_asset": host}
	case n < 56:
		name = pick(cybervault.EventIncidentCreated, cybervault.EventIncidentUpdated, cybervault.EventIncidentResolved)
		data = map[string]any{"title": pick("SQL injection against ", "Password spray against ", "Scan of ") + host, "status": "open"}
	case n < 70:
		name = pick(cybervault.EventEndpointOffline, cybervault.EventEndpointOnline)
		data = map[string]any{"hostname": host, "missed": 3}
	case n < 92:
		name = cybervault.EventPatchDeployed
		data = map[string]any{"hostname": host, "package": pick("openssl", "linux-image", "nginx", "curl"), "to_version": pick("3.0.17-1", "6.1.119-1", "1.26.2-1", "8.11.0-1")}
	case n < 95:
		name = cybervault.EventPatchFailed
		data = map[string]any{"hostname": host, "package": "openssl", "error": "dpkg was interrupted"}
	case n < 98:
		name = cybervault.EventComplianceControlFailed
		data = map[string]any{"framework": "soc2", "control_id": pick("CC6.1", "CC7.2", "CC8.1"), "title": "Evidence is older than 90 days"}
	default:
		name = cybervault.EventSystemAlert
		data = map[string]any{"summary": "source nginx-eu has been silent for 15 min", "status": "firing"}
	}
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err) // a mistake in a test's own data
	}
	f.Publish(name, raw)
}

func coreTypes() []cybervault.EventType {
	type row struct {
		name, words string
		severity    cybervault.Severity
		example     string
	}
	rows := []row{
		{cybervault.EventThreatDetected, "The engine flags malicious activity.", cybervault.SeverityCritical, `{"threat_id":"thr_94x2k1","severity":"critical","source_ip":"203.0.113.42","target_asset":"prod-db-01.cybervault.internal","vector":"sql_injection","confidence":0.98,"mitre_id":"T1190"}`},
		{cybervault.EventIncidentCreated, "A new incident is opened.", cybervault.SeverityHigh, `{"title":"SQL injection against prod-db-01","status":"open"}`},
		{cybervault.EventIncidentUpdated, "An incident's severity, status or members change.", cybervault.SeverityMedium, `{"title":"SQL injection against prod-db-01","status":"acknowledged"}`},
		{cybervault.EventIncidentResolved, "An incident is resolved, by a person or after quiet.", cybervault.SeverityInfo, `{"title":"SQL injection against prod-db-01","status":"resolved"}`},
		{cybervault.EventAuthSuspicious, "An unusual login pattern or an MFA bypass attempt.", cybervault.SeverityMedium, `{"pattern":"brute_force","user":"root","source_ip":"203.0.113.9"}`},
		{cybervault.EventEndpointOffline, "A managed agent loses connectivity.", cybervault.SeverityLow, `{"hostname":"web-03"}`},
		{cybervault.EventEndpointOnline, "A lost agent is back, or a new one enrols.", cybervault.SeverityInfo, `{"hostname":"web-03"}`},
		{cybervault.EventPatchDeployed, "A security patch was applied with success.", cybervault.SeverityInfo, `{"hostname":"web-03","package":"openssl"}`},
		{cybervault.EventPatchFailed, "A security patch could not be applied.", cybervault.SeverityHigh, `{"hostname":"web-03","package":"openssl","error":"dpkg was interrupted"}`},
		{cybervault.EventComplianceReportReady, "A SOC 2 or ISO 27001 report was generated.", cybervault.SeverityInfo, `{"framework":"soc2"}`},
		{cybervault.EventComplianceControlFailed, "A control that passed fails now.", cybervault.SeverityHigh, `{"framework":"soc2","control_id":"CC6.1"}`},
		{cybervault.EventSystemAlert, "CyberVault itself needs a person.", cybervault.SeverityMedium, `{"summary":"a webhook was disabled"}`},
	}
	list := make([]cybervault.EventType, len(rows))
	for i, r := range rows {
		list[i] = cybervault.EventType{Core: true, Name: r.name, Severity: r.severity, Description: r.words, Schema: json.RawMessage(`{"type":"object"}`), Example: json.RawMessage(r.example)}
	}
	return list
}

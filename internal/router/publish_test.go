package router_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

func TestTheEnvelope(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	at := time.Date(2025, 1, 15, 15, 32, 0, 0, time.FixedZone("", 3600))
	receipt := k.mustPublish(cybervault.PublishRequest{
		Type: cybervault.EventThreatDetected, Timestamp: at, IdempotencyKey: `a"key<&>é`,
		Data: []byte("{\n \"z\" : 1e400, \"a\": 0.10,\t\"big\": 12345678901234567890, \"u\": \"caf\\u00e9 </script>\u2028\", \"z\": -0.0}\r\n"),
	})
	e, err := k.store.Event(t.Context(), k.ws, receipt.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"` + receipt.ID.String() + `","event":"threat.detected","timestamp":"2025-01-15T14:32:00Z",` +
		`"data":{"z":1e400,"a":0.10,"big":12345678901234567890,"u":"caf\u00e9 </script>` + "\u2028" + `","z":-0.0},` +
		`"metadata":{"workspace_id":"` + k.ws.String() + `","engine_version":"ai_v1.2","idempotency_key":"a\"key\u003c\u0026\u003eé"}}`
	if string(e.Body) != want {
		t.Errorf("the envelope is\n%s\nwant\n%s", e.Body, want)
	}
	var envelope cybervault.Envelope
	if err := json.Unmarshal(e.Body, &envelope); err != nil {
		t.Fatalf("the envelope is not valid JSON: %v", err)
	}
	if envelope.Metadata.IdempotencyKey != `a"key<&>é` || receipt.IdempotencyKey != `a"key<&>é` || !envelope.Timestamp.Equal(at) || !receipt.Timestamp.Equal(at) {
		t.Errorf("read back: %+v; receipt: %+v", envelope, receipt)
	}
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   time.Time
		want string // "" for a refusal
	}{
		{time.Date(2026, 11, 23, 10, 0, 0, 123_456_789, time.UTC), "2026-11-23T10:00:00.123456Z"},
		{time.Date(2026, 11, 23, 10, 0, 0, 500_000_000, time.UTC), "2026-11-23T10:00:00.5Z"},
		{time.Date(2026, 11, 23, 10, 0, 0, 0, time.FixedZone("", -5*3600)), "2026-11-23T15:00:00Z"},
		{time.Unix(0, 1000), "1970-01-01T00:00:00.000001Z"},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), "9999-12-31T23:59:59Z"},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)), ""}, // the year 10000 in UTC
		{time.Unix(0, 0), ""},
		{time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), ""},
	} {
		k := newDesk(t)
		req := threat(`{}`)
		req.Timestamp = c.in
		receipt, err := k.publish(req)
		if c.want == "" {
			wantCode(t, err, cybervault.CodeInvalid, "timestamp")
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", c.in, err)
			continue
		}
		if e, _ := k.store.Event(t.Context(), k.ws, receipt.ID); !strings.Contains(string(e.Body), `"timestamp":"`+c.want+`"`) {
			t.Errorf("%v is written in %s, want %s", c.in, e.Body, c.want)
		}
	}
	k := newDesk(t)
	before := time.Now().Add(-time.Millisecond)
	receipt := k.mustPublish(threat(`{}`))
	if receipt.Timestamp.Before(before) || receipt.Timestamp.After(time.Now()) || receipt.Timestamp.Nanosecond()%1e6 != 0 {
		t.Errorf("without a timestamp it is %v, want the moment of publishing to the millisecond", receipt.Timestamp)
	}
	if match := regexp.MustCompile(`^idm_[0-9a-f-]{36}$`); !match.MatchString(receipt.IdempotencyKey) || receipt.IdempotencyKey[4:] != receipt.ID.UUID.String() {
		t.Errorf("the generated key is %q", receipt.IdempotencyKey)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		req   cybervault.PublishRequest
		code  cybervault.Code
		field string
	}{
		"no type":           {cybervault.PublishRequest{Data: []byte(`{}`)}, cybervault.CodeInvalid, "event"},
		"unknown type":      {cybervault.PublishRequest{Type: "nothing.known", Data: []byte(`{}`)}, cybervault.CodeInvalid, "event"},
		"the test's type":   {cybervault.PublishRequest{Type: cybervault.EventWebhookTest, Data: []byte(`{}`)}, cybervault.CodeInvalid, "event"},
		"no data":           {threat(``), cybervault.CodeInvalid, "data"},
		"not JSON":          {threat(`{"a":`), cybervault.CodeInvalid, "data"},
		"breaks the schema": {threat(`{"bad":1}`), cybervault.CodeInvalid, "data"},
		"too large":         {threat(`{"a":"` + strings.Repeat("x", cybervault.MaxEventBytes-7) + `"}`), cybervault.CodeTooLarge, "data"},
		"key too long":      {cybervault.PublishRequest{Type: cybervault.EventThreatDetected, Data: []byte(`{}`), IdempotencyKey: strings.Repeat("k", 256)}, cybervault.CodeInvalid, "idempotency_key"},
		"control character": {cybervault.PublishRequest{Type: cybervault.EventThreatDetected, Data: []byte(`{}`), IdempotencyKey: "a\nb"}, cybervault.CodeInvalid, "idempotency_key"},
		"not UTF-8":         {cybervault.PublishRequest{Type: cybervault.EventThreatDetected, Data: []byte(`{}`), IdempotencyKey: "\xff"}, cybervault.CodeInvalid, "idempotency_key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newDesk(t)
			_, err := k.publish(c.req)
			wantCode(t, err, c.code, c.field)
			if len(k.store.events) != 0 {
				t.Error("it was stored nevertheless")
			}
		})
	}
	k := newDesk(t)
	k.mustPublish(threat(`{"a":"` + strings.Repeat("x", cybervault.MaxEventBytes-8) + `"}`))
	k.mustPublish(cybervault.PublishRequest{Type: cybervault.EventThreatDetected, Data: []byte(`{}`), IdempotencyKey: strings.Repeat("k", 255)})
}

func TestTheSameKeyAgain(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	k.webhook("*")
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first := threat(`{"a":1,"b":[1.0,{"c":null}]}`)
	first.IdempotencyKey, first.Timestamp = "key", at
	original := k.mustPublish(first)
	if original.Replayed || original.Deliveries != 1 {
		t.Fatalf("the first receipt is %+v", original)
	}
	for name, c := range map[string]struct {
		change func(*cybervault.PublishRequest)
		same   bool
	}{
		"the same":                  {func(*cybervault.PublishRequest) {}, true},
		"white space and order":     {func(r *cybervault.PublishRequest) { r.Data = []byte(`{ "b":[1.0, {"c":null}], "a":1 }`) }, true},
		"no timestamp":              {func(r *cybervault.PublishRequest) { r.Timestamp = time.Time{} }, true},
		"the timestamp's zone":      {func(r *cybervault.PublishRequest) { r.Timestamp = at.In(time.FixedZone("", 7200)) }, true},
		"below a microsecond":       {func(r *cybervault.PublishRequest) { r.Timestamp = at.Add(999) }, true},
		"another timestamp":         {func(r *cybervault.PublishRequest) { r.Timestamp = at.Add(time.Microsecond) }, false},
		"another type":              {func(r *cybervault.PublishRequest) { r.Type = cybervault.EventPatchFailed }, false},
		"another value":             {func(r *cybervault.PublishRequest) { r.Data = []byte(`{"a":2,"b":[1.0,{"c":null}]}`) }, false},
		"another order of a list":   {func(r *cybervault.PublishRequest) { r.Data = []byte(`{"a":1,"b":[{"c":null},1.0]}`) }, false},
		"other digits of a number":  {func(r *cybervault.PublishRequest) { r.Data = []byte(`{"a":1,"b":[1,{"c":null}]}`) }, false},
		"one field more":            {func(r *cybervault.PublishRequest) { r.Data = []byte(`{"a":1,"b":[1.0,{"c":null}],"d":0}`) }, false},
		"the generated key of none": {func(r *cybervault.PublishRequest) { r.IdempotencyKey = "key" }, true},
	} {
		again := first
		c.change(&again)
		receipt, err := k.publish(again)
		if !c.same {
			wantCode(t, err, cybervault.CodeConflict, "idempotency_key")
			continue
		}
		want := original
		want.Replayed = true
		if err != nil || receipt != want {
			t.Errorf("%s: %+v, %v; want the first receipt, %+v", name, receipt, err, want)
		}
	}
	if len(k.store.events) != 1 || len(k.store.deliveries) != 1 {
		t.Errorf("%d events and %d deliveries stored, want one of each", len(k.store.events), len(k.store.deliveries))
	}
	if k.d.reserved != 0 || k.d.bytes != 0 {
		t.Errorf("%d places and %d bytes are still reserved", k.d.reserved, k.d.bytes)
	}
	other := newDesk(t)
	if receipt, err := other.publish(first); err != nil || receipt.Replayed {
		t.Errorf("another workspace's key: %+v, %v", receipt, err)
	}
}

func TestAGeneratedKeyComesBack(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	original := k.mustPublish(threat(`{"a":1}`))
	again := threat(`{"a":1}`)
	again.IdempotencyKey = original.IdempotencyKey
	if receipt, err := k.publish(again); err != nil || !receipt.Replayed || receipt.ID != original.ID {
		t.Errorf("the generated key again: %+v, %v", receipt, err)
	}
	again.Data = []byte(`{"a":2}`)
	_, err := k.publish(again)
	wantCode(t, err, cybervault.CodeConflict, "idempotency_key")

	// A publisher may choose keys of the same form.
	for _, key := range []string{"idm_1", "idm_" + k.ids.Next().String()} {
		req := threat(`{}`)
		req.IdempotencyKey = key
		if receipt, err := k.publish(req); err != nil || receipt.Replayed || receipt.IdempotencyKey != key {
			t.Errorf("%s: %+v, %v", key, receipt, err)
		}
		if receipt, err := k.publish(req); err != nil || !receipt.Replayed {
			t.Errorf("%s again: %+v, %v", key, receipt, err)
		}
	}
	// What cannot be looked up must not become a second event.
	k.store.breaks("Original", errDisk)
	again.Data = []byte(`{"a":1}`)
	_, err = k.publish(again)
	wantCode(t, err, cybervault.CodeUnavailable, "")
}

func TestWhoGetsAnEvent(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	all, threats, name, other := k.webhook("*"), k.webhook("threat.*"), k.webhook("patch.failed", "threat.detected"), k.webhook("patch.*")
	disabled := k.webhook("*")
	k.update(disabled.ID, cybervault.WebhookChange{Status: new(cybervault.WebhookDisabled)})
	k.d.answer = nil // nobody accepts the test payload
	held, err := k.r.CreateWebhook(t.Context(), k.ws, cybervault.WebhookChange{URL: new("https://receiver.example"), Events: &[]string{"*"}, Verification: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	stranger := cybervault.NewID[cybervault.WorkspaceID](k.ids)
	if _, err := k.r.CreateWebhook(t.Context(), stranger, cybervault.WebhookChange{URL: new("https://receiver.example"), Events: &[]string{"*"}}); err != nil {
		t.Fatal(err)
	}
	receipt := k.mustPublish(threat(`{}`))
	if receipt.Deliveries != 4 {
		t.Errorf("%d deliveries, want 4: skipped ones do not count", receipt.Deliveries)
	}
	for _, c := range []struct {
		webhook *cybervault.Webhook
		status  cybervault.DeliveryStatus
		reason  string
		running bool
	}{
		{all, cybervault.DeliveryPending, "", true},
		{threats, cybervault.DeliveryPending, "", true},
		{name, cybervault.DeliveryPending, "", true},
		{disabled, cybervault.DeliverySkipped, cybervault.ReasonWebhookDisabled, false},
		{held, cybervault.DeliveryHeld, "", false},
		{other, "", "", false},
	} {
		var got []cybervault.Delivery
		for _, d := range k.store.of(c.webhook.ID) {
			if d.Event == receipt.ID {
				got = append(got, d)
			}
		}
		if c.status == "" {
			if len(got) != 0 {
				t.Errorf("%v got %d deliveries, want none", c.webhook.Events, len(got))
			}
			continue
		}
		if len(got) != 1 || got[0].Status != c.status || got[0].Reason != c.reason || got[0].Running != c.running {
			t.Errorf("%v: %+v, want one that is %s", c.webhook.Events, got, c.status)
		}
	}
	for _, a := range k.d.taken {
		if a.Event == receipt.ID && (a.Attempt != 1 || a.Sequence != 1 || a.Lease.Token == 0 || a.Test || len(a.Body) == 0) {
			t.Errorf("dispatched: %+v", a)
		}
	}
	if k.d.reserved != 0 {
		t.Errorf("%d places are still reserved", k.d.reserved)
	}
}

func TestAFullWindowOverflowsIntoTheStore(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	w := k.webhook("*")
	k.d.full = true
	k.mustPublish(threat(`{}`))
	if got := k.store.of(w.ID); len(got) != 1 || got[0].Running {
		t.Errorf("stored: %+v, want one that nobody has claimed", got)
	}
	if len(k.d.taken) != 0 || !k.d.wokenFor(w.ID) {
		t.Errorf("%d dispatched, woken %v; want none, and the lane woken", len(k.d.taken), k.d.woken)
	}
}

func TestAStoreThatFailsKeepsNothing(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	k.webhook("*")
	k.store.breaks("Publish", errDisk)
	_, err := k.publish(threat(`{}`))
	wantCode(t, err, cybervault.CodeUnavailable, "")
	if k.d.reserved != 0 || k.d.bytes != 0 || len(k.d.taken) != 0 {
		t.Errorf("%d places, %d bytes reserved and %d dispatched after a failure", k.d.reserved, k.d.bytes, len(k.d.taken))
	}
	_, err = k.r.TestWebhook(t.Context(), k.ws, k.webhookID(), cybervault.EventPatchFailed)
	wantCode(t, err, cybervault.CodeUnavailable, "")
	if k.d.reserved != 0 || len(k.d.awaited) != 0 {
		t.Errorf("%d places reserved, %d awaited after a failure", k.d.reserved, len(k.d.awaited))
	}
}

func (k *desk) webhookID() cybervault.WebhookID {
	list, _ := k.r.Webhooks(k.t.Context(), k.ws)
	return list[0].ID
}

func TestABatchAnswersEachInItsPlace(t *testing.T) {
	t.Parallel()
	k := newDesk(t)
	k.webhook("*")
	reqs := make([]cybervault.PublishRequest, cybervault.MaxBatchEvents)
	for i := range reqs {
		reqs[i] = threat(fmt.Sprintf(`{"n":%d}`, i))
	}
	reqs[10].Type = "nothing.known"
	reqs[20].IdempotencyKey, reqs[30].IdempotencyKey, reqs[40].IdempotencyKey = "twice", "twice", "twice"
	reqs[30].Data = reqs[20].Data
	reqs[999].Data = []byte(`{`)
	out := k.r.PublishBatch(t.Context(), k.ws, reqs)
	if len(out) != len(reqs) {
		t.Fatalf("%d outcomes for %d requests", len(out), len(reqs))
	}
	for i, o := range out {
		switch i {
		case 10:
			wantCode(t, o.Err, cybervault.CodeInvalid, "event")
		case 999:
			wantCode(t, o.Err, cybervault.CodeInvalid, "data")
		case 30:
			if o.Err != nil || !o.Receipt.Replayed || o.Receipt.ID != out[20].Receipt.ID {
				t.Errorf("the second of two equal keys: %+v", o)
			}
		case 40:
			wantCode(t, o.Err, cybervault.CodeConflict, "idempotency_key")
		default:
			e, err := k.store.Event(t.Context(), k.ws, o.Receipt.ID)
			if o.Err != nil || err != nil || !strings.Contains(string(e.Body), fmt.Sprintf(`{"n":%d}`, i)) {
				t.Errorf("outcome %d is %+v: not that of its request", i, o)
			}
		}
	}
	if n := len(k.store.events); n != cybervault.MaxBatchEvents-4 {
		t.Errorf("%d events stored", n)
	}
	if k.d.reserved != 0 || len(k.d.taken) != cybervault.MaxBatchEvents-4 {
		t.Errorf("%d places reserved, %d dispatched", k.d.reserved, len(k.d.taken))
	}
}

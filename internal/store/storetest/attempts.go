package storetest

import (
	"bytes"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

func attemptCases() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"attempts/every field":                everyField,
		"attempts/in order, of one delivery":  attemptsInOrder,
		"attempts/strangers see none":         attemptsForeign,
		"attempts/of a delivery without any":  attemptsNone,
		"attempts/times to the microsecond":   attemptTimes,
		"attempts/last answer on the page":    lastAnswer,
		"attempts/an odd failure, kept whole": oddHeaders,
	}
}

func everyField(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w), f.leased(w))
	f.publish(pub)
	full := f.result(&pub.Deliveries[0], 1, cybervault.DeliveryPending)
	full.Attempt.StartedAt = start.Add(-7 * time.Microsecond)
	full.Attempt.Exchange = cybervault.Exchange{
		URL:     "https://receiver.test/in?a=%20b",
		Request: []cybervault.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Empty", Value: ""}, {Name: "X-Colon", Value: "a: b: c"}},
		Status:  503, Failure: cybervault.FailureStatus, Error: "answered 503, „später“",
		Answer: []cybervault.Header{{Name: "Set-Cookie", Value: "a=1"}, {Name: "Set-Cookie", Value: "b=2"}, {Name: "Server", Value: "ä"}},
		Body:   append(bytes.Repeat([]byte{0, 0xff, '\n'}, cybervault.MaxKeptResponseBodyBytes/3), 'x'), BodyCut: true,
		Timings: cybervault.Timings{DNS: time.Microsecond, Connect: 2 * time.Millisecond, TLS: 3 * time.Second, FirstByte: 4 * time.Second},
		Elapsed: 4500 * time.Millisecond, RetryAfter: 24 * time.Hour, RemoteAddr: "[2001:db8::1]:443", Protocol: "HTTP/2.0",
		TLS: &cybervault.PeerTLS{
			Version: "TLS 1.3", CipherSuite: "TLS_AES_128_GCM_SHA256", Subject: "CN=receiver.test", Issuer: "CN=authority,O=„ä“",
			Names: []string{"receiver.test", "2001:db8::1"}, NotBefore: start.Add(-time.Hour).Truncate(time.Second), NotAfter: start.Add(time.Hour).Truncate(time.Second),
			Fingerprint: strings.Repeat("0f", 32),
		},
	}
	bare := f.result(&pub.Deliveries[1], 1, cybervault.DeliveryPending)
	bare.Attempt.Exchange = cybervault.Exchange{
		Failure: cybervault.FailureDNS, Request: []cybervault.Header{}, Answer: []cybervault.Header{},
	}
	for _, r := range []*cybervault.Result{full, bare} {
		f.must(f.record(r))
		if diff := cmp.Diff([]*cybervault.Attempt{r.Attempt}, f.attempts(r.Attempt.Delivery)); diff != "" {
			f.Errorf("attempt (-recorded +read):\n%s", diff)
		}
	}
}

func attemptsInOrder(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w), f.leased(w))
	f.publish(pub)
	f.must(f.record(f.result(&pub.Deliveries[1], 1, cybervault.DeliveryPending)))
	var want []*cybervault.Attempt
	d := &pub.Deliveries[0]
	for number := 1; number <= 12; number++ {
		r := f.result(d, number, cybervault.DeliveryPending)
		r.Attempt.Request, r.Attempt.Answer = []cybervault.Header{}, []cybervault.Header{}
		f.must(f.record(r))
		want = append(want, r.Attempt)
		f.clock.Move(time.Minute)
		for _, a := range f.claim(w, 10) {
			if a.Delivery == d.ID {
				d = asBirth(a)
				if a.Attempt != number+1 {
					f.Fatalf("claimed for attempt %d, want %d", a.Attempt, number+1)
				}
			}
		}
	}
	if diff := cmp.Diff(want, f.attempts(d.ID)); diff != "" {
		f.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func attemptsForeign(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	id := pub.Deliveries[0].ID
	f.must(f.record(f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)))
	got, err := f.s.Attempts(f.Context(), f.strangersWorkspace(), id)
	f.must(err)
	if len(got) != 0 {
		f.Errorf("another workspace sees %d attempts", len(got))
	}
	if got := f.attempts(cybervault.MakeID[cybervault.DeliveryID](id.Key(), id.Rest()^1)); len(got) != 0 {
		f.Errorf("a guessed id shows %d attempts", len(got))
	}
}

func attemptsNone(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, waiting(w))
	f.publish(pub)
	if got := f.attempts(pub.Deliveries[0].ID); got == nil || len(got) != 0 {
		f.Errorf("attempts = %#v, want an empty list", got)
	}
}

func attemptTimes(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	r := f.result(&pub.Deliveries[0], 1, cybervault.DeliveryDelivered)
	r.Attempt.StartedAt = time.Date(2026, 1, 2, 3, 4, 5, 678_901_999, time.FixedZone("", 3600))
	r.Attempt.Elapsed = 1234567 * time.Nanosecond
	f.must(f.record(r))
	got := f.attempts(pub.Deliveries[0].ID)[0]
	if want := time.Date(2026, 1, 2, 2, 4, 5, 678_901_000, time.UTC); got.StartedAt != want || got.Elapsed != 1234*time.Microsecond {
		f.Errorf("started %v, elapsed %v; want %v, 1.234ms", got.StartedAt, got.Elapsed, want)
	}
}

func lastAnswer(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	d := &pub.Deliveries[0]
	f.must(f.record(f.result(d, 1, cybervault.DeliveryPending)))
	f.clock.Move(time.Minute)
	r := f.result(asBirth(f.claim(w, 1)[0]), 2, cybervault.DeliveryDelivered)
	r.Attempt.Status = 201
	f.must(f.record(r))
	if got := f.delivery(d.ID); got.LastStatus != 201 || got.LastFailure != "" || got.Attempts != 2 || !got.NextAttemptAt.IsZero() {
		f.Errorf("delivery: %+v", got)
	}
}

// What a hostile receiver answers is kept byte for byte.
func oddHeaders(f *fixture) {
	w := f.webhook()
	pub := f.publication(event{}, f.leased(w))
	f.publish(pub)
	r := f.result(&pub.Deliveries[0], 1, cybervault.DeliveryPending)
	r.Attempt.Request = []cybervault.Header{}
	r.Attempt.Answer = []cybervault.Header{
		{Name: "X-Latin1", Value: "caf\xe9 \xff"}, {Name: "X-Nul", Value: "a\x00b"}, {Name: "X-Long", Value: strings.Repeat("é", 40_000)},
		{Name: "", Value: ""}, {Name: "X:Odd", Value: "line\nbreak"},
	}
	r.Attempt.Error = "malformed HTTP response \"\\x00\xff\""
	f.must(f.record(r))
	if diff := cmp.Diff([]*cybervault.Attempt{r.Attempt}, f.attempts(pub.Deliveries[0].ID)); diff != "" {
		f.Errorf("attempt (-recorded +read):\n%s", diff)
	}
}

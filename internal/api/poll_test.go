package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cybervault/cybervault"
)

func (f *fakes) Poll(_ context.Context, w cybervault.WorkspaceID, id cybervault.WebhookID, poll cybervault.Poll) ([]cybervault.Handed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls = append(f.polls, poll)
	if err := f.check(w); err != nil {
		return nil, err
	}
	if id != webhook1 {
		return nil, cybervault.Errorf(cybervault.CodeNotFound, "no row")
	}
	if f.poll != nil {
		return f.poll(poll)
	}
	return []cybervault.Handed{handed(dlv1)}, nil
}

func handed(id cybervault.DeliveryID) cybervault.Handed {
	return cybervault.Handed{
		Assignment: &cybervault.Assignment{Delivery: id, Event: event1, EventType: cybervault.EventThreatDetected, Attempt: 1, Sequence: 7, Body: []byte(sampleBody)},
		Headers:    []cybervault.Header{{Name: "X-CyberVault-Sequence", Value: "7"}, {Name: "webhook-id", Value: event1.String()}, {Name: "X-Token", Value: "hush"}},
	}
}

func (f *fakes) pollCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.polls)
}

const pollCall = "GET /v1/webhooks/{id}/poll"

func pollOf(query string) string {
	return strings.ReplaceAll(pollCall, "{id}", webhook1.String()) + query
}

func TestPollHandsOutAndAcknowledges(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	first := f.do(request{call: pollOf("?cursor=&limit=3&wait=30s"), key: pollKey})
	if first.Code != http.StatusOK {
		t.Fatalf("answered %d: %s", first.Code, first.Body)
	}
	golden(t, "answers/poll.json", first.Body.String())
	var answer struct {
		Data []struct {
			Body    string            `json:"body"`
			Headers map[string]string `json:"headers"`
		} `json:"data"`
		Next *string `json:"next_cursor"`
	}
	if err := json.Unmarshal(first.Body.Bytes(), &answer); err != nil || answer.Next == nil || answer.Data[0].Body != sampleBody || answer.Data[0].Headers["X-Token"] != "hush" {
		t.Fatalf("%v: %+v", err, answer)
	}
	f.poll = func(cybervault.Poll) ([]cybervault.Handed, error) { return nil, nil }
	second := f.get(request{call: pollOf("?cursor=" + *answer.Next)}, 200)
	if second["next_cursor"] != *answer.Next || len(second["data"].([]any)) != 0 {
		t.Errorf("with nothing to hand out it answered %v", second)
	}
	if len(f.polls) != 2 || !f.polls[0].After.IsZero() || f.polls[0].Limit != 3 || f.polls[1].After != dlv1 {
		t.Errorf("polled %+v", f.polls)
	}
	if f.get(request{call: pollOf("")}, 200)["next_cursor"] != nil {
		t.Error("nothing was handed out, and there is a cursor")
	}
	// What only looks acknowledges nothing.
	f.do(request{call: strings.Replace(pollOf("?cursor="+*answer.Next), "GET", "HEAD", 1)})
	if last := f.polls[len(f.polls)-1]; !last.After.IsZero() {
		t.Errorf("a HEAD acknowledged %s", last.After)
	}
}

func TestPollIsRefused(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	next := f.get(request{call: pollOf("")}, 200)["next_cursor"].(string)
	other := f.do(request{call: "GET /v1/webhooks/" + id[cybervault.WebhookID](11).String() + "/poll?cursor=" + next})
	if other.Code != http.StatusUnprocessableEntity {
		t.Errorf("a cursor of another webhook: %d", other.Code)
	}
	for name, query := range map[string]string{
		"poll-cursor": "?cursor=garbage", "poll-wait-long": "?wait=61s", "poll-wait-word": "?wait=soon", "poll-wait-negative": "?wait=-1s", "poll-limit": "?limit=0",
	} {
		w := f.do(request{call: pollOf(query)})
		if w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: answered %d", query, w.Code)
		}
		golden(t, "problems/"+name+".txt", w.Body.String())
	}
	before := f.pollCount()
	for _, c := range []struct {
		code   cybervault.Code
		status int
		query  string
	}{{cybervault.CodeGone, 410, "?wait=10s"}, {cybervault.CodeUnavailable, 503, ""}} {
		f.poll = func(cybervault.Poll) ([]cybervault.Handed, error) { return nil, cybervault.Errorf(c.code, "no") }
		if w := f.do(request{call: pollOf(c.query)}); w.Code != c.status {
			t.Errorf("%s was answered %d", c.code, w.Code)
		}
	}
	if f.pollCount() != before+2 {
		t.Error("a poll that was refused waited")
	}
}

func TestPollWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := live(t)
		ready := false
		f.poll = func(poll cybervault.Poll) ([]cybervault.Handed, error) {
			if !ready {
				return nil, nil
			}
			return []cybervault.Handed{handed(dlv1)}, nil
		}
		began := time.Now()
		if w := f.do(request{call: pollOf("?wait=30s")}); w.Code != 200 || time.Since(began) != 30*time.Second {
			t.Errorf("answered %d after %v", w.Code, time.Since(began))
		}
		began = time.Now()
		go func() {
			<-time.After(10*time.Second + 300*time.Millisecond)
			f.mu.Lock()
			ready = true
			f.mu.Unlock()
			f.commit()
		}()
		w := f.do(request{call: pollOf("?wait=30s")})
		if took := time.Since(began); !strings.Contains(w.Body.String(), dlv1.String()) || took > 10*time.Second+400*time.Millisecond {
			t.Errorf("answered after %v: %s", took, w.Body)
		}
		// What cannot be had for the moment is waited for, and then acknowledged.
		cursor := f.get(request{call: pollOf("")}, 200)["next_cursor"].(string)
		refusals := 3
		f.poll = func(poll cybervault.Poll) ([]cybervault.Handed, error) {
			if poll.After != dlv1 {
				t.Error("an acknowledgement was lost with a refusal")
			}
			if refusals--; refusals >= 0 {
				return nil, cybervault.Errorf(cybervault.CodeUnavailable, "not now")
			}
			return []cybervault.Handed{handed(dlv1)}, nil
		}
		if w := f.do(request{call: pollOf("?wait=30s&cursor=" + cursor)}); w.Code != 200 || refusals != -1 {
			t.Errorf("refused for a moment: %d, %d refusals left", w.Code, refusals)
		}
		refusals = 1000
		if w := f.do(request{call: pollOf("?wait=30s&cursor=" + cursor)}); w.Code != http.StatusServiceUnavailable {
			t.Errorf("refused throughout: %d", w.Code)
		}
		f.poll = func(cybervault.Poll) ([]cybervault.Handed, error) { return nil, nil }
		// At the server's stop.
		ready = false
		go func() { <-time.After(5 * time.Second); close(f.wake) }()
		began = time.Now()
		w = f.do(request{call: pollOf("?wait=60s")})
		if w.Code != 200 || time.Since(began) != 5*time.Second {
			t.Errorf("at the server's stop: %d after %v", w.Code, time.Since(began))
		}
	})
}

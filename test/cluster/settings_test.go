package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cybervault/cybervault/receiver"
	"github.com/cybervault/cybervault/test/testenv"
)

// A published event, as its receipt tells of it.
type published struct {
	ID         string `json:"id"`
	Deliveries int    `json:"deliveries"`
}

// A webhook as the API shows it.
type webhook struct {
	ID          string `json:"id"`
	URL         string `json:"url"`
	Description string `json:"description"`
	Status      string `json:"status"`
	Concurrency *int   `json:"concurrency"`
	Secret      string `json:"secret"` // where it is shown
}

// ask makes a call, checks the status of its answer and decodes that.
func ask[T any](t *testing.T, node *testenv.Server, want int, method, path, body string) (got T) {
	t.Helper()
	a := call(node, method, path, body)
	if a.err != nil || a.status != want {
		t.Fatalf("%s %s %s: %d %s %v, want %d", method, path, body, a.status, a.body, a.err, want)
	}
	if len(a.body) > 0 {
		if err := json.Unmarshal(a.body, &got); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, a.body)
		}
	}
	return got
}

// publishAt publishes an event at a node.
func (s *site) publishAt(node *testenv.Server) published {
	s.t.Helper()
	return ask[published](s.t, node, http.StatusAccepted, http.MethodPost, "/v1/events", event(fmt.Sprintf("key-%d", s.next.Add(1))))
}

// A pair is two nodes, of which one is told something and the other one must know.
type pair struct {
	*site

	told, other *testenv.Server
	took        map[string][]time.Duration
}

func newPair(t *testing.T) *pair {
	t.Helper()
	s := newSite(t, testenv.Postgres(t), 2)
	return &pair{site: s, told: s.nodes[0], other: s.nodes[1], took: map[string][]time.Duration{}}
}

// knows waits until the other node knows something that the first one has
// just answered for, and notes how long that took.
func (p *pair) knows(what string, known func() bool) {
	p.t.Helper()
	began := time.Now()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for !known() {
		select {
		case <-again.C:
		case <-deadline:
			p.t.Fatalf("after %s the other node does not know that %s", patience, what)
		}
	}
	p.took[what] = append(p.took[what], time.Since(began))
}

// report logs how soon the other node knew.
func (p *pair) report() {
	p.t.Helper()
	var all []time.Duration
	for what, took := range p.took {
		slices.Sort(took)
		p.t.Logf("%s: known to the other node after %s in the median, %s at worst (of %d)", what, brief(took[len(took)/2]), brief(took[len(took)-1]), len(took))
		all = append(all, took...)
	}
	slices.Sort(all)
	p.t.Logf("all changes: median %s, worst %s (of %d)", brief(all[len(all)/2]), brief(all[len(all)-1]), len(all))
}

func brief(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// What is changed of a webhook on one node is obeyed by another one: as soon as
// that shows it, what is published there goes by it.
func TestAWebhookIsChangedOnAnotherNode(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	inbox := testenv.NewPlainReceiver(t)
	hook := ask[webhook](t, p.told, http.StatusCreated, http.MethodPost, "/v1/webhooks", `{"url":"`+inbox.URL+`/first","events":["*"]}`)
	path := "/v1/webhooks/" + hook.ID
	if got := ask[webhook](t, p.other, http.StatusOK, http.MethodGet, path, ""); got.URL != hook.URL {
		t.Errorf("the other node shows a webhook that was just made as %+v", got)
	}
	show := func() webhook { return ask[webhook](t, p.other, http.StatusOK, http.MethodGet, path, "") }
	arrives := func(id string) testenv.Received {
		var found testenv.Received
		inbox.Wait(patience, id, func(all []testenv.Received) bool {
			i := slices.IndexFunc(all, func(r testenv.Received) bool { return r.Header.Get("Webhook-Id") == id })
			if i >= 0 {
				found = all[i]
			}
			return i >= 0
		})
		return found
	}
	for n := range 10 * testenv.Torture() {
		to := fmt.Sprintf("/hook-%d", n)
		ask[webhook](t, p.told, http.StatusOK, http.MethodPatch, path, `{"url":"`+inbox.URL+to+`"}`)
		p.knows("a URL was changed", func() bool { return strings.HasSuffix(show().URL, to) })
		if got := arrives(p.publishAt(p.other).ID); got.Path != to {
			t.Errorf("an event that was published at the other node went to %s, want %s", got.Path, to)
		}

		for _, status := range []string{"disabled", "enabled"} {
			ask[webhook](t, p.told, http.StatusOK, http.MethodPatch, path, `{"status":"`+status+`"}`)
			p.knows("it was "+status, func() bool { return show().Status == status })
			got := p.publishAt(p.other)
			if want := map[string]int{"disabled": 0, "enabled": 1}[status]; got.Deliveries != want {
				t.Errorf("of a webhook that was %s, the other node makes %d deliveries", status, got.Deliveries)
			}
		}

		secret := ask[webhook](t, p.told, http.StatusOK, http.MethodPost, path+"/rotate-secret", `{"overlap":"0s"}`).Secret
		p.knows("its secret was rotated", func() bool {
			return ask[webhook](t, p.other, http.StatusOK, http.MethodGet, path+"/secret", "").Secret == secret
		})
		got := arrives(p.publishAt(p.other).ID)
		if err := receiver.Verify([]string{secret}, got.Header, got.Body); err != nil {
			t.Errorf("an event that was published at the other node is not signed with the new secret: %v", err)
		}
	}
	ask[struct{}](t, p.told, http.StatusNoContent, http.MethodDelete, path, "")
	p.knows("it was deleted", func() bool { return call(p.other, http.MethodGet, path, "").status == http.StatusNotFound })
	if got := p.publishAt(p.other); got.Deliveries != 0 {
		t.Errorf("of a webhook that was deleted, the other node makes %d deliveries", got.Deliveries)
	}
	p.report()
}

// Changes made on two nodes at once are both made: neither node overwrites what
// it has not heard of yet.
func TestAWebhookIsChangedOnTwoNodesAtOnce(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	hook := ask[webhook](t, p.told, http.StatusCreated, http.MethodPost, "/v1/webhooks", `{"url":"http://127.0.0.1:9/hook","events":["*"]}`)
	path := "/v1/webhooks/" + hook.ID
	for n := range 20 * testenv.Torture() {
		description, concurrency := fmt.Sprintf("change %d", n), 1+n%30
		changes := []func() *answer{
			func() *answer { return call(p.told, http.MethodPatch, path, `{"description":"`+description+`"}`) },
			func() *answer {
				return call(p.other, http.MethodPatch, path, fmt.Sprintf(`{"concurrency":%d}`, concurrency))
			},
		}
		var both sync.WaitGroup
		for _, change := range changes {
			apply := func() {
				if a := change(); a.status != http.StatusOK {
					t.Errorf("change %d: %d %s %v", n, a.status, a.body, a.err)
				}
			}
			if n%2 == 0 { // at once, or the second as soon as the first is answered
				both.Go(apply)
			} else {
				apply()
			}
		}
		both.Wait()
		for _, node := range p.nodes {
			p.knows("both changes were made", func() bool {
				got := ask[webhook](t, node, http.StatusOK, http.MethodGet, path, "")
				return got.Description == description && got.Concurrency != nil && *got.Concurrency == concurrency
			})
		}
	}
	p.report()
}

// An event type that was added on one node can be published at another; a key
// that was made on one opens another, and once revoked does not.
func TestTypesAndKeysOfAnotherNode(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for n := range 5 * testenv.Torture() {
		name := fmt.Sprintf("acme.badge.n%d", n)
		own := `{"event":"` + name + `","data":{"badge":"B-17"}}`
		ask[struct{}](t, p.told, http.StatusCreated, http.MethodPut, "/v1/event-types/"+name, `{"severity":"high","description":"d","schema":{"type":"object","required":["badge"]},"example":{"badge":"sample"}}`)
		p.knows("an event type was added", func() bool { return call(p.other, http.MethodPost, "/v1/events", own).status == http.StatusAccepted })
		ask[struct{}](t, p.other, http.StatusUnprocessableEntity, http.MethodPost, "/v1/events", strings.Replace(own, "badge\":", "badg\":", 1))

		made := ask[struct{ ID, Key string }](t, p.told, http.StatusCreated, http.MethodPost, "/v1/keys", `{"name":"of the test","scopes":["read"]}`)
		status := func() int { return callAs(made.Key, p.other, http.MethodGet, "/v1/events?limit=1", "").status }
		if got := status(); got != http.StatusOK {
			t.Errorf("the other node answers a key that was just made with %d", got)
		}
		ask[struct{}](t, p.told, http.StatusNoContent, http.MethodDelete, "/v1/keys/"+made.ID, "")
		p.knows("a key was revoked", func() bool { return status() == http.StatusUnauthorized })
	}
	p.report()
}

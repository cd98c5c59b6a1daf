package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// AgentsReport is what a fleet of agents costs a server, and how soon one that is lost
// is noticed.
type AgentsReport struct {
	Scenario  string  `json:"scenario"`
	Machine   Machine `json:"machine"`
	Store     string  `json:"store"`
	Agents    int     `json:"agents"`
	Interval  float64 `json:"interval_s"` // between two heartbeats of one
	Seconds   float64 `json:"seconds"`    // that heartbeats were sent for
	EnrolPerS float64 `json:"enrolled_per_s"`

	Beats       int     `json:"heartbeats"`
	Late        int     `json:"late_heartbeats"`           // that this program sent more than a second late
	CPU         float64 `json:"cores"`                     // that the server used meanwhile
	PerThousand float64 `json:"cores_per_1000_agents"`     //
	Reference   float64 `json:"reference_cores"`           // the same for as many calls that do nothing, GET /healthz
	Ratio       float64 `json:"ratio"`                     // of the two
	Median      float64 `json:"median_ms"`                 // of a heartbeat
	P99         float64 `json:"p99_ms"`                    //
	RSS         float64 `json:"rss_mb"`                    // of the server at the end
	False       int     `json:"false_offline"`             // agents that were told of as lost, and were not
	Lost        int     `json:"lost"`                      // that stopped sending
	Noticed     int     `json:"noticed"`                   // of these
	NoticedIn   float64 `json:"noticed_intervals"`         // after the last heartbeat, the median
	NoticedMost float64 `json:"noticed_intervals_at_most"` //
}

// AgentsOptions say how large the fleet is.
type AgentsOptions struct {
	Agents   int
	Interval time.Duration
	Beating  time.Duration // how long heartbeats are sent
	Lost     int
}

// Agents has a fleet enrol and send heartbeats for a while; then a few stop.
func Agents(ctx context.Context, fleet AgentsOptions, o Options) (*AgentsReport, error) {
	r := &AgentsReport{Scenario: "agents", Machine: thisMachine(), Store: o.Store, Agents: fleet.Agents, Interval: fleet.Interval.Seconds(), Lost: fleet.Lost}
	_, err := Deliver(ctx, Scenario{Name: r.Scenario, run: func(ctx context.Context, b *bench) error { return r.run(ctx, b, fleet) }}, o)
	return r, err
}

type benchAgent struct {
	ID   string `json:"id"`
	Key  string `json:"key"`
	last time.Time
}

const agentFacts = `{"hostname":"web-%d.example.com","os":"Debian GNU/Linux 12 (bookworm)","version":"v0.1.0","addresses":["192.0.2.17","2001:db8::17"]}`

// senders is how many calls are under way at most.
const senders = 32

func (r *AgentsReport) run(ctx context.Context, b *bench, fleet AgentsOptions) error {
	s, err := b.newSite(ctx)
	if err != nil {
		return err
	}
	raw, err := s.call(ctx, http.MethodPost, "/v1/agent-tokens", fmt.Appendf(nil, `{"uses":%d,"interval":%q}`, fleet.Agents, fleet.Interval))
	if err != nil {
		return err
	}
	var token struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(raw, &token); err != nil {
		return err
	}
	b.say("enrolling %d agents", fleet.Agents)
	all := make([]benchAgent, fleet.Agents)
	began := time.Now()
	if err := each(ctx, fleet.Agents, func(i int) error {
		raw, err := s.as(ctx, token.Token, "/v1/agents", fmt.Appendf(nil, agentFacts, i))
		if err == nil {
			err = json.Unmarshal(raw, &all[i])
		}
		return err
	}); err != nil {
		return errLog(err, s.server)
	}
	r.EnrolPerS = float64(fleet.Agents) / time.Since(began).Seconds()

	gap := fleet.Interval / time.Duration(fleet.Agents)
	total := int(fleet.Beating / gap)
	b.say("%d calls that do nothing, %s apart", total, gap)
	if r.Reference, _, err = s.paced(ctx, total, gap, func(ctx context.Context, _ int) error {
		_, err := s.call(ctx, http.MethodGet, "/healthz", nil)
		return err
	}); err != nil {
		return err
	}
	beat := func(ctx context.Context, i int) error {
		a := &all[i%fleet.Agents]
		at := time.Now()
		_, err := s.as(ctx, a.Key, "/v1/agents/"+a.ID+"/heartbeat", fmt.Appendf(nil, agentFacts, i%fleet.Agents))
		a.last = at
		return err
	}
	// The first round is not measured: all of them are told of, as online.
	b.say("heartbeats")
	if _, _, err = s.paced(ctx, fleet.Agents, gap, beat); err != nil {
		return err
	}
	var times []time.Duration
	if r.CPU, times, err = s.paced(ctx, total, gap, beat); err != nil {
		return err
	}
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r.Beats, r.Seconds, r.PerThousand, r.Ratio = total, fleet.Beating.Seconds(), r.CPU/float64(fleet.Agents)*1000, r.CPU/r.Reference
	r.Median, r.P99, r.RSS = ms(times[len(times)/2]), ms(times[len(times)*99/100]), s.memory()
	for _, d := range times {
		if d > time.Second {
			r.Late++
		}
	}
	if r.False, err = s.offline(ctx, nil); err != nil {
		return err
	}
	b.say("%.1f %% of a core for 1,000 agents; %d of them stop", 100*r.PerThousand, fleet.Lost)
	return r.lose(ctx, b, s, all, gap, beat)
}

// lose has the first few stop, and the others go on until that is noticed.
func (r *AgentsReport) lose(ctx context.Context, b *bench, s *site, all []benchAgent, gap time.Duration, beat func(context.Context, int) error) error {
	lost := map[string]time.Time{}
	for i := range r.Lost {
		lost[all[i].ID] = all[i].last
	}
	interval := time.Duration(r.Interval * float64(time.Second))
	for range 8 {
		if _, _, err := s.paced(ctx, len(all), gap, func(ctx context.Context, i int) error {
			if i%len(all) < r.Lost {
				return nil
			}
			return beat(ctx, i)
		}); err != nil {
			return err
		}
		n, err := s.offline(ctx, nil)
		if err != nil {
			return err
		}
		if n >= r.Lost+r.False {
			break
		}
	}
	var took []float64
	n, err := s.offline(ctx, func(id string, at time.Time) {
		if last, ok := lost[id]; ok {
			took = append(took, at.Sub(last).Seconds()/interval.Seconds())
		}
	})
	if err != nil {
		return err
	}
	r.Noticed = len(took)
	r.False += max(0, n-r.False-r.Noticed)
	if len(took) > 0 {
		slices.Sort(took)
		r.NoticedIn, r.NoticedMost = median(took), took[len(took)-1]
	}
	b.say("%d were noticed, after %.1f intervals", r.Noticed, r.NoticedIn)
	return nil
}

// offline counts what was told of as lost, and shows each.
func (s *site) offline(ctx context.Context, each func(id string, at time.Time)) (int, error) {
	p, err := s.page(ctx, "/v1/events?event=endpoint.offline&limit=200")
	if err != nil {
		return 0, err
	}
	for _, raw := range p.Data {
		var e struct {
			Timestamp time.Time `json:"timestamp"`
			Data      struct {
				AgentID string `json:"agent_id"`
			} `json:"data"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return 0, err
		}
		if each != nil {
			each(e.Data.AgentID, e.Timestamp)
		}
	}
	return len(p.Data), nil
}

// as makes a call with another key.
func (s *site) as(ctx context.Context, key, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.server.address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s answered %s: %s", path, resp.Status, answer)
	}
	return answer, err
}

// each does something n times, several at once.
func each(ctx context.Context, n int, do func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan int)
	for range senders {
		wg.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// paced makes n calls, one each gap, and returns the cores that the server used, and how
// long after its time each call was answered.
func (s *site) paced(ctx context.Context, n int, gap time.Duration, do func(context.Context, int) error) (cores float64, took []time.Duration, err error) {
	took = make([]time.Duration, n)
	cpu, _ := s.server.usage()
	began := time.Now()
	err = each(ctx, n, func(i int) error {
		due := began.Add(time.Duration(i) * gap)
		timer := time.NewTimer(time.Until(due))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		err := do(ctx, i)
		took[i] = time.Since(due)
		return err
	})
	after, _ := s.server.usage()
	return (after - cpu).Seconds() / time.Since(began).Seconds(), took, errLog(err, s.server)
}

// JSON is the report as one line.
func (r *AgentsReport) JSON() ([]byte, error) { return json.Marshal(r) }

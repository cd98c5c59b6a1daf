package api

import (
	"context"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

// Poller hands out the deliveries of polled webhooks.
type Poller interface {
	// Poll acknowledges what was handed out up to poll.After, then hands out what
	// waits, without waiting itself. CodeForbidden for a webhook that takes an
	// admin, CodeGone for an acknowledgement of what is not there.
	Poll(ctx context.Context, ws cybervault.WorkspaceID, id cybervault.WebhookID, poll cybervault.Poll) ([]cybervault.Handed, error)
}

// Bounds of polls that wait.
const (
	MaxPolls          = 2000 // with the streams, well below the calls that are served at once
	MaxWorkspacePolls = 1000

	// pollLook is how often a poll that waits looks when this node commits nothing,
	// pollGap the least time between two looks; it rests four times as long as a
	// look took.
	pollLook = time.Second
	pollGap  = 50 * time.Millisecond
)

// pollJSON is what a poll answers.
type pollJSON struct {
	Data       []handedJSON `json:"data" doc:"In the order of their sequence numbers. Empty if nothing came within the wait."`
	NextCursor *string      `json:"next_cursor" doc:"Hand it back, once all of data is handled: that acknowledges it. Null if there is nothing to acknowledge."`
}

type handedJSON struct {
	DeliveryID cybervault.DeliveryID `json:"delivery_id"`
	Headers    map[string]string     `json:"headers" doc:"The headers that an attempt over HTTP would carry, signatures and the webhook's static headers included."`
	Body       string                `json:"body" doc:"The exact bytes that are signed, as a string."`
}

func (s *server) poll(c *call) error {
	id, err := pathID[cybervault.WebhookID](c, "webhook")
	if err != nil {
		return err
	}
	f := &filters{query: c.query}
	walk := list{name: "poll " + id.String(), workspace: c.workspace()}
	poll := cybervault.Poll{Limit: f.limit(), Caller: c.r.RemoteAddr, Admin: c.key.Allows(cybervault.ScopeAdmin)}
	wait := f.wait()
	cursor := c.query.Get("cursor")                    // an empty one is none, as in a loop's first call
	if cursor != "" && c.r.Method != http.MethodHead { // which must change nothing
		poll.After = cybervault.DeliveryID{UUID: walk.before(f)}
	}
	if err := f.wrong.err(); err != nil {
		return err
	}
	leave, err := s.polls.take(c.workspace())
	if err != nil {
		return err
	}
	defer leave()
	handed, err := s.await(c, id, poll, wait)
	if err != nil {
		return named(err, "webhook", id)
	}
	answer := pollJSON{Data: make([]handedJSON, len(handed)), NextCursor: orNull(cursor)}
	for i, h := range handed {
		answer.Data[i] = handedJSON{DeliveryID: h.Assignment.Delivery, Headers: make(map[string]string, len(h.Headers)), Body: string(h.Assignment.Body)}
		for _, header := range h.Headers {
			answer.Data[i].Headers[header.Name] = header.Value
		}
		answer.NextCursor = walk.cursor(h.Assignment.Delivery.UUID)
	}
	return writeJSON(c, http.StatusOK, answer)
}

// await polls until there is something, for as long as wait, or until the caller
// goes or the server stops. What cannot be had for the moment is waited for too.
func (s *server) await(c *call, id cybervault.WebhookID, poll cybervault.Poll, wait time.Duration) ([]cybervault.Handed, error) {
	committed, stop := s.Commits.Watch()
	defer stop()
	handed, err := s.Poller.Poll(c.ctx(), c.workspace(), id, poll)
	if pollEnds(handed, err) || wait == 0 {
		return handed, err
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	look := time.NewTicker(pollLook)
	defer look.Stop()
	gap := time.NewTimer(pollGap)
	defer gap.Stop()
	for pending, ready := false, false; ; {
		if err == nil {
			poll.After = cybervault.DeliveryID{} // it is acknowledged
		}
		select {
		case <-c.ctx().Done():
			return nil, nil
		case <-end.C:
			return nil, err
		case _, open := <-committed:
			if !open {
				return nil, nil
			}
			pending = true
		case <-look.C:
			pending = true
		case <-gap.C:
			ready = true
		}
		if !pending || !ready {
			continue
		}
		began := s.Now()
		if handed, err = s.Poller.Poll(c.ctx(), c.workspace(), id, poll); pollEnds(handed, err) {
			return handed, err
		}
		pending, ready = false, false
		gap.Reset(max(pollGap, 4*s.Now().Sub(began)))
	}
}

func pollEnds(handed []cybervault.Handed, err error) bool {
	return len(handed) > 0 || err != nil && cybervault.ErrorCode(err) != cybervault.CodeUnavailable
}

// wait reads how long to wait, 0 if it is not given.
func (f *filters) wait() time.Duration {
	value, ok := f.text("wait")
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > cybervault.MaxPollWait {
		f.refusef("wait", "%q is not a time from 0s to %s", shorten(value), cybervault.FormatDuration(cybervault.MaxPollWait))
		return 0
	}
	return d
}

func aboutPoll(rt *route) {
	rt.id, rt.tag, rt.summary = "pollWebhook", tagWebhooks, "Fetch deliveries"
	rt.doc = "For a receiver without a public address: hands out the deliveries of a webhook that wait, with the headers and " +
		"the body that an attempt over HTTP would have. A cursor handed back acknowledges all that was handed out with it and before: those deliveries are delivered. " +
		"What is not acknowledged is handed out again. A webhook whose url is `" + cybervault.PollURL + "` is sent nothing; to one with another URL the deliveries are " +
		"sent all the same, and whichever comes first ends them."
	rt.params = []param{
		{"cursor", "The next_cursor of the answer before, once all of it is handled; empty or left out at first.", schema{"type": "string"}},
		{"wait", "How long to wait if there is nothing, up to 60s.", schema{"type": "string", "default": "0s", "examples": []string{"30s"}}},
		limitParam(),
	}
	rt.answers = []answer{{status: 200, doc: "What waits.", schema: of[pollJSON]()}}
	rt.errors = []int{410, 503}
}

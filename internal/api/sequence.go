package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/cybervault/cybervault"
)

// sequencesJSON tells what a range of a webhook's sequence numbers was.
type sequencesJSON struct {
	Data     []sequenceJSON `json:"data" doc:"Lowest first. A number is missing only if the retention has removed its delivery."`
	NextFrom *int64         `json:"next_from" doc:"Give it as from to go on; null when there is nothing further."`
	Last     int64          `json:"last" doc:"The last number that the webhook has given out; 0 if none."`
}

type sequenceJSON struct {
	Sequence     int64                     `json:"sequence"`
	DeliveryID   cybervault.DeliveryID     `json:"delivery_id"`
	EventID      cybervault.EventID        `json:"event_id" doc:"What the receiver sees as webhook-id."`
	Event        string                    `json:"event" doc:"The event type."`
	Status       cybervault.DeliveryStatus `json:"status"`
	AttemptCount int                       `json:"attempt_count" doc:"Attempts made so far."`
	FinishedAt   *time.Time                `json:"finished_at" doc:"When it ended; null until then."`
}

func (s *server) listSequence(c *call) error {
	id, err := pathID[cybervault.WebhookID](c, "webhook")
	if err != nil {
		return err
	}
	f := &filters{query: c.query}
	from, to := f.sequence("from"), f.sequence("to")
	if to != 0 && from > to {
		f.refusef("to", "is less than from")
	}
	if err := f.wrong.err(); err != nil {
		return err
	}
	page, err := s.Log.Sequence(c.ctx(), c.workspace(), id, from, to)
	if err != nil {
		return named(err, "webhook", id)
	}
	answer := sequencesJSON{Data: make([]sequenceJSON, len(page.Rows)), NextFrom: orNull(page.Next), Last: page.Last}
	for i, d := range page.Rows {
		answer.Data[i] = sequenceJSON{
			Sequence: d.Sequence, DeliveryID: d.ID, EventID: d.Event, Event: d.EventType, Status: d.Status,
			AttemptCount: d.Attempts, FinishedAt: orNull(d.FinishedAt.UTC()),
		}
	}
	return writeJSON(c, http.StatusOK, answer)
}

// sequence reads a sequence number, 0 if it is not given.
func (f *filters) sequence(name string) int64 {
	value, ok := f.text(name)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 1 {
		f.refusef(name, "%q is not a whole number from 1", shorten(value))
	}
	return n
}

func aboutListSequence(rt *route) {
	number := schema{"type": "integer", "format": "int64", "minimum": 1}
	rt.id, rt.tag, rt.summary = "listWebhookSequence", tagWebhooks, "What each sequence number was"
	rt.doc = "Tells which delivery had each number of X-CyberVault-Sequence and how it ended, at most " + strconv.Itoa(cybervault.MaxSequencePage) +
		" numbers a call, so that a receiver can prove to itself that it misses nothing."
	rt.params = []param{
		{"from", "The first number; 1 if not given.", number},
		{"to", "The last number; the last one given out if not given.", number},
	}
	rt.answers = []answer{{status: 200, doc: "The numbers.", schema: of[sequencesJSON]()}}
}

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"

	"github.com/cybervault/cybervault"
)

// eventFields is the body of a publish call, and each item of a batch. Data is
// kept as the bytes that were sent.
func eventFields() fields[cybervault.PublishRequest] {
	type request = cybervault.PublishRequest
	return fields[request]{
		{
			name: "event", required: true, doc: "name the event type, such as \"threat.detected\"", schema: schema{"type": "string"},
			read: func(raw json.RawMessage, into *request) (err error) {
				into.Type, err = readString(raw)
				return err
			},
		}, {
			name: "data", required: true, doc: "give what happened, as the event type's schema says", schema: schema{"type": "object"},
			read: func(raw json.RawMessage, into *request) error {
				if raw[0] != '{' {
					return cybervault.Errorf(cybervault.CodeInvalid, "is %s: give an object", kindOf(raw))
				}
				into.Data = raw
				return nil
			},
		}, {
			name: "timestamp", doc: "when it happened; the moment of publishing if absent", null: ignoreNull[request],
			schema: schema{"type": "string", "format": "date-time"},
			read: func(raw json.RawMessage, into *request) error {
				text, err := readString(raw)
				if err != nil {
					return err
				}
				into.Timestamp, err = readTime(text)
				return err
			},
		}, {
			name: "idempotency_key", doc: "publishing the same content again with the same key changes nothing; CyberVault makes one if absent", null: ignoreNull[request],
			schema: schema{"type": "string", "minLength": 1, "maxLength": cybervault.MaxIdempotencyKeyBytes},
			read: func(raw json.RawMessage, into *request) error {
				key, err := readString(raw)
				if err != nil {
					return err
				}
				into.IdempotencyKey = key
				return checkIdempotencyKey(key)
			},
		},
	}
}

func checkIdempotencyKey(key string) error {
	if key == "" {
		return cybervault.Errorf(cybervault.CodeInvalid, "is empty: give a key, or leave it out")
	}
	if len(key) > cybervault.MaxIdempotencyKeyBytes {
		return cybervault.Errorf(cybervault.CodeInvalid, "is %d bytes long, more than %d", len(key), cybervault.MaxIdempotencyKeyBytes)
	}
	return nil
}

const idempotencyHeader = "Idempotency-Key"

// headerKey reads the header Idempotency-Key; "" if there is none. The draft
// has it as a quoted string, and most programs send it bare: both are read.
func headerKey(r *http.Request) (string, error) {
	values := r.Header.Values(idempotencyHeader)
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if len(values) > 1 {
		return "", cybervault.Invalid(idempotencyHeader, "stands twice in the request")
	}
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(key[1 : len(key)-1])
	}
	return key, at(idempotencyHeader, checkIdempotencyKey(key))
}

func (s *server) publish(c *call) error {
	key, err := headerKey(c.r)
	if err != nil {
		return err
	}
	if err := s.admit(c, cybervault.MaxEventBytes); err != nil {
		return err
	}
	body, err := readJSON(c, cybervault.MaxEventBytes)
	if err != nil {
		return err
	}
	request, err := s.eventTable.decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	switch {
	case request.IdempotencyKey == "":
		request.IdempotencyKey = key
	case key != "" && key != request.IdempotencyKey:
		return cybervault.Invalid("idempotency_key", "is not the same as the header %s: send one of them, or both alike", idempotencyHeader)
	}
	receipt, err := s.Publisher.Publish(c.ctx(), c.workspace(), request)
	if err != nil {
		return err
	}
	status := http.StatusAccepted
	if receipt.Replayed {
		status = http.StatusOK
		c.w.Header().Set("Idempotent-Replayed", "true")
	}
	c.w.Header().Set("Location", "/v1/events/"+receipt.ID.String())
	return writeJSON(c, status, receipt)
}

func aboutPublish(rt *route) {
	rt.id, rt.tag, rt.summary = "publishEvent", tagEvents, "Publish an event"
	rt.doc = "Answered once the event and its deliveries are on disk. The same idempotency key with the same content gives the first answer again; with other content it is a conflict."
	rt.headers = []param{{idempotencyHeader, "The idempotency key, where the body names none.",
		schema{"type": "string", "minLength": 1, "maxLength": cybervault.MaxIdempotencyKeyBytes}}}
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: eventFields().describe(bodyOptions{}), example: publishExample()}
	rt.answers = []answer{
		{status: 202, doc: "Stored.", schema: of[cybervault.PublishReceipt](), headers: []string{"Location"}},
		{status: 200, doc: "It had been stored before: the first answer.", schema: of[cybervault.PublishReceipt](), headers: []string{"Location", "Idempotent-Replayed"}},
	}
	rt.errors = []int{409, 503}
}

func publishExample() any {
	return schema{
		"event": cybervault.EventSystemAlert,
		"data": schema{
			"alert_id": "alr_019a5b1e-7c00-7000-8000-000000000001", "code": "backup_late", "severity": "medium", "status": "firing",
			"summary": "The nightly backup has not run.", "remedy": "Start it by hand and look at its log.", "subject": "db-1",
		},
		"idempotency_key": "backup-2026-11-23",
	}
}

// batchJSON is the answer to a batch, each event in its place.
type batchJSON struct {
	Data     []batchItemJSON `json:"data" doc:"One answer for each event, in the order they were sent."`
	Accepted int             `json:"accepted" doc:"How many are stored, now or before."`
	Failed   int             `json:"failed"`
}

type batchItemJSON struct {
	Status  int                        `json:"status" doc:"The status that the event would have been answered with alone: 202, 200 if it had been stored before, or the problem's."`
	Receipt *cybervault.PublishReceipt `json:"receipt" doc:"Null if it failed."`
	Problem *problemJSON               `json:"problem" doc:"Null if it was stored."`
}

func (s *server) publishBatch(c *call) error {
	if len(c.r.Header.Values(idempotencyHeader)) > 0 {
		return cybervault.Invalid(idempotencyHeader, "cannot stand for a whole batch: give each event its own idempotency_key")
	}
	if err := s.admit(c, MaxBatchBytes); err != nil {
		return err
	}
	items, err := readBatch(c)
	if err != nil {
		return err
	}
	if len(items) > cybervault.MaxBatchEvents {
		return cybervault.Errorf(cybervault.CodeTooLarge, "the batch has more than %d events: send them in several", cybervault.MaxBatchEvents)
	}
	failures := make([]error, len(items)) // of those that cannot be published
	requests := make([]cybervault.PublishRequest, 0, len(items))
	for i, item := range items {
		var request cybervault.PublishRequest
		if item.err == nil {
			request, item.err = s.eventTable.decode(item.raw, bodyOptions{})
		}
		if failures[i] = item.err; item.err == nil {
			requests = append(requests, request)
		}
	}
	var outcomes []cybervault.PublishOutcome
	if len(requests) > 0 {
		outcomes = s.Publisher.PublishBatch(c.ctx(), c.workspace(), requests)
	}
	if len(outcomes) != len(requests) {
		return cybervault.Errorf(cybervault.CodeInternal, "%d outcomes for %d requests", len(outcomes), len(requests))
	}
	if err := nothingKept(outcomes); err != nil {
		return err
	}
	answer := batchJSON{Data: make([]batchItemJSON, len(items))}
	next := 0
	for i := range items {
		outcome := cybervault.PublishOutcome{Err: failures[i]}
		if failures[i] == nil {
			outcome = outcomes[next]
			next++
		}
		answer.Data[i] = s.batchItem(c, outcome)
		if answer.Data[i].Receipt != nil {
			answer.Accepted++
		} else {
			answer.Failed++
		}
	}
	return writeJSON(c, http.StatusOK, answer)
}

// nothingKept returns the error of a batch of which not one event could be
// stored for now, so that it is answered with 503 and tried again as a whole.
func nothingKept(outcomes []cybervault.PublishOutcome) error {
	for _, o := range outcomes {
		if cybervault.ErrorCode(o.Err) != cybervault.CodeUnavailable {
			return nil
		}
	}
	if len(outcomes) == 0 {
		return nil
	}
	return outcomes[0].Err
}

func (s *server) batchItem(c *call, outcome cybervault.PublishOutcome) batchItemJSON {
	if outcome.Err == nil {
		status := http.StatusAccepted
		if outcome.Receipt.Replayed {
			status = http.StatusOK
		}
		return batchItemJSON{Status: status, Receipt: &outcome.Receipt}
	}
	p := asProblem(outcome.Err)
	if p.status >= http.StatusInternalServerError {
		s.Logger.ErrorContext(c.ctx(), "an event of a batch failed", "request_id", c.w.Header().Get("X-Request-Id"), "error", outcome.Err)
	}
	doc := p.document("")
	return batchItemJSON{Status: p.status, Problem: &doc}
}

// rawItem is one event of a batch as it was sent, or why it cannot be read.
type rawItem struct {
	raw []byte
	err error
}

// readBatch splits the body: a JSON array, or NDJSON. Where the Content-Type
// does not say which, the first byte does. A line of NDJSON that is not JSON
// spoils itself only; an array that is not JSON cannot be split.
func readBatch(c *call) ([]rawItem, error) {
	ndjson := []string{"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines"}
	if err := wantMedia(c, append([]string{"application/json"}, ndjson...)...); err != nil {
		return nil, err
	}
	body, err := readBody(c, MaxBatchBytes)
	if err != nil {
		return nil, err
	}
	first := bytes.TrimLeft(body, " \t\r\n")
	if len(first) == 0 {
		return nil, unreadable("the body is empty: send a JSON array of events, or one event a line")
	}
	media, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	isLines := strings.Contains(media, "ndjson") || strings.Contains(media, "jsonl")
	if !isLines && first[0] != '{' {
		if err := checkJSON(body); err != nil {
			return nil, err
		}
		if first[0] != '[' {
			return nil, cybervault.Errorf(cybervault.CodeInvalid, "the body is %s: send a JSON array of events, or one event a line", kindOf(first))
		}
		list := elements(body)
		items := make([]rawItem, len(list))
		for i, raw := range list {
			items[i] = rawItem{raw: raw, err: checkItem(raw)}
		}
		return items, nil
	}
	var items []rawItem
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		err := checkItemSize(line)
		if err == nil {
			err = checkLine(line)
		}
		items = append(items, rawItem{raw: line, err: err})
		if len(items) > cybervault.MaxBatchEvents {
			break // refused whole by the caller
		}
	}
	return items, nil
}

func checkItemSize(raw []byte) error {
	if len(raw) > cybervault.MaxEventBytes {
		return cybervault.Errorf(cybervault.CodeTooLarge, "the event has %d bytes, more than %s", len(raw), byteSize(cybervault.MaxEventBytes))
	}
	return nil
}

// checkItem checks an element of an array that is known to be valid JSON.
func checkItem(raw []byte) error {
	if err := checkItemSize(raw); err != nil {
		return err
	}
	return checkObject(raw)
}

func checkLine(line []byte) error {
	err := checkJSON(line)
	if p, ok := errors.AsType[*problem](err); ok {
		p.message = strings.Replace(strings.Replace(p.message, "the body", "the line", 1), " line 1, column", " column", 1)
		return p
	}
	return checkObject(line)
}

func checkObject(raw []byte) error {
	if raw[0] != '{' {
		return cybervault.Errorf(cybervault.CodeInvalid, "the event is %s: send a JSON object", kindOf(raw))
	}
	return nil
}

func aboutPublishBatch(rt *route) {
	rt.id, rt.tag, rt.summary = "publishEvents", tagEvents, "Publish many events"
	rt.doc = "Up to 1000 events as a JSON array or as NDJSON (one a line). Each is answered in its place; one bad event does not spoil the others. " +
		"When not one could be stored for now, the whole batch is answered with 503."
	item := eventFields().describe(bodyOptions{})
	rt.body = &bodyDoc{
		media:   []string{"application/json", "application/x-ndjson"},
		schema:  schema{"type": "array", "maxItems": cybervault.MaxBatchEvents, "items": item},
		example: []any{publishExample()},
	}
	rt.answers = []answer{{status: 200, doc: "What became of each event.", schema: of[batchJSON]()}}
	rt.errors = []int{503}
}

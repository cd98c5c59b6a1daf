package api

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

type previewRequest struct {
	filter string
	events []string
	since  time.Time
}

func previewFields() fields[previewRequest] {
	return fields[previewRequest]{
		{
			name: "filter", required: true, doc: "give a CEL expression over the envelope, as a webhook has it",
			schema: schema{"type": "string", "maxLength": cybervault.MaxFilterBytes},
			read: func(raw json.RawMessage, into *previewRequest) (err error) {
				into.filter, err = readString(raw)
				return err
			},
		}, {
			name: "events", doc: "the event types to look at, as a webhook chooses them; all if absent",
			schema: schema{"type": "array", "items": schema{"type": "string"}, "minItems": 1},
			read: func(raw json.RawMessage, into *previewRequest) (err error) {
				into.events, err = readStrings(raw, "events")
				return err
			},
			null: ignoreNull[previewRequest],
		}, {
			name: "since", doc: "only events stored at or after this moment", schema: schema{"type": "string", "format": "date-time"},
			read: func(raw json.RawMessage, into *previewRequest) error {
				text, err := readString(raw)
				if err == nil {
					into.since, err = readTime(text)
				}
				return err
			},
			null: ignoreNull[previewRequest],
		},
	}
}

func (s *server) previewFilter(c *call) error {
	body, err := readJSON(c, MaxRequestBytes)
	if err != nil {
		return err
	}
	request, err := previewFields().decode(body, bodyOptions{})
	if err != nil {
		return err
	}
	preview, err := s.Previewer.PreviewFilter(c.ctx(), c.workspace(), request.filter, request.events, request.since)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, preview)
}

func aboutPreviewFilter(rt *route) {
	rt.id, rt.tag, rt.summary = "previewFilter", tagWebhooks, "Try a filter"
	rt.doc = "What a filter would have done with the newest events, at most 200 of them. Nothing is sent and nothing is stored."
	rt.body = &bodyDoc{media: []string{"application/json"}, schema: previewFields().describe(bodyOptions{}), example: schema{
		"filter": `data.severity == "critical" && data.confidence > 0.9`, "events": []string{"threat.*"},
	}}
	rt.answers = []answer{{status: 200, doc: "What it would have matched.", schema: of[cybervault.FilterPreview]()}}
	rt.errors = []int{503}
}

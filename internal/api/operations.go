package api

import (
	"net/http"
	"strconv"

	"github.com/cybervault/cybervault"
)

type healthJSON struct {
	Status     string `json:"status"`
	Publishing string `json:"publishing,omitempty" doc:"Why nothing is published now, although the server is ready for all other calls; absent while it is."`
}

func (s *server) healthz(c *call) error {
	return writeJSON(c, http.StatusOK, healthJSON{Status: "ok"})
}

func aboutHealthz(rt *route) {
	rt.id, rt.tag, rt.summary = "healthz", tagOperations, "Is the process alive?"
	rt.doc = "Answers as long as the process does. Restart the process when it does not."
	rt.answers = []answer{{status: 200, doc: "It is.", schema: of[healthJSON]()}}
}

func (s *server) readyz(c *call) error {
	err := s.Health.Ready(c.ctx())
	if err == nil {
		answer := healthJSON{Status: "ready"}
		if s.Refusing != nil {
			answer.Publishing = s.Refusing()
		}
		return writeJSON(c, http.StatusOK, answer)
	}
	if cybervault.ErrorCode(err) == cybervault.CodeUnavailable {
		return err
	}
	return &cybervault.Error{Code: cybervault.CodeUnavailable, Message: "the server cannot do its work now: its log names the cause", Err: err}
}

func aboutReadyz(rt *route) {
	rt.id, rt.tag, rt.summary = "readyz", tagOperations, "Can it take requests?"
	rt.doc = "Succeeds while the store can be read and written. Send no requests while it does not. " +
		"A server that keeps its disk's reserve is ready, and says in publishing why it takes no events: whoever is to make room needs its other calls."
	rt.answers = []answer{{status: 200, doc: "It can.", schema: of[healthJSON]()}}
	rt.errors = []int{503}
}

func (s *server) metrics(c *call) error {
	if s.Metrics == nil {
		return cybervault.Errorf(cybervault.CodeNotFound, "this server was built into a program without metrics")
	}
	s.Metrics.ServeHTTP(c.w, c.r)
	return nil
}

func aboutMetrics(rt *route) {
	rt.id, rt.tag, rt.summary = "metrics", tagOperations, "Metrics"
	rt.doc = "In the Prometheus text format, or OpenMetrics where the request accepts it."
	rt.answers = []answer{{status: 200, doc: "The metrics.", schema: schema{"type": "string"}, media: "text/plain"}}
}

func (s *server) openAPI(c *call) error {
	body, err := s.openapi()
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	return writeBytes(c, http.StatusOK, body)
}

func aboutOpenAPI(rt *route) {
	rt.id, rt.tag, rt.summary = "openapi", tagOperations, "This document"
	rt.doc = "OpenAPI 3.1, the webhooks that receivers get included."
	rt.answers = []answer{{status: 200, doc: "The document.", schema: schema{"type": "object"}}}
}

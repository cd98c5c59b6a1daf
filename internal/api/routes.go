package api

import (
	"net/http"

	"github.com/cybervault/cybervault"
)

// route is one call of the API: how it is served and how it is described.
type route struct {
	method  string
	pattern string           // of http.ServeMux, without the method
	scope   cybervault.Scope // the least an API key needs; "": open to all

	handle func(*server, *call) error
	about  func(*route) // adds what follows, and stands beside the handler

	id      string // operationId
	tag     string
	summary string
	doc     string
	params  []param
	headers []param // request headers
	body    *bodyDoc
	answers []answer
	errors  []int // statuses of problems besides those that follow from the rest
}

// bodyDoc describes the body of a request.
type bodyDoc struct {
	media    []string
	schema   schema
	optional bool
	example  any
}

// answer describes an answer that is no problem.
type answer struct {
	status  int
	doc     string
	schema  schema // nil: no body
	media   string // "": application/json
	headers []string
}

// The tags, in the order to show.
const (
	tagEvents     = "Events"
	tagWebhooks   = "Webhooks"
	tagDeliveries = "Deliveries"
	tagTelemetry  = "Telemetry"
	tagKeys       = "API keys"
	tagOperations = "Operations"
)

// routes lists every call.
func routes() []route {
	const (
		get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete

		write  = cybervault.ScopeEventsWrite
		ingest = cybervault.ScopeTelemetryWrite
		read   = cybervault.ScopeRead
		admin  = cybervault.ScopeAdmin
	)
	all := []route{
		{method: post, pattern: "/v1/events", scope: write, handle: (*server).publish, about: publishDoc},
		{method: post, pattern: "/v1/events/batch", scope: write, handle: (*server).publishBatch, about: publishBatchDoc},
		{method: get, pattern: "/v1/events", scope: read, handle: (*server).listEvents, about: listEventsDoc},
		{method: get, pattern: "/v1/events/{id}", scope: read, handle: (*server).getEvent, about: getEventDoc},
		{method: get, pattern: "/v1/events/{id}/deliveries", scope: read, handle: (*server).listEventDeliveries, about: listEventDeliveriesDoc},
		{method: get, pattern: "/v1/event-types", scope: read, handle: (*server).listEventTypes, about: listEventTypesDoc},
		{method: get, pattern: "/v1/event-types/{type}", scope: read, handle: (*server).getEventType, about: getEventTypeDoc},

		{method: post, pattern: "/v1/webhooks", scope: admin, handle: (*server).createWebhook, about: createWebhookDoc},
		{method: get, pattern: "/v1/webhooks", scope: read, handle: (*server).listWebhooks, about: listWebhooksDoc},
		{method: get, pattern: "/v1/webhooks/{id}", scope: read, handle: (*server).getWebhook, about: getWebhookDoc},
		{method: patch, pattern: "/v1/webhooks/{id}", scope: admin, handle: (*server).updateWebhook, about: updateWebhookDoc},
		{method: del, pattern: "/v1/webhooks/{id}", scope: admin, handle: (*server).deleteWebhook, about: deleteWebhookDoc},
		{method: get, pattern: "/v1/webhooks/{id}/secret", scope: admin, handle: (*server).getSecret, about: getSecretDoc},
		{method: post, pattern: "/v1/webhooks/{id}/rotate-secret", scope: admin, handle: (*server).rotateSecret, about: rotateSecretDoc},
		{method: post, pattern: "/v1/webhooks/{id}/verify", scope: admin, handle: (*server).verifyWebhook, about: verifyWebhookDoc},
		{method: post, pattern: "/v1/webhooks/{id}/test", scope: admin, handle: (*server).testWebhook, about: testWebhookDoc},

		{method: get, pattern: "/v1/deliveries", scope: read, handle: (*server).listDeliveries, about: listDeliveriesDoc},
		{method: get, pattern: "/v1/deliveries/{id}", scope: read, handle: (*server).getDelivery, about: getDeliveryDoc},
		{method: post, pattern: "/v1/deliveries/{id}/replay", scope: admin, handle: (*server).replayDelivery, about: replayDeliveryDoc},
		{method: post, pattern: "/v1/deliveries/{id}/cancel", scope: admin, handle: (*server).cancelDelivery, about: cancelDeliveryDoc},

		{method: post, pattern: "/v1/telemetry", scope: ingest, handle: (*server).ingest, about: ingestDoc},

		{method: post, pattern: "/v1/keys", scope: admin, handle: (*server).createKey, about: createKeyDoc},
		{method: get, pattern: "/v1/keys", scope: admin, handle: (*server).listKeys, about: listKeysDoc},
		{method: del, pattern: "/v1/keys/{id}", scope: admin, handle: (*server).revokeKey, about: revokeKeyDoc},

		{method: get, pattern: "/healthz", handle: (*server).healthz, about: healthzDoc},
		{method: get, pattern: "/readyz", handle: (*server).readyz, about: readyzDoc},
		{method: get, pattern: "/metrics", handle: (*server).metrics, about: metricsDoc},
		{method: get, pattern: "/openapi.json", handle: (*server).openAPI, about: openAPIDoc},
	}
	for i := range all {
		all[i].about(&all[i])
	}
	return all
}

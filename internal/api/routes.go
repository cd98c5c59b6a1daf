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
	tagAgents     = "Agents"
	tagIncidents  = "Incidents"
	tagDetection  = "Detection"
	tagAudit      = "Audit log"
	tagKeys       = "API keys"
	tagUpkeep     = "Upkeep"
	tagOperations = "Operations"
)

// routes lists every call.
func routes() []route {
	const (
		get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete

		write  = cybervault.ScopeEventsWrite
		ingest = cybervault.ScopeTelemetryWrite
		read   = cybervault.ScopeRead
		fetch  = cybervault.ScopePoll
		agent  = cybervault.ScopeAgent
		admin  = cybervault.ScopeAdmin
	)
	all := []route{
		{method: post, pattern: "/v1/events", scope: write, handle: (*server).publish, about: aboutPublish},
		{method: post, pattern: "/v1/events/batch", scope: write, handle: (*server).publishBatch, about: aboutPublishBatch},
		{method: get, pattern: "/v1/events", scope: read, handle: (*server).listEvents, about: aboutListEvents},
		{method: get, pattern: "/v1/events/{id}", scope: read, handle: (*server).getEvent, about: aboutGetEvent},
		{method: get, pattern: "/v1/events/{id}/deliveries", scope: read, handle: (*server).listEventDeliveries, about: aboutListEventDeliveries},
		{method: get, pattern: "/v1/stream", scope: read, handle: (*server).stream, about: aboutStream},
		{method: get, pattern: "/v1/event-types", scope: read, handle: (*server).listEventTypes, about: aboutListEventTypes},
		{method: get, pattern: "/v1/event-types/{type}", scope: read, handle: (*server).getEventType, about: aboutGetEventType},
		{method: put, pattern: "/v1/event-types/{type}", scope: admin, handle: (*server).putEventType, about: aboutPutEventType},
		{method: del, pattern: "/v1/event-types/{type}", scope: admin, handle: (*server).deleteEventType, about: aboutDeleteEventType},

		{method: post, pattern: "/v1/webhooks", scope: admin, handle: (*server).createWebhook, about: aboutCreateWebhook},
		{method: get, pattern: "/v1/webhooks", scope: read, handle: (*server).listWebhooks, about: aboutListWebhooks},
		{method: post, pattern: "/v1/webhooks/preview", scope: read, handle: (*server).previewFilter, about: aboutPreviewFilter},
		{method: get, pattern: "/v1/webhooks/{id}", scope: read, handle: (*server).getWebhook, about: aboutGetWebhook},
		{method: patch, pattern: "/v1/webhooks/{id}", scope: admin, handle: (*server).updateWebhook, about: aboutUpdateWebhook},
		{method: del, pattern: "/v1/webhooks/{id}", scope: admin, handle: (*server).deleteWebhook, about: aboutDeleteWebhook},
		{method: get, pattern: "/v1/webhooks/{id}/secret", scope: admin, handle: (*server).getSecret, about: aboutGetSecret},
		{method: post, pattern: "/v1/webhooks/{id}/rotate-secret", scope: admin, handle: (*server).rotateSecret, about: aboutRotateSecret},
		{method: post, pattern: "/v1/webhooks/{id}/verify", scope: admin, handle: (*server).verifyWebhook, about: aboutVerifyWebhook},
		{method: post, pattern: "/v1/webhooks/{id}/test", scope: admin, handle: (*server).testWebhook, about: aboutTestWebhook},
		{method: get, pattern: "/v1/webhooks/{id}/sequence", scope: read, handle: (*server).listSequence, about: aboutListSequence},
		{method: get, pattern: "/v1/webhooks/{id}/poll", scope: fetch, handle: (*server).poll, about: aboutPoll},
		{method: post, pattern: "/v1/webhooks/{id}/replay", scope: admin, handle: (*server).replayWebhook, about: aboutReplayWebhook},

		{method: get, pattern: "/v1/deliveries", scope: read, handle: (*server).listDeliveries, about: aboutListDeliveries},
		{method: get, pattern: "/v1/deliveries/{id}", scope: read, handle: (*server).getDelivery, about: aboutGetDelivery},
		{method: post, pattern: "/v1/deliveries/{id}/replay", scope: admin, handle: (*server).replayDelivery, about: aboutReplayDelivery},
		{method: post, pattern: "/v1/deliveries/{id}/cancel", scope: admin, handle: (*server).cancelDelivery, about: aboutCancelDelivery},
		{method: get, pattern: "/v1/deliveries/{id}/proof", scope: read, handle: (*server).proveDelivery, about: aboutProveDelivery},
		{method: get, pattern: "/v1/replays", scope: read, handle: (*server).listReplays, about: aboutListReplays},
		{method: get, pattern: "/v1/replays/{id}", scope: read, handle: (*server).getReplay, about: aboutGetReplay},
		{method: post, pattern: "/v1/replays/{id}/cancel", scope: admin, handle: (*server).cancelReplay, about: aboutCancelReplay},

		{method: post, pattern: "/v1/telemetry", scope: ingest, handle: (*server).ingest, about: aboutIngest},
		{method: post, pattern: "/v1/logs", scope: ingest, handle: (*server).logs, about: aboutLogs},

		{method: post, pattern: "/v1/agents", handle: (*server).enrolAgent, about: aboutEnrolAgent},
		{method: get, pattern: "/v1/agents", scope: read, handle: (*server).listAgents, about: aboutListAgents},
		{method: get, pattern: "/v1/agents/{id}", scope: read, handle: (*server).getAgent, about: aboutGetAgent},
		{method: del, pattern: "/v1/agents/{id}", scope: admin, handle: (*server).deleteAgent, about: aboutDeleteAgent},
		{method: post, pattern: "/v1/agents/{id}/heartbeat", scope: agent, handle: (*server).beat, about: aboutBeat},
		{method: post, pattern: "/v1/agents/{id}/packages", scope: agent, handle: (*server).reportPackages, about: aboutReportPackages},
		{method: post, pattern: "/v1/agent-tokens", scope: admin, handle: (*server).createAgentToken, about: aboutCreateAgentToken},
		{method: get, pattern: "/v1/agent-tokens", scope: admin, handle: (*server).listAgentTokens, about: aboutListAgentTokens},
		{method: del, pattern: "/v1/agent-tokens/{id}", scope: admin, handle: (*server).deleteAgentToken, about: aboutDeleteAgentToken},

		{method: get, pattern: "/v1/alerts", scope: read, handle: (*server).listAlerts, about: aboutListAlerts},

		{method: get, pattern: "/v1/incidents", scope: read, handle: (*server).listIncidents, about: aboutListIncidents},
		{method: get, pattern: "/v1/incidents/{id}", scope: read, handle: (*server).getIncident, about: aboutGetIncident},
		{method: patch, pattern: "/v1/incidents/{id}", scope: admin, handle: (*server).updateIncident, about: aboutUpdateIncident},
		{method: post, pattern: "/v1/incidents/{id}/merge", scope: admin, handle: (*server).mergeIncident, about: aboutMergeIncident},

		{method: get, pattern: "/v1/rules", scope: read, handle: (*server).listRules, about: aboutListRules},
		{method: patch, pattern: "/v1/rules/{id}", scope: admin, handle: (*server).updateRule, about: aboutUpdateRule},
		{method: get, pattern: "/v1/exceptions", scope: read, handle: (*server).listExceptions, about: aboutListExceptions},
		{method: post, pattern: "/v1/exceptions", scope: admin, handle: (*server).createException, about: aboutCreateException},
		{method: post, pattern: "/v1/exceptions/preview", scope: read, handle: (*server).previewException, about: aboutPreviewException},
		{method: del, pattern: "/v1/exceptions/{id}", scope: admin, handle: (*server).deleteException, about: aboutDeleteException},

		{method: get, pattern: "/v1/audit/key", scope: read, handle: (*server).auditKey, about: aboutAuditKey},
		{method: get, pattern: "/v1/audit/checkpoint", scope: read, handle: (*server).auditCheckpoint, about: aboutAuditCheckpoint},
		{method: get, pattern: "/v1/audit/entries", scope: read, handle: (*server).auditEntries, about: aboutAuditEntries},
		{method: get, pattern: "/v1/audit/actions", scope: admin, handle: (*server).listActions, about: aboutListActions},
		{method: get, pattern: "/v1/audit/actions/export", scope: admin, handle: (*server).exportActions, about: aboutExportActions},
		{method: get, pattern: "/v1/audit/tile/{path...}", scope: read, handle: (*server).auditTile, about: aboutAuditTile},

		{method: post, pattern: "/v1/keys", scope: admin, handle: (*server).createKey, about: aboutCreateKey},
		{method: get, pattern: "/v1/keys", scope: admin, handle: (*server).listKeys, about: aboutListKeys},
		{method: del, pattern: "/v1/keys/{id}", scope: admin, handle: (*server).revokeKey, about: aboutRevokeKey},

		{method: get, pattern: "/v1/backup", scope: admin, handle: (*server).backup, about: aboutBackup},
		{method: get, pattern: "/v1/doctor", scope: admin, handle: (*server).doctor, about: aboutDoctor},

		{method: get, pattern: "/healthz", handle: (*server).healthz, about: aboutHealthz},
		{method: get, pattern: "/readyz", handle: (*server).readyz, about: aboutReadyz},
		{method: get, pattern: "/metrics", handle: (*server).metrics, about: aboutMetrics},
		{method: get, pattern: "/openapi.json", handle: (*server).openAPI, about: aboutOpenAPI},
	}
	for i := range all {
		all[i].about(&all[i])
	}
	return all
}

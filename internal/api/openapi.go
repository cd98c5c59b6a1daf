package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// describe makes the OpenAPI 3.1 document out of the route table, the field
// tables, the answer structs and the catalogue's core types.
func (s *server) describe() ([]byte, error) {
	parts := components{}
	parts["Problem"] = parts.structure(reflect.TypeFor[problemJSON]())
	paths := schema{}
	for _, rt := range routes() {
		path := documented(rt.pattern)
		item, ok := paths[path].(schema)
		if !ok {
			item = schema{}
			paths[path] = item
		}
		item[strings.ToLower(rt.method)] = parts.operation(rt)
	}
	hooks, err := s.describeWebhooks(parts)
	if err != nil {
		return nil, err
	}
	version := s.Version
	if version == "" {
		version = "unversioned"
	}
	document := schema{
		"openapi":           "3.1.0",
		"jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
		"info": schema{
			"title":       "CyberVault",
			"version":     version,
			"summary":     "Security events, delivered as signed webhooks.",
			"description": "Lists are newest first and answer data and next_cursor. Errors are problem documents (RFC 9457) that name the field and say what would be right.",
			"license":     schema{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []schema{{"url": "/"}},
		"tags":     tags(),
		"paths":    paths,
		"webhooks": hooks,
		"components": schema{
			"schemas":         map[string]any(parts),
			"securitySchemes": securitySchemes(),
			"responses":       problemResponses(),
			"headers":         responseHeaders(),
		},
	}
	body, err := encode(document)
	if err != nil {
		return nil, fmt.Errorf("api: encode the OpenAPI document: %w", err)
	}
	return body, nil
}

func tags() []schema {
	return []schema{
		{"name": tagEvents, "description": "Publish events, read them back, and look up their types."},
		{"name": tagWebhooks, "description": "Where events are delivered to, and how."},
		{"name": tagDeliveries, "description": "What became of each event at each webhook."},
		{"name": tagTelemetry, "description": "Raw records for the threat engine."},
		{"name": tagAgents, "description": "Managed machines: how they enrol, and whether they are heard of."},
		{"name": tagIncidents, "description": "What belongs together of what the threat engine found, and its life."},
		{"name": tagDetection, "description": "The rules of the threat engine, and what it is to leave out."},
		{"name": tagAudit, "description": "Proofs that what the delivery log says was not changed afterwards."},
		{"name": tagKeys, "description": "Credentials of programs."},
		{"name": tagUpkeep, "description": "For whoever keeps the server."},
		{"name": tagOperations, "description": "For whoever runs the server; no API key is needed."},
	}
}

const (
	schemeBearer   = "apiKey"
	schemeStandard = "standardWebhooksSignature"
	schemeHex      = "hexSignature"
)

func securitySchemes() schema {
	return schema{
		schemeBearer: schema{
			"type": "http", "scheme": "bearer",
			"description": "An API key. It belongs to one workspace and has scopes: events:write, telemetry:write, read, deliveries:poll, and admin, which includes the others.",
		},
		schemeStandard: schema{
			"type": "apiKey", "in": "header", "name": "webhook-signature",
			"description": "Standard Webhooks 1.0: v1,<base64 HMAC-SHA256 of \"{webhook-id}.{webhook-timestamp}.{body}\">, keyed with the base64 decoding of what follows whsec_; one for each live secret, separated by spaces. " +
				"For a webhook with the signature ed25519: v1a,<base64 Ed25519 signature of the same>, verified with its public_key; one for each live key.",
		},
		schemeHex: schema{
			"type": "apiKey", "in": "header", "name": "X-CyberVault-Signature",
			"description": "Lower-case hex HMAC-SHA256 of the body, keyed with the bytes of the secret as it is shown.",
		},
	}
}

// operation describes one route.
func (c components) operation(rt route) schema {
	op := schema{"operationId": rt.id, "tags": []string{rt.tag}, "summary": rt.summary, "description": rt.doc}
	if rt.scope == "" {
		op["security"] = []schema{}
	} else {
		op["security"] = []schema{{schemeBearer: []string{string(rt.scope)}}}
		op["description"] = rt.doc + "\n\nNeeds the scope `" + string(rt.scope) + "`."
	}
	if parameters := c.parameters(rt); len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if rt.body != nil {
		op["requestBody"] = c.requestBody(rt.body)
	}
	responses := schema{}
	for _, a := range rt.answers {
		response := schema{"description": a.doc}
		if a.schema != nil {
			media := a.media
			if media == "" {
				media = "application/json"
			}
			response["content"] = schema{media: schema{"schema": c.resolve(a.schema)}}
		}
		headers := schema{"X-Request-Id": ref("headers", "X-Request-Id")}
		for _, name := range a.headers {
			headers[name] = ref("headers", name)
		}
		response["headers"] = headers
		responses[itoa(a.status)] = response
	}
	for _, status := range problemsOf(rt) {
		responses[itoa(status)] = ref("responses", problemName(status))
	}
	op["responses"] = responses
	return op
}

// documented is a pattern without the mux's way to say that a parameter may have
// several parts.
func documented(pattern string) string { return strings.ReplaceAll(pattern, "...}", "}") }

func ref(section, name string) schema { return schema{"$ref": "#/components/" + section + "/" + name} }

func (c components) parameters(rt route) []schema {
	var all []schema
	for part := range strings.SplitSeq(documented(rt.pattern), "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			all = append(all, schema{"name": strings.TrimSuffix(name, "}"), "in": "path", "required": true, "schema": schema{"type": "string"}})
		}
	}
	for _, p := range rt.params {
		all = append(all, schema{"name": p.name, "in": "query", "description": p.doc, "schema": c.resolve(p.schema)})
	}
	for _, p := range rt.headers {
		all = append(all, schema{"name": p.name, "in": "header", "description": p.doc, "schema": c.resolve(p.schema)})
	}
	return all
}

func (c components) requestBody(body *bodyDoc) schema {
	content := schema{}
	for _, media := range body.media {
		described := schema{"schema": c.resolve(body.schema)}
		if strings.Contains(media, "ndjson") {
			described["schema"] = schema{"type": "string", "description": "One JSON object a line."}
		} else if body.example != nil {
			described["example"] = body.example
		}
		content[media] = described
	}
	return schema{"required": !body.optional, "content": content}
}

// problemsOf lists the statuses of the problems a route can answer: its own, and
// those that follow from what it reads.
func problemsOf(rt route) []int {
	all := slices.Clone(rt.errors)
	if rt.scope != "" {
		all = append(all, http.StatusUnauthorized, http.StatusForbidden)
	}
	if strings.Contains(rt.pattern, "{") {
		all = append(all, http.StatusNotFound)
	}
	if rt.method == http.MethodPost || rt.method == http.MethodPatch {
		all = append(all, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	// An unknown query parameter is refused by every route.
	all = append(all, http.StatusUnprocessableEntity, http.StatusInternalServerError)
	slices.Sort(all)
	return slices.Compact(all)
}

func problemName(status int) string {
	return strings.ReplaceAll(http.StatusText(status), " ", "")
}

func problemResponses() schema {
	all := schema{}
	for status, doc := range map[int]string{
		http.StatusBadRequest:            "The request could not be read: the body is not JSON, or broke off.",
		http.StatusUnauthorized:          "No API key was given, or it is unknown or revoked.",
		http.StatusForbidden:             "The API key lacks the scope that the call needs.",
		http.StatusNotFound:              "The workspace has no such thing.",
		http.StatusConflict:              "It does not fit what is stored.",
		http.StatusGone:                  "The position is not kept any more: begin anew.",
		http.StatusRequestEntityTooLarge: "The body is too large.",
		http.StatusUnsupportedMediaType:  "The body has a Content-Type or Content-Encoding that the call does not read.",
		http.StatusUnprocessableEntity:   "A field, a query parameter or a header is wrong; field and errors name it.",
		http.StatusInternalServerError:   "Something went wrong inside CyberVault.",
		http.StatusServiceUnavailable:    "It cannot be done now, and nothing was kept. Try again after Retry-After.",
	} {
		headers := schema{"X-Request-Id": ref("headers", "X-Request-Id")}
		switch status {
		case http.StatusUnauthorized, http.StatusForbidden:
			headers["WWW-Authenticate"] = ref("headers", "WWW-Authenticate")
		case http.StatusServiceUnavailable:
			headers["Retry-After"] = ref("headers", "Retry-After")
		}
		all[problemName(status)] = schema{
			"description": doc,
			"headers":     headers,
			"content":     schema{"application/problem+json": schema{"schema": ref("schemas", "Problem")}},
		}
	}
	return all
}

func responseHeaders() schema {
	text := schema{"type": "string"}
	return schema{
		"X-Request-Id":        schema{"description": "Names the request in the server's log; the caller's own if it sent one.", "schema": text},
		"Location":            schema{"description": "Where to read what was made.", "schema": text},
		"Idempotent-Replayed": schema{"description": "true where the answer is that of an earlier call.", "schema": text},
		"WWW-Authenticate":    schema{"description": "What the call needs (RFC 6750).", "schema": text},
		"Retry-After":         schema{"description": "Seconds to wait.", "schema": schema{"type": "integer"}},
	}
}

// describeWebhooks describes what receivers get: one entry for each core type.
func (s *server) describeWebhooks(parts components) (schema, error) {
	hooks := schema{}
	for _, t := range s.Catalogue.List(cybervault.WorkspaceID{}) {
		var data map[string]any
		if err := json.Unmarshal(t.Schema, &data); err != nil {
			return nil, fmt.Errorf("api: the schema of %s: %w", t.Name, err)
		}
		delete(data, "$schema")
		delete(data, "$id")
		rebase(data, "#/components/schemas/data."+t.Name)
		parts["data."+t.Name] = data
		hooks[t.Name] = schema{"post": schema{
			"operationId": "receive." + t.Name,
			"summary":     t.Name,
			"description": t.Description + "\n\nSeverity: " + string(t.Severity) + ".",
			"security":    []schema{{schemeStandard: []string{}}, {schemeHex: []string{}}},
			"parameters":  deliveryHeaders(),
			"requestBody": schema{"required": true, "content": schema{"application/json": schema{
				"schema": schema{"allOf": []schema{
					parts.schemaOf(reflect.TypeFor[cybervault.Envelope]()),
					{"type": "object", "properties": schema{"event": schema{"const": t.Name}, "data": schema{"$ref": "#/components/schemas/data." + t.Name}}},
				}},
				"example": exampleEnvelope(t),
			}}},
			"responses": schema{
				"200":     schema{"description": "Taken. 201 is success too, and any other 2xx where the webhook says so."},
				"410":     schema{"description": "Gone: the webhook is disabled."},
				"429":     schema{"description": "Too many: tried again, not before Retry-After."},
				"default": schema{"description": "Failed: tried again by the retry schedule. Redirects are not followed."},
			},
		}}
	}
	return hooks, nil
}

// rebase makes the references within a schema, which count from its own top,
// count from the top of the document. An $id of its own would do the same by the
// standard, but few tools that read OpenAPI honour one.
func rebase(v any, base string) {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if ref, ok := inner.(string); ok && k == "$ref" && strings.HasPrefix(ref, "#") {
				v[k] = base + strings.TrimPrefix(ref, "#")
			}
			rebase(inner, base)
		}
	case []any:
		for _, inner := range v {
			rebase(inner, base)
		}
	}
}

// exampleEnvelope wraps a type's example as it would be delivered.
func exampleEnvelope(t cybervault.EventType) schema {
	return schema{
		"id": "wh_01946a2e-1c00-7000-8000-000000000001", "event": t.Name, "timestamp": "2025-01-15T14:32:00Z", "data": t.Example,
		"metadata": schema{
			"workspace_id": "ws_01946a2e-1c00-7000-8000-000000000002", "engine_version": "ai_v1",
			"idempotency_key": "idm_01946a2e-1c00-7000-8000-000000000001",
		},
	}
}

func deliveryHeaders() []schema {
	header := func(name, doc string, s schema, required bool) schema {
		return schema{"name": name, "in": "header", "required": required, "description": doc, "schema": s}
	}
	text, number := schema{"type": "string"}, schema{"type": "integer", "minimum": 1}
	return []schema{
		header("webhook-id", "The event's id: the same on every attempt, so that a receiver can tell what it has seen.", text, true),
		header("webhook-timestamp", "Unix seconds of the attempt.", schema{"type": "integer"}, true),
		header("X-CyberVault-Event", "The event type.", text, true),
		header("X-CyberVault-Delivery", "The delivery's id.", text, true),
		header("X-CyberVault-Attempt", "1, 2, 3 and so on.", number, true),
		header("X-CyberVault-Sequence", "The webhook's own gapless number of this delivery.", number, true),
		header("X-CyberVault-Signature-Next", "During a rotation: the hex signature with the new secret.", text, false),
		header("X-CyberVault-Test", "true on a test payload or an example.", text, false),
	}
}

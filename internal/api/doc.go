// Package api is the HTTP API under /v1, with its own description at
// /openapi.json and the operations pages /healthz, /readyz and /metrics.
//
// It stands at the edge of the flow: it reads a request strictly, asks access
// who sent it, calls the one service that does the work, and writes the answer
// or a problem document (RFC 9457). Every route is in routes.go; each resource
// has a file of its own; the OpenAPI document is made from the same route table,
// field tables and answer structs that serve the requests, so that it cannot
// say something else than the code does.
//
// It never stores, matches, delivers or validates against a type's schema: those
// are the services' work. It never decodes a payload further than to the raw
// bytes of "data", and never logs a key, a secret, a payload or a query text.
package api

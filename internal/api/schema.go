package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// schema is a JSON Schema (2020-12) or another object of the OpenAPI document.
type schema map[string]any

// of refers to the schema of an answer's struct; it is resolved when the
// document is made.
func of[T any]() schema { return schema{goType: reflect.TypeFor[T]()} }

// listOf refers to one page of a list.
func listOf[T any]() schema {
	return schema{
		"type":     "object",
		"required": []string{"data", "next_cursor"},
		"properties": schema{
			"data": schema{"type": "array", "items": of[T]()},
			"next_cursor": schema{
				"type":        []string{"string", "null"},
				"description": "Give it as cursor to get the next page; null on the last one.",
			},
		},
	}
}

// goType marks a reference that is not resolved yet.
const goType = "x-go-type"

// components gathers the schemas of structs under their names.
type components map[string]any

// componentName gives the name of a struct that stands in the document under one
// of its own; "" for one that is described where it is used.
func componentName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[cybervault.Envelope]():
		return "Event"
	case reflect.TypeFor[cybervault.PublishReceipt](), reflect.TypeFor[cybervault.TelemetryReceipt](),
		reflect.TypeFor[cybervault.UnreadableLine](), reflect.TypeFor[cybervault.EventType](), reflect.TypeFor[cybervault.Metadata](),
		reflect.TypeFor[cybervault.FilterPreview](), reflect.TypeFor[cybervault.FilterVerdict]():
		return t.Name()
	}
	if name, ok := strings.CutSuffix(t.Name(), "JSON"); ok {
		return strings.ToUpper(name[:1]) + name[1:]
	}
	return ""
}

// resolve replaces every mark of `of` within v by the schema it stands for.
func (c components) resolve(v any) any {
	switch v := v.(type) {
	case schema:
		if t, ok := v[goType].(reflect.Type); ok {
			return c.schemaOf(t)
		}
		resolved := make(schema, len(v))
		for k, inner := range v {
			resolved[k] = c.resolve(inner)
		}
		return resolved
	case []schema:
		resolved := make([]any, len(v))
		for i, inner := range v {
			resolved[i] = c.resolve(inner)
		}
		return resolved
	}
	return v
}

// schemaOf describes how encoding/json writes a value of type t.
func (c components) schemaOf(t reflect.Type) schema {
	if s := scalar(t); s != nil {
		return s
	}
	switch t.Kind() { //nolint:exhaustive // the kinds that answers are made of; another one panics below
	case reflect.Pointer:
		return nullable(c.schemaOf(t.Elem()))
	case reflect.Slice:
		return schema{"type": "array", "items": c.schemaOf(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": c.schemaOf(t.Elem())}
	case reflect.Struct:
		name := componentName(t)
		if name == "" {
			return c.structure(t)
		}
		if _, ok := c[name]; !ok {
			c[name] = nil // ends a recursion
			c[name] = c.structure(t)
		}
		return schema{"$ref": "#/components/schemas/" + name}
	}
	panic(fmt.Sprintf("api: no schema for %s", t)) // a type that a test would meet first
}

// scalar describes the types that are written as one plain value.
func scalar(t reflect.Type) schema {
	switch t {
	case reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return schema{"type": "object"}
	case reflect.TypeFor[[]byte]():
		return schema{"type": "string", "contentEncoding": "base64"}
	case reflect.TypeFor[cybervault.Severity]():
		return enum(cybervault.SeverityInfo, cybervault.SeverityLow, cybervault.SeverityMedium, cybervault.SeverityHigh, cybervault.SeverityCritical)
	case reflect.TypeFor[cybervault.WebhookStatus]():
		return enum(cybervault.WebhookEnabled, cybervault.WebhookDisabled)
	case reflect.TypeFor[cybervault.Accept]():
		return enum(cybervault.AcceptDefault, cybervault.AcceptAny2xx)
	case reflect.TypeFor[cybervault.Signature]():
		return enum(cybervault.SignatureHMAC, cybervault.SignatureEd25519)
	case reflect.TypeFor[cybervault.AuthenticationType]():
		return enum(cybervault.AuthenticationBasic, cybervault.AuthenticationBearer, cybervault.AuthenticationOAuth2)
	case reflect.TypeFor[cybervault.ClientAuthentication]():
		return enum(cybervault.ClientBasic, cybervault.ClientBody)
	case reflect.TypeFor[cybervault.CheckStatus]():
		return enum(cybervault.CheckStatuses()...)
	case reflect.TypeFor[cybervault.DeliveryStatus]():
		return enum(cybervault.DeliveryStatuses()...)
	case reflect.TypeFor[cybervault.IncidentStatus]():
		return enum(cybervault.IncidentStatuses()...)
	case reflect.TypeFor[cybervault.IncidentDisposition]():
		return enum(cybervault.IncidentDispositions()...)
	case reflect.TypeFor[cybervault.Resolution]():
		return enum(cybervault.ResolvedByPerson, cybervault.ResolvedByQuiet, cybervault.ResolvedByMerge)
	case reflect.TypeFor[cybervault.AuditKind]():
		return enum(cybervault.AuditEvent, cybervault.AuditOutcome, cybervault.AuditMissing, cybervault.AuditGap)
	case reflect.TypeFor[cybervault.Scope]():
		return enum(cybervault.Scopes()...)
	case reflect.TypeFor[cybervault.Failure]():
		return enum(cybervault.FailureStatus, cybervault.FailureTimeout, cybervault.FailureDNS, cybervault.FailureConnect,
			cybervault.FailureTLS, cybervault.FailureRedirect, cybervault.FailureBlockedAddress, cybervault.FailureProtocol)
	}
	if id, ok := reflect.TypeAssert[interface{ Prefix() string }](reflect.Zero(t)); ok && t.Kind() != reflect.Pointer {
		return schema{"type": "string", "pattern": "^" + id.Prefix() + "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"}
	}
	switch t.Kind() { //nolint:exhaustive // the other kinds are no scalars
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return schema{"type": "integer"}
	case reflect.Float64:
		return schema{"type": "number"}
	}
	return nil
}

func enum[S ~string](values ...S) schema {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return schema{"type": "string", "enum": names}
}

// structure describes a struct by its json, doc and format tags.
func (c components) structure(t reflect.Type) schema {
	properties, required := c.properties(t)
	return schema{"type": "object", "properties": properties, "required": required}
}

func (c components) properties(t reflect.Type) (properties schema, required []string) {
	properties, required = schema{}, []string{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if f.Anonymous {
			inner, needed := c.properties(f.Type)
			maps.Copy(properties, inner)
			required = append(required, needed...)
			continue
		}
		property := maps.Clone(c.schemaOf(f.Type))
		if doc := fieldDoc(t, f); doc != "" {
			property["description"] = doc
		}
		if format := f.Tag.Get("format"); format != "" {
			property["format"] = format
		}
		properties[name] = property
		if options == "" {
			required = append(required, name)
		}
	}
	return properties, required
}

// fieldDoc returns what is said of a field: its doc tag, or for the structs of the
// root package, which know nothing of this document, an entry here.
func fieldDoc(t reflect.Type, f reflect.StructField) string {
	if doc := f.Tag.Get("doc"); doc != "" {
		return doc
	}
	return map[string]string{
		"Envelope.ID":                 "The event's id, the same on every delivery and attempt.",
		"Envelope.Event":              "The event type.",
		"Envelope.Timestamp":          "When it happened.",
		"Envelope.Data":               "What happened, as the event type's schema says.",
		"Metadata.EngineVersion":      "The version of the threat engine.",
		"Metadata.IdempotencyKey":     "The publisher's idempotency key, or one that CyberVault made.",
		"PublishReceipt.Deliveries":   "How many deliveries were made for it; skipped ones are not counted.",
		"TelemetryReceipt.Records":    "How many records were read.",
		"TelemetryReceipt.Unreadable": "How many lines could not be read.",
		"TelemetryReceipt.Samples":    "The first of the lines that could not be read.",
		"TelemetryReceipt.Events":     "The events published because of these records.",
		"FilterPreview.Examined":      "How many events were looked at: the newest of the chosen types, at most 200.",
		"FilterPreview.Matched":       "How many of them would have been delivered.",
		"FilterPreview.Errors":        "On how many the filter could not be evaluated.",
		"FilterPreview.Sample":        "Some of the events, newest first, of each outcome some.",
		"FilterVerdict.Event":         "The event's id.",
		"FilterVerdict.Type":          "The event type.",
		"FilterVerdict.Matched":       "Whether it would have been delivered.",
		"FilterVerdict.Why":           "What the filter said, or what hindered it.",
		"UnreadableLine.Line":         "The number of the line, from 1.",
		"UnreadableLine.Reason":       "What was expected.",
		"UnreadableLine.Text":         "The line, shortened.",
		"EventType.Core":              "Whether it is a core type; false for one of the workspace's own.",
		"EventType.Schema":            "The JSON Schema (2020-12) of the envelope's data.",
		"EventType.Example":           "A data object that the schema accepts.",
	}[t.Name()+"."+f.Name]
}

// nullable allows null besides what s allows.
func nullable(s schema) schema {
	t, ok := s["type"].(string)
	if !ok {
		return schema{"anyOf": []schema{s, {"type": "null"}}}
	}
	widened := maps.Clone(s)
	widened["type"] = []string{t, "null"}
	if names, ok := s["enum"].([]string); ok {
		values := make([]any, 0, len(names)+1)
		for _, n := range names {
			values = append(values, n)
		}
		widened["enum"] = append(values, nil)
	}
	return widened
}

package telemetry

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cybervault/cybervault"
)

// maxOTLPDepth bounds how deep values may lie within each other.
const maxOTLPDepth = 16

// ParseOTLP reads the logs of one OTLP export, in protobuf or as JSON, and hands
// each record to yield. A body of text is read as a line is, whatever its format;
// one of fields as the JSON object that it would be. Attributes become fields
// where the body has none of their name. It stops with yield's error, the
// context's, and with CodeInvalid where the message cannot be decoded, of which
// nothing was handed on then. Options.MaxLine and MaxBytes do not count: the
// message is in memory.
func ParseOTLP(ctx context.Context, message []byte, asJSON bool, opts Options, yield func(*cybervault.Record) error) (Summary, error) {
	p, err := newParser(opts, nil)
	if err != nil {
		return Summary{}, err
	}
	// An export request has the fields that LogsData has, by the same numbers.
	var logs logsv1.LogsData
	if asJSON {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(message, &logs)
	} else {
		err = proto.Unmarshal(message, &logs)
	}
	if err != nil {
		return Summary{}, &cybervault.Error{Code: cybervault.CodeInvalid, Err: err, Message: "the body is no ExportLogsServiceRequest: send OTLP logs, in protobuf as application/x-protobuf or as application/json"}
	}
	p.sum.Bytes = int64(len(message))
	for _, resource := range logs.GetResourceLogs() {
		about := attributes(resource.GetResource().GetAttributes())
		p.opts.Source = opts.Source
		if name := about.one["service.name"]; name != "" && opts.Source == "" {
			p.opts.Source = name
		}
		for _, scope := range resource.GetScopeLogs() {
			for _, entry := range scope.GetLogRecords() {
				if err := ctx.Err(); err != nil {
					return p.sum, err
				}
				p.line++
				p.yield = func(rec *cybervault.Record) error {
					complete(rec, entry, about)
					return yield(rec)
				}
				if err := p.otlpRecord(entry); err != nil {
					return p.sum, err
				}
			}
		}
	}
	return p.sum, p.auditFlush()
}

// otlpRecord reads one record. Lines of an audit event may wait for the ones that follow.
func (p *parser) otlpRecord(entry *logsv1.LogRecord) error {
	var rec *cybervault.Record
	var raw []byte
	switch body := entry.GetBody().GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		s := strings.TrimSpace(oneLine(strings.ToValidUTF8(body.StringValue, "\uFFFD")))
		raw = []byte(s)
		switch {
		case s == "":
		case s[0] == '{':
			rec = p.jsonWithin(s)
		default:
			if ours, err := p.auditLine(s, raw); ours {
				return err
			}
			rec, _ = p.text(s)
		}
		if rec == nil && s != "" {
			rec = &cybervault.Record{Fields: map[string]string{cybervault.FieldMessage: s}}
			loginWords(rec, s)
		}
	case nil:
	default:
		var err error
		if raw, err = json.Marshal(plain(entry.GetBody(), 0)); err != nil { // strings, whole numbers, lists and maps: it cannot fail
			return err
		}
		if _, list := body.(*commonv1.AnyValue_KvlistValue); list {
			rec = p.jsonWithin(string(raw))
		}
		if rec == nil {
			v := newValues()
			flatten(v, "", entry.GetBody(), 0)
			rec = &cybervault.Record{Fields: v.one, Multi: v.many}
		}
	}
	if rec == nil && len(entry.GetAttributes()) == 0 {
		p.unreadable(p.line, "a log record with a body or with attributes was expected", nil)
		return nil
	}
	if rec == nil {
		rec = &cybervault.Record{Fields: map[string]string{}}
	}
	if len(raw) == 0 {
		raw, _ = protojson.Marshal(entry)
	}
	return p.emit(rec, raw, p.line)
}

// complete lends a record what stands beside its body.
func complete(rec *cybervault.Record, entry *logsv1.LogRecord, resource *values) {
	if rec.Fields == nil {
		rec.Fields = map[string]string{}
	}
	beside := attributes(entry.GetAttributes())
	if entry.GetSeverityText() != "" {
		beside.add("level", entry.GetSeverityText())
	}
	for _, from := range []*values{beside, resource} {
		for name, value := range from.one {
			if rec.Fields[name] == "" && rec.Multi[name] == nil {
				rec.Fields[name] = value
			}
		}
		for name, all := range from.many {
			if _, told := rec.Fields[name]; !told && rec.Multi[name] == nil {
				if rec.Multi == nil {
					rec.Multi = map[string][]string{}
				}
				rec.Multi[name] = all
			}
		}
	}
	f := rec.Fields
	if rec.Host == "" {
		rec.Host = first(f, "host.name", "k8s.node.name")
	}
	if rec.SourceIP == "" {
		rec.SourceIP = ipOf(f, "client.address", "source.address", "source.ip", "client.ip", "net.peer.ip", "network.peer.address")
	}
	if rec.User == "" {
		rec.User = first(f, "user.name", "enduser.id", "user.id")
	}
	for _, ns := range []uint64{entry.GetTimeUnixNano(), entry.GetObservedTimeUnixNano()} {
		if at := time.Unix(0, int64(ns)).UTC(); rec.Time.IsZero() && ns > 0 && inRange(at) {
			rec.Time = at
		}
	}
}

func attributes(list []*commonv1.KeyValue) *values {
	v := newValues()
	for _, kv := range list {
		flatten(v, kv.GetKey(), kv.GetValue(), 0)
	}
	return v
}

// flatten adds a value under its name, nested names joined by dots.
func flatten(v *values, name string, value *commonv1.AnyValue, depth int) {
	if depth > maxOTLPDepth || len(v.one)+len(v.many) >= 4*maxPairs {
		return
	}
	switch x := value.GetValue().(type) {
	case *commonv1.AnyValue_KvlistValue:
		for _, kv := range x.KvlistValue.GetValues() {
			inner := kv.GetKey()
			if name != "" {
				inner = name + "." + inner
			}
			flatten(v, inner, kv.GetValue(), depth+1)
		}
	case *commonv1.AnyValue_ArrayValue:
		for _, item := range x.ArrayValue.GetValues() {
			flatten(v, name, item, depth+1)
		}
	case nil:
	default:
		if name == "" {
			name = cybervault.FieldMessage
		}
		v.add(name, scalar(value))
	}
}

func scalar(value *commonv1.AnyValue) string {
	switch x := value.GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		return strings.ToValidUTF8(x.StringValue, "\uFFFD")
	case *commonv1.AnyValue_BoolValue:
		return strconv.FormatBool(x.BoolValue)
	case *commonv1.AnyValue_IntValue:
		return strconv.FormatInt(x.IntValue, 10)
	case *commonv1.AnyValue_DoubleValue:
		return strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	case *commonv1.AnyValue_BytesValue:
		return strings.ToValidUTF8(string(x.BytesValue), "\uFFFD")
	}
	return ""
}

// plain is a value as encoding/json writes it.
func plain(value *commonv1.AnyValue, depth int) any {
	if depth > maxOTLPDepth {
		return nil
	}
	switch x := value.GetValue().(type) {
	case *commonv1.AnyValue_KvlistValue:
		all := map[string]any{}
		for _, kv := range x.KvlistValue.GetValues() {
			all[kv.GetKey()] = plain(kv.GetValue(), depth+1)
		}
		return all
	case *commonv1.AnyValue_ArrayValue:
		all := []any{}
		for _, item := range x.ArrayValue.GetValues() {
			all = append(all, plain(item, depth+1))
		}
		return all
	case *commonv1.AnyValue_BoolValue:
		return x.BoolValue
	case *commonv1.AnyValue_IntValue:
		return x.IntValue
	case nil:
		return nil
	}
	return scalar(value)
}

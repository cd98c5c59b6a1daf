package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/cybervault/cybervault"
)

// MaxOTLPBytes bounds one export of OTLP logs, before and after gzip is undone.
const MaxOTLPBytes = 16 << 20

// otlpMemory is how much more a decoded export takes than its bytes, about.
const otlpMemory = 3

const (
	mediaProtobuf = "application/x-protobuf"
	mediaJSON     = "application/json"
)

// logs takes in OTLP logs over HTTP. It answers in the request's own encoding,
// and its errors are the Status that OTLP has, for its clients read no other.
func (s *server) logs(c *call) error {
	media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || media != mediaProtobuf && media != mediaJSON {
		return &problem{status: http.StatusUnsupportedMediaType, code: codeUnsupportedMedia,
			message: "the Content-Type " + shorten(c.r.Header.Get("Content-Type")) + " is not one that this call reads: send " + mediaProtobuf + " or " + mediaJSON}
	}
	answer, status := s.takeLogs(c, media == mediaJSON)
	c.w.Header().Set("Content-Type", media)
	if status == http.StatusServiceUnavailable {
		c.w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	c.w.WriteHeader(status)
	_, _ = c.w.Write(answer) // an error means that the caller has gone
	return nil
}

func (s *server) takeLogs(c *call, asJSON bool) (answer []byte, status int) {
	body, err := readOTLP(s, c)
	var receipt cybervault.TelemetryReceipt
	if err == nil {
		receipt, err = s.Telemetry.IngestOTLP(c.ctx(), c.workspace(), body, asJSON)
	}
	if err == nil {
		return otlpAnswer(receipt, asJSON), http.StatusOK
	}
	p := asProblem(err)
	if p.status == http.StatusUnprocessableEntity {
		p.status = http.StatusBadRequest // which tells OTLP's clients not to try again
	}
	if p.status >= http.StatusInternalServerError {
		s.Logger.ErrorContext(c.ctx(), "logs could not be taken in", "error", err)
	}
	return otlpStatus(p, asJSON), p.status
}

// readOTLP reads the body and undoes gzip.
func readOTLP(s *server, c *call) ([]byte, error) {
	if err := s.admit(c, MaxOTLPBytes); err != nil {
		return nil, err
	}
	body, err := readAll(c, MaxOTLPBytes)
	switch {
	case int64(len(body)) > MaxOTLPBytes:
		return nil, bodyTooLarge(MaxOTLPBytes)
	case err != nil:
		return nil, err
	}
	switch encoding := strings.ToLower(c.r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		if body, err = gunzip(c, body); err != nil {
			return nil, err
		}
	default:
		return nil, &problem{status: http.StatusUnsupportedMediaType, code: codeUnsupportedMedia, message: "the body has the Content-Encoding " + shorten(encoding) + ": send it as it is, or with gzip"}
	}
	return body, c.hold(int64(len(body)) * otlpMemory)
}

func gunzip(c *call, packed []byte) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, unreadable("the body is not gzip, which its Content-Encoding says")
	}
	var whole bytes.Buffer
	for int64(whole.Len()) <= MaxOTLPBytes {
		if err := c.hold(firstRead); err != nil {
			return nil, err
		}
		_, err := io.CopyN(&whole, zr, firstRead)
		if errors.Is(err, io.EOF) && int64(whole.Len()) <= MaxOTLPBytes {
			return whole.Bytes(), nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, unreadable("the compressed body is cut off or damaged")
		}
	}
	return nil, bodyTooLarge(MaxOTLPBytes)
}

// otlpAnswer is an ExportLogsServiceResponse: empty, or with how many records
// were not taken and why.
func otlpAnswer(receipt cybervault.TelemetryReceipt, asJSON bool) []byte {
	rejected, reason := receipt.Unreadable, ""
	if len(receipt.Samples) > 0 {
		reason = receipt.Samples[0].Reason
	}
	if asJSON {
		if rejected == 0 {
			return []byte("{}")
		}
		return mustJSON(map[string]any{"partialSuccess": map[string]string{"rejectedLogRecords": strconv.Itoa(rejected), "errorMessage": reason}})
	}
	if rejected == 0 {
		return nil
	}
	partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(rejected))
	partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), reason)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
}

// otlpStatus is a google.rpc.Status.
func otlpStatus(p *problem, asJSON bool) []byte {
	const invalidArgument, resourceExhausted, internal, unavailable = 3, 8, 13, 14
	code := uint64(invalidArgument)
	switch p.status {
	case http.StatusRequestEntityTooLarge:
		code = resourceExhausted
	case http.StatusServiceUnavailable:
		code = unavailable
	case http.StatusInternalServerError:
		code = internal
	}
	if asJSON {
		return mustJSON(map[string]any{"code": code, "message": p.Error()})
	}
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), code)
	return protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), p.Error())
}

func mustJSON(value any) []byte {
	b, err := json.Marshal(value)
	if err != nil { // strings and numbers only: cannot fail
		panic(err)
	}
	return b
}

func aboutLogs(rt *route) {
	rt.id, rt.tag, rt.summary = "exportLogs", tagTelemetry, "Export OTLP logs"
	rt.doc = "OpenTelemetry's own call: an ExportLogsServiceRequest in protobuf (application/x-protobuf) or as JSON, gzip allowed. " +
		"Answered in the same encoding when the events that the records led to are on disk. Errors of the call itself are a google.rpc.Status."
	rt.body = &bodyDoc{media: []string{mediaJSON, mediaProtobuf}, schema: schema{"type": "object", "additionalProperties": false, "properties": schema{
		"resourceLogs": schema{"type": "array", "items": schema{"type": "object"}}}}}
	rt.answers = []answer{{status: 200, doc: "Taken in; partialSuccess tells of records that could not be read.", schema: schema{"type": "object", "properties": schema{
		"partialSuccess": schema{"type": "object", "properties": schema{"rejectedLogRecords": schema{"type": "string"}, "errorMessage": schema{"type": "string"}}}}}}}
	rt.errors = []int{503}
}

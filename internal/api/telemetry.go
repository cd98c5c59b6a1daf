package api

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/cybervault/cybervault"
)

// MaxSourceBytes bounds the name of a telemetry source.
const MaxSourceBytes = 100

// maxFormatBytes bounds the name of a format; which there are is the service's to say.
const maxFormatBytes = 40

const sourceLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

func (s *server) ingest(c *call) error {
	f := &filters{query: c.query}
	source, _ := f.text("source")
	if len(source) > MaxSourceBytes || strings.Trim(source, sourceLetters) != "" {
		f.refusef("source", "%q is not a source: use up to %d letters, digits, dots, dashes and underscores", shorten(source), MaxSourceBytes)
	}
	format, _ := f.text("format")
	if len(format) > maxFormatBytes || strings.Trim(format, sourceLetters) != "" {
		f.refusef("format", "%q is not a format: use its word, such as cloudtrail, or leave it out", shorten(format))
	}
	if err := f.wrong.err(); err != nil {
		return err
	}
	switch encoding := strings.ToLower(c.r.Header.Get("Content-Encoding")); encoding {
	case "", "identity", "gzip", "x-gzip":
	default:
		c.w.Header().Set("Accept-Encoding", "gzip, identity")
		return &problem{
			status: http.StatusUnsupportedMediaType, code: codeUnsupportedMedia,
			message: "the body has the Content-Encoding " + shorten(encoding) + ": send it as it is, or with gzip",
		}
	}
	body := &boundedBody{body: c.r.Body, left: MaxTelemetryBytes}
	if c.r.ContentLength > MaxTelemetryBytes {
		return bodyTooLarge(MaxTelemetryBytes)
	}
	if err := s.admit(c, MaxTelemetryBytes); err != nil {
		return err
	}
	pieces := int64(telemetryBytes)
	if c.r.ContentLength >= 0 && c.r.ContentLength <= smallTelemetry {
		pieces = smallTelemetryBytes
	}
	if err := c.hold(pieces); err != nil {
		c.discard(MaxTelemetryBytes)
		return err
	}
	receipt, err := s.Telemetry.Ingest(c.ctx(), c.workspace(), source, format, body)
	switch {
	case body.failed != nil && err != nil:
		return body.failed // the cause of whatever the service said
	case err != nil:
		return err
	}
	if receipt.Samples == nil {
		receipt.Samples = []cybervault.UnreadableLine{}
	}
	if receipt.Events == nil {
		receipt.Events = []cybervault.EventID{}
	}
	return writeJSON(c, http.StatusOK, receipt)
}

// boundedBody is a body that fails once it is too long, and remembers why
// reading failed.
type boundedBody struct {
	body   io.Reader
	left   int64
	failed error
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.body.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		b.failed = bodyTooLarge(MaxTelemetryBytes)
		err = b.failed
	} else if err != nil && !errors.Is(err, io.EOF) {
		b.failed = bodyBroken(err)
	}
	b.left -= int64(n)
	return n, err
}

func aboutIngest(rt *route) {
	rt.id, rt.tag, rt.summary = "ingestTelemetry", tagTelemetry, "Hand in telemetry"
	rt.doc = "Records for the threat engine, one a line: log lines as they are, or NDJSON; gzip is recognised. " +
		"Answered when the events they led to are on disk. A line that cannot be read is reported and spoils no other."
	rt.params = []param{{"source", "The name of the source that the records come from.", schema{"type": "string", "maxLength": MaxSourceBytes, "pattern": "^[A-Za-z0-9._-]+$"}},
		{"format", "The format of every record, such as cloudtrail or windows; each is recognised by itself if it is left out.", schema{"type": "string", "maxLength": maxFormatBytes, "pattern": "^[a-z0-9]+$"}}}
	rt.body = &bodyDoc{media: []string{"text/plain", "application/x-ndjson", "application/octet-stream"}, schema: schema{"type": "string"}}
	rt.answers = []answer{{status: 200, doc: "What was read and what it led to.", schema: of[cybervault.TelemetryReceipt]()}}
	rt.errors = []int{503}
}

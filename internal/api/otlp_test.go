package api_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/api"
)

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// OTLP's clients read the status, and answers and errors in the encoding that
// they sent.
func TestOTLPAnswers(t *testing.T) {
	t.Parallel()
	const proto, asJSON = "application/x-protobuf", "application/json"
	partly := func(io.Reader) (cybervault.TelemetryReceipt, error) {
		return cybervault.TelemetryReceipt{Records: 1, Unreadable: 2, Samples: []cybervault.UnreadableLine{{Reason: "empty"}}}, nil
	}
	fails := func(err error) func(io.Reader) (cybervault.TelemetryReceipt, error) {
		return func(io.Reader) (cybervault.TelemetryReceipt, error) { return cybervault.TelemetryReceipt{}, err }
	}
	invalid := fails(cybervault.Errorf(cybervault.CodeInvalid, "no logs"))
	unavailable := fails(cybervault.Errorf(cybervault.CodeUnavailable, "no disk"))
	for name, tc := range map[string]struct {
		media, encoding, body string
		ingest                func(io.Reader) (cybervault.TelemetryReceipt, error)
		status                int
		answer                string
	}{
		"protobuf":         {media: proto, body: "x", status: 200, answer: ""},
		"JSON":             {media: asJSON, body: "{}", status: 200, answer: "{}"},
		"gzip":             {media: proto, encoding: "gzip", body: gzipped(t, "x"), status: 200, answer: ""},
		"partly":           {media: asJSON, body: "{}", ingest: partly, status: 200, answer: `{"partialSuccess":{"errorMessage":"empty","rejectedLogRecords":"2"}}`},
		"partly, protobuf": {media: proto, body: "x", ingest: partly, status: 200, answer: "\x0a\x09\x08\x02\x12\x05empty"},
		"wrong":            {media: asJSON, body: "{}", ingest: invalid, status: 400, answer: `{"code":3,"message":"no logs"}`},
		"wrong, protobuf":  {media: proto, body: "x", ingest: invalid, status: 400, answer: "\x08\x03\x12\x07no logs"},
		"later":            {media: asJSON, body: "{}", ingest: unavailable, status: 503, answer: `{"code":14,"message":"no disk"}`},
		"no gzip":          {media: asJSON, encoding: "gzip", body: "{}", status: 400, answer: "not gzip"},
		"a gzip bomb":      {media: proto, encoding: "gzip", body: gzipped(t, strings.Repeat("x", api.MaxOTLPBytes+1)), status: 413, answer: "16 MiB"},
		"another encoding": {media: proto, encoding: "br", body: "x", status: 415, answer: "br"},
		"another media":    {media: "text/plain", body: "x", status: 415, answer: "application/x-protobuf"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			f.ingest = tc.ingest
			header := http.Header{}
			if tc.encoding != "" {
				header.Set("Content-Encoding", tc.encoding)
			}
			w := f.do(request{call: "POST /v1/logs", key: telemetryKey, body: tc.body, media: tc.media, header: header})
			if answer := w.Body.String(); w.Code != tc.status || tc.status == 200 && answer != tc.answer || !strings.Contains(answer, tc.answer) {
				t.Errorf("answered %d %q, want %d %q", w.Code, answer, tc.status, tc.answer)
			}
			if got := w.Header().Get("Content-Type"); tc.media != "text/plain" && got != tc.media {
				t.Errorf("the answer is %s, want %s", got, tc.media)
			}
			if after := w.Header().Get("Retry-After"); (after != "") != (tc.status == 503) {
				t.Errorf("Retry-After is %q", after)
			}
			if tc.status == 200 && tc.ingest == nil && f.telemetry != map[string]string{proto: "false x", asJSON: "true {}"}[tc.media] {
				t.Errorf("the engine got %q", f.telemetry)
			}
		})
	}
}

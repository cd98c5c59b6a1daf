package telemetry_test

import (
	"fmt"
	"testing"
	"time"

	logsv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/telemetry"
)

const export = `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"host.name","value":{"stringValue":"web-1"}}]},
"scopeLogs":[{"scope":{"name":"s"},"logRecords":[
{"timeUnixNano":"1773129600500000000","severityText":"WARN","body":{"stringValue":"203.0.113.5 - - [10/Mar/2026:08:00:01 +0000] \"GET /a HTTP/1.1\" 200 5"},"attributes":[{"key":"log.file.name","value":{"stringValue":"access.log"}}],"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"},
{"timeUnixNano":"1773129600500000000","body":{"kvlistValue":{"values":[{"key":"a","value":{"kvlistValue":{"values":[{"key":"b","value":{"intValue":"7"}}]}}},{"key":"l","value":{"arrayValue":{"values":[{"stringValue":"x"},{"boolValue":true}]}}}]}},"attributes":[{"key":"client.address","value":{"stringValue":"203.0.113.6"}},{"key":"user.name","value":{"stringValue":"eve"}}]},
{"observedTimeUnixNano":"1773129600500000000","body":{"stringValue":"login failed for user eve\nfrom 203.0.113.7"}},
{"body":{"kvlistValue":{"values":[{"key":"url","value":{"stringValue":"http://x/?q=1"}},{"key":"client_ip","value":{"stringValue":"203.0.113.8"}}]}}},
{"timeUnixNano":"1773129600500000000"}]}]}],"later":1}`

func TestOTLPLogs(t *testing.T) {
	t.Parallel()
	var logs logsv1.LogsData
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(export), &logs); err != nil {
		t.Fatal(err)
	}
	binary, err := proto.Marshal(&logs)
	if err != nil {
		t.Fatal(err)
	}
	for _, asJSON := range []bool{true, false} {
		message := map[bool][]byte{true: []byte(export), false: binary}[asJSON]
		var all []*cybervault.Record
		sum, err := telemetry.ParseOTLP(t.Context(), message, asJSON, telemetry.Options{}, func(rec *cybervault.Record) error { all = append(all, rec); return nil })
		if err != nil || len(all) != 4 || sum.Records != 4 || sum.Unreadable != 1 {
			t.Fatalf("JSON %v: %d records, %+v, %v", asJSON, len(all), sum, err)
		}
		for i, want := range []map[string]string{
			{"(source)": "webserver//", "(ip)": "203.0.113.5", "(host)": "web-1", "(time)": "2026-03-10T08:00:01Z", "cs-uri-stem": "/a", "level": "WARN", "log.file.name": "access.log"},
			{"a.b": "7", "l": "x+true", "(ip)": "203.0.113.6", "(user)": "eve", "(host)": "web-1", "(time)": "2026-03-10T08:00:00.5Z"},
			{"outcome": "failure", "(user)": "eve", "(ip)": "203.0.113.7", "message": "login failed for user eve from 203.0.113.7", "(time)": "2026-03-10T08:00:00.5Z"},
			{"(source)": "webserver//", "(ip)": "203.0.113.8", "cs-uri-query": "q=1"},
		} {
			for name, value := range want {
				if got := said(all[i], name); got != value {
					t.Errorf("JSON %v, record %d: %s is %q, want %q", asJSON, i, name, got, value)
				}
			}
			if all[i].Source != "shop" || len(all[i].Raw) == 0 {
				t.Errorf("record %d is of source %q, with %d bytes", i, all[i].Source, len(all[i].Raw))
			}
		}
	}
	for _, asJSON := range []bool{true, false} {
		if _, err := telemetry.ParseOTLP(t.Context(), []byte("\xff{"), asJSON, telemetry.Options{}, nil); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Errorf("JSON %v: what is no export is %v", asJSON, err)
		}
	}
}

func FuzzOTLP(f *testing.F) {
	f.Add([]byte(export), true)
	f.Add([]byte("\x0a\x02\x12\x00"), false)
	f.Fuzz(func(t *testing.T, message []byte, asJSON bool) {
		_, err := telemetry.ParseOTLP(t.Context(), message, asJSON, telemetry.Options{Now: func() time.Time { return time.Unix(1773129600, 0) }}, func(rec *cybervault.Record) error {
			for name := range rec.Multi {
				if _, both := rec.Fields[name]; both {
					return fmt.Errorf("%s stands in Fields and in Multi", name)
				}
			}
			return nil
		})
		if err != nil && cybervault.ErrorCode(err) != cybervault.CodeInvalid {
			t.Error(err)
		}
	})
}

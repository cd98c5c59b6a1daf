package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault/test/testenv"
)

// The sample log by way of OTLP leads to the threats that it leads to by way of
// POST /v1/telemetry, on the machine that the resource names.
func TestTelemetryFromOTLP(t *testing.T) {
	t.Parallel()
	lines := sampleLines(t)
	want := map[string]int{}
	for threat, n := range threatsByPost(t, "nginx", lines) {
		want[strings.Replace(threat, "TargetAsset:nginx", "TargetAsset:web-1", 1)] = n
	}
	records := make([]string, len(lines))
	for i, line := range lines {
		text, err := json.Marshal(string(line))
		if err != nil {
			t.Fatal(err)
		}
		records[i] = fmt.Sprintf(`{"body":{"stringValue":%s}}`, text)
	}
	export := fmt.Sprintf(`{"resourceLogs":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"web-1"}}]},"scopeLogs":[{"logRecords":[%s]}]}]}`, strings.Join(records, ","))
	server := testenv.StartServer(t, testenv.ServerOptions{})
	if answer := call[map[string]any](t, server, http.StatusOK, http.MethodPost, "/v1/logs", export); len(answer) != 0 {
		t.Errorf("answered %v, want an empty object", answer)
	}
	if diff := cmp.Diff(want, threats(t, server)); diff != "" {
		t.Errorf("threats by POST and by OTLP (-want +got):\n%s", diff)
	}
}

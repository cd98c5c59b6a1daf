package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// The page of the server's health, on both databases: how it stands, who sends
// telemetry, and the examination.
func TestSystemHealth(t *testing.T) {
	onBoth(t, func(t *testing.T, server *testenv.Server) {
		call[struct{}](t, server, http.StatusOK, http.MethodPost, "/v1/telemetry?source=bastion", string(sampleLines(t)[0]))
		ann := newBrowser(t, server)
		ann.open(link(t, server), nil, 200)
		ann.open("/setup", url.Values{"email": {"ann@example.com"}, "password": {"correct horse battery"}}, 200)
		_, page := ann.open("/settings/health", nil, 200)
		for _, want := range []string{"Nothing keeps the server from its work", "bastion", "Records judged"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page does not say %q: %.6000s", want, page)
			}
		}
		if _, page = ann.open("/", nil, 200); !strings.Contains(page, "bastion") {
			t.Error("the overview does not list the source")
		}
		if _, page = ann.open("/settings/health", url.Values{}, 200); !strings.Contains(page, "What was looked at") {
			t.Errorf("the examination is not shown: %.6000s", page)
		}
	})
}

package api_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestReportPackages(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	call := "POST /v1/agents/" + agent1.String() + "/packages"
	w := f.do(request{call: call, key: agentKey, body: `{"manager":"dpkg","installed":1412,"broken":0,"pending_security":2,"reboot_required":true,
		"changes":[{"package":"openssl","status":"deployed","security":true,"cves":["CVE-2026-1234"],"at":"2026-11-20T06:25:09Z"}]}`})
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if p := f.packages; p.Manager != "dpkg" || p.Installed != 1412 || p.Broken != 0 || p.Pending != nil || *p.PendingSecurity != 2 || !p.RebootRequired {
		t.Errorf("%+v", p)
	}
	if len(f.patches) != 1 || f.patches[0].Package != "openssl" || !*f.patches[0].Security || f.patches[0].At.IsZero() {
		t.Errorf("%+v", f.patches)
	}
	for _, wrong := range []string{`{}`, `{"manager":5}`, `{"manager":"dpkg","installed":"many"}`, `{"manager":"dpkg","broken":1.5}`, `{"manager":"dpkg","changes":{}}`, `{"manager":"dpkg","changes":[{"at":"soon"}]}`, `{"manager":"dpkg","pending":null}`, `{"manager":"dpkg","nothing":1}`} {
		if w := f.do(request{call: call, key: agentKey, body: wrong}); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s is answered %d", wrong, w.Code)
		}
	}
	if w := f.do(request{call: strings.Replace(call, agent1.String(), "agt_019a0000-0000-7000-8000-000000000001", 1), key: agentKey, body: `{"manager":"dpkg"}`}); w.Code != http.StatusForbidden {
		t.Errorf("another agent's packages: %d", w.Code)
	}
}

package e2e

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault/test/testenv"
)

// The first command of the README, as scripts run it.
func TestDemoOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Binary(t), "demo", "--once", "--listen", "127.0.0.1:0")
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("demo --once: %v\n%s", err, out)
	}
	for _, want := range []string{"webhook.test", "threat.detected", "auth.suspicious", "signature valid", "refused with 503", "attempt 2", "Done. 4 events"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demonstration does not show %q:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "WRONG") {
		t.Errorf("a signature is wrong:\n%s", out)
	}
}

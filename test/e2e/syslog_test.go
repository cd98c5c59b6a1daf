package e2e

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault/test/testenv"
)

// syslogAddress is what a server says it takes syslog in on.
func syslogAddress(t *testing.T, server *testenv.Server, transport string) string {
	t.Helper()
	said := regexp.MustCompile(`syslog is taken in.* transport=` + transport + ` address=(\S+)\n`)
	var found []string
	until(t, "an address for syslog", func() bool {
		found = said.FindStringSubmatch(server.Log())
		return found != nil
	})
	return found[1]
}

// The sample log by way of a web server's syslog leads to the threats that it
// leads to by way of POST /v1/telemetry, on the machine that the syslog names.
func TestTelemetryFromSyslog(t *testing.T) {
	t.Parallel()
	lines := sampleLines(t)
	want := map[string]int{}
	for threat, n := range threatsByPost(t, "nginx", lines) {
		want[strings.Replace(threat, "TargetAsset:nginx", "TargetAsset:web-1", 1)] = n
	}
	server := testenv.StartServer(t, testenv.ServerOptions{Args: []string{"--syslog-tcp", "127.0.0.1:0", "--syslog-udp", "127.0.0.1:0"}})
	var d net.Dialer
	send := func(transport string, message []byte) {
		conn, err := d.DialContext(t.Context(), transport, syslogAddress(t, server, transport))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(message); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var stream []byte
	for _, line := range lines {
		message := fmt.Sprintf("<190>Mar 10 08:00:00 web-1 nginx: %s", line)
		stream = fmt.Appendf(stream, "%d %s", len(message), message)
	}
	send("tcp", stream)
	until(t, "the threats", func() bool { return len(threats(t, server)) == len(want) })
	if diff := cmp.Diff(want, threats(t, server)); diff != "" {
		t.Errorf("threats by POST and by syslog (-want +got):\n%s", diff)
	}
	if n := metric(t, server, `cybervault_syslog_messages_total{transport="tcp"}`); n != float64(len(lines)) {
		t.Errorf("the metrics show %v messages, want %d", n, len(lines))
	}
	send("udp", []byte("nothing that anybody can read"))
	until(t, "the count of what cannot be read", func() bool {
		return metric(t, server, `cybervault_syslog_unreadable_total{transport="udp"}`) == 1
	})
}

func TestWrongSyslogSettingsAreAStartError(t *testing.T) {
	t.Parallel()
	out := serveFails(t, "--syslog-tls", "127.0.0.1:0", "--syslog-tls-cert-file", "/does/not/exist", "--syslog-tls-key-file", "/neither")
	if !strings.Contains(out, "syslog_tls_cert_file") {
		t.Errorf("a file that does not exist: %s", out)
	}
}

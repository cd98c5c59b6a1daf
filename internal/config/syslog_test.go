package config_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault/internal/config"
)

func TestSyslogSettingsFromEveryPlace(t *testing.T) {
	t.Parallel()
	want := config.Syslog{UDP: "0.0.0.0:514", TCP: "[::1]:601", TLS: ":6514", CertFile: "/crt.pem", KeyFile: "/key.pem", ClientCAFile: "/ca.pem",
		Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for name, tc := range map[string]struct {
		args []string
		env  map[string]string
		file string
	}{
		"flags": {args: []string{"--syslog-udp", "0.0.0.0:514", "--syslog-tcp", "[::1]:601", "--syslog-tls", ":6514", "--syslog-tls-cert-file", "/crt.pem", "--syslog-tls-key-file", "/key.pem",
			"--syslog-tls-client-ca-file", "/ca.pem", "--syslog-allow", "10.0.0.0/8", "--syslog-allow", "fd00::/8"}},
		"environment": {env: map[string]string{"CYBERVAULT_SYSLOG_UDP": "0.0.0.0:514", "CYBERVAULT_SYSLOG_TCP": "[::1]:601", "CYBERVAULT_SYSLOG_TLS": ":6514",
			"CYBERVAULT_SYSLOG_TLS_CERT_FILE": "/crt.pem", "CYBERVAULT_SYSLOG_TLS_KEY_FILE": "/key.pem", "CYBERVAULT_SYSLOG_TLS_CLIENT_CA_FILE": "/ca.pem", "CYBERVAULT_SYSLOG_ALLOW": "10.0.0.0/8,fd00::/8"}},
		"file": {file: `
syslog_udp: 0.0.0.0:514
syslog_tcp: "[::1]:601"
syslog_tls: ":6514"
syslog_tls_cert_file: /crt.pem
syslog_tls_key_file: /key.pem
syslog_tls_client_ca_file: /ca.pem
syslog_allow: [10.0.0.0/8, "fd00::/8"]
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := load(t, tc.args, tc.env, tc.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Syslog, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if !strings.Contains(got.String(), "syslog_udp=0.0.0.0:514 ") || !strings.Contains(got.String(), "syslog_allow=10.0.0.0/8,fd00::/8") {
				t.Errorf("does not show what is set: %s", got)
			}
		})
	}
}

func TestWrongSyslogSettings(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--syslog-udp":         {"--syslog-udp", "514"},
		"syslog-tls-cert-file": {"--syslog-tls", ":6514"},
		"syslog-tls-key-file":  {"--syslog-tls", ":6514", "--syslog-tls-cert-file", "/crt.pem"},
		"syslog-tls:":          {"--syslog-tls-client-ca-file", "/ca.pem"},
		"syslog-allow":         {"--syslog-allow", "10.0.0.0/8"},
		"10.0.0.1/32":          {"--syslog-udp", ":514", "--syslog-allow", "10.0.0.1"},
	} {
		if _, err := load(t, args, nil, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want one that names %s", args, err, want)
		}
	}
}

// Who may send a line may blame whom he likes, so an open port is warned of.
func TestAnOpenSyslogPortIsWarnedOf(t *testing.T) {
	t.Parallel()
	warns := func(args ...string) bool {
		c, err := load(t, args, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(strings.Join(c.Warnings(), " "), "syslog")
	}
	tls := []string{"--syslog-tls", ":6514", "--syslog-tls-cert-file", "c", "--syslog-tls-key-file", "k"}
	if !warns("--syslog-udp", ":514") || !warns("--syslog-tcp", "192.0.2.1:601") || !warns(tls...) {
		t.Error("an open port is not warned of")
	}
	if warns("--syslog-udp", "127.0.0.1:514") || warns("--syslog-udp", ":514", "--syslog-allow", "10.0.0.0/8") || warns(append(tls, "--syslog-tls-client-ca-file", "a")...) {
		t.Error("a port that is not open is warned of")
	}
}

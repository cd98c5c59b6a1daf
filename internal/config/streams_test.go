package config_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/config"
)

// Every setting of a stream is read from each of its places.
func TestKafkaSettingsFromEveryPlace(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("hidden word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := config.Kafka{
		Brokers: []string{"kafka-1:9092", "[fd00::2]:9092"}, Topics: []config.Topic{{Name: "nginx", Format: "access"}, {Name: "auth"}, {Name: "app.log"}},
		Group: "soc", Start: "latest", TLS: config.StreamTLS{On: true, CAFile: "/ca.pem", CertFile: "/crt.pem", KeyFile: "/key.pem"},
		SASL: "scram-sha-512", Username: "cv", Password: "hidden word",
	}
	for name, tc := range map[string]struct {
		args []string
		env  map[string]string
		file string
	}{
		"flags": {args: []string{
			"--kafka-brokers", "kafka-1:9092", "--kafka-brokers", "[fd00::2]:9092", "--kafka-topic", "nginx=access,auth", "--kafka-topic", "app.log=auto", "--kafka-group", "soc",
			"--kafka-start", "latest", "--kafka-tls", "--kafka-ca-file", "/ca.pem", "--kafka-client-cert-file", "/crt.pem", "--kafka-client-key-file", "/key.pem",
			"--kafka-sasl", "SCRAM-SHA-512", "--kafka-username", "cv", "--kafka-password-file", secret,
		}},
		"environment": {env: map[string]string{
			"CYBERVAULT_KAFKA_BROKERS": "kafka-1:9092,[fd00::2]:9092", "CYBERVAULT_KAFKA_TOPIC": "nginx=access auth app.log", "CYBERVAULT_KAFKA_GROUP": "soc",
			"CYBERVAULT_KAFKA_START": "latest", "CYBERVAULT_KAFKA_TLS": "true", "CYBERVAULT_KAFKA_CA_FILE": "/ca.pem", "CYBERVAULT_KAFKA_CLIENT_CERT_FILE": "/crt.pem",
			"CYBERVAULT_KAFKA_CLIENT_KEY_FILE": "/key.pem", "CYBERVAULT_KAFKA_SASL": "scram-sha-512", "CYBERVAULT_KAFKA_USERNAME": "cv", "CYBERVAULT_KAFKA_PASSWORD": "hidden word",
		}},
		"file": {file: `
kafka_brokers: [kafka-1:9092, "[fd00::2]:9092"]
kafka_topic:
  - nginx=access
  - auth
  - app.log
kafka_group: soc
kafka_start: latest
kafka_tls: true
kafka_ca_file: /ca.pem
kafka_client_cert_file: /crt.pem
kafka_client_key_file: /key.pem
kafka_sasl: scram-sha-512
kafka_username: cv
kafka_password: hidden word
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := load(t, tc.args, tc.env, tc.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Kafka); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			asJSON, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			for _, shown := range []string{got.String(), fmt.Sprintf("%#v", got), string(asJSON)} {
				if strings.Contains(shown, "hidden") {
					t.Errorf("shows the password: %s", shown)
				}
			}
			if !strings.Contains(got.String(), "kafka_topic=nginx=access,auth,app.log ") || !strings.Contains(got.String(), "kafka_password=(set)") {
				t.Errorf("does not show what is set: %s", got)
			}
		})
	}
}

func TestNATSSettingsFromEveryPlace(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("hidden word"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := config.NATS{
		URLs: []string{"nats://u:hidden@n1:4222", "tls://n2"}, Stream: "LOGS", Subjects: []config.Topic{{Name: "logs.*.nginx", Format: "access"}, {Name: "ssh.>", Format: "syslog"}},
		Durable: "soc", Start: "latest", TLS: config.StreamTLS{On: true, CAFile: "/ca.pem", CertFile: "/crt.pem", KeyFile: "/key.pem"},
		CredsFile: "/creds", NKeyFile: "/nk", Username: "cv", Password: "hidden word",
	}
	for name, tc := range map[string]struct {
		args  []string
		env   map[string]string
		file  string
		token string // it has no flag
	}{
		"flags": {args: []string{
			"--nats-url", "nats://u:hidden@n1:4222", "--nats-url", "tls://n2", "--nats-stream", "LOGS", "--nats-subject", "logs.*.nginx=access,ssh.>=syslog", "--nats-durable", "soc",
			"--nats-start", "latest", "--nats-tls", "--nats-ca-file", "/ca.pem", "--nats-client-cert-file", "/crt.pem", "--nats-client-key-file", "/key.pem",
			"--nats-creds-file", "/creds", "--nats-nkey-file", "/nk", "--nats-username", "cv", "--nats-password-file", secret,
		}},
		"environment": {token: "hidden token", env: map[string]string{
			"CYBERVAULT_NATS_URL": "nats://u:hidden@n1:4222,tls://n2", "CYBERVAULT_NATS_STREAM": "LOGS", "CYBERVAULT_NATS_SUBJECT": "logs.*.nginx=access ssh.>=syslog",
			"CYBERVAULT_NATS_DURABLE": "soc", "CYBERVAULT_NATS_START": "latest", "CYBERVAULT_NATS_TLS": "1", "CYBERVAULT_NATS_CA_FILE": "/ca.pem",
			"CYBERVAULT_NATS_CLIENT_CERT_FILE": "/crt.pem", "CYBERVAULT_NATS_CLIENT_KEY_FILE": "/key.pem", "CYBERVAULT_NATS_CREDS_FILE": "/creds", "CYBERVAULT_NATS_NKEY_FILE": "/nk",
			"CYBERVAULT_NATS_USERNAME": "cv", "CYBERVAULT_NATS_PASSWORD": "hidden word", "CYBERVAULT_NATS_TOKEN": "hidden token",
		}},
		"file": {token: "hidden token", file: `
nats_url: ["nats://u:hidden@n1:4222", "tls://n2"]
nats_stream: LOGS
nats_subject: ["logs.*.nginx=access", "ssh.>=syslog"]
nats_durable: soc
nats_start: latest
nats_tls: true
nats_ca_file: /ca.pem
nats_client_cert_file: /crt.pem
nats_client_key_file: /key.pem
nats_creds_file: /creds
nats_nkey_file: /nk
nats_username: cv
nats_password: hidden word
nats_token: hidden token
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := load(t, tc.args, tc.env, tc.file)
			if err != nil {
				t.Fatal(err)
			}
			want := want
			want.Token = tc.token
			if diff := cmp.Diff(want, got.NATS); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			asJSON, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			for _, shown := range []string{got.String(), fmt.Sprintf("%#v", got), string(asJSON)} {
				if strings.Contains(shown, "hidden") {
					t.Errorf("shows a secret: %s", shown)
				}
			}
			if !strings.Contains(got.String(), "nats_url=nats://u:xxxxx@n1:4222,tls://n2 ") {
				t.Errorf("does not show the servers: %s", got)
			}
		})
	}
}

func TestWrongStreamSettings(t *testing.T) {
	t.Parallel()
	kafka := []string{"--kafka-brokers", "k:9092", "--kafka-topic", "t"}
	for name, tc := range map[string]struct {
		args  []string
		env   map[string]string
		field string
		says  string
	}{
		"broker without port": {args: []string{"--kafka-brokers", "kafka-1"}, field: "--kafka-brokers", says: "use host:port"},
		"broker as URL":       {args: []string{"--kafka-brokers", "kafka://kafka-1:9092"}, field: "--kafka-brokers", says: "use host:port"},
		"topic":               {args: []string{"--kafka-topic", "a/b"}, field: "--kafka-topic", says: "is not a topic"},
		"topic twice":         {args: []string{"--kafka-topic", "a=access,a"}, field: "--kafka-topic", says: "stands twice"},
		"format":              {args: []string{"--kafka-topic", "a=xml"}, field: "--kafka-topic", says: "use auto, access, cloudtrail, entra, falco, http, json, okta, suricata, syslog, windows"},
		"start":               {args: []string{"--kafka-start", "now"}, field: "--kafka-start", says: "earliest or latest"},
		"tls":                 {args: []string{"--kafka-tls=perhaps"}, field: "--kafka-tls", says: "neither true nor false"},
		"mechanism":           {args: []string{"--kafka-sasl", "gssapi"}, field: "--kafka-sasl", says: "plain, scram-sha-256 or scram-sha-512"},
		"password file":       {args: []string{"--kafka-password-file", "/does/not/exist"}, field: "--kafka-password-file", says: "cannot be read"},
		"no topic":            {args: kafka[:2], field: "kafka-topic", says: "is missing"},
		"no brokers":          {args: kafka[2:], field: "kafka-brokers", says: "is missing"},
		"no mechanism":        {args: append(kafka, "--kafka-username", "cv"), field: "kafka-sasl", says: "is missing"},
		"no user":             {args: append(kafka, "--kafka-sasl", "plain"), field: "kafka-username", says: "is missing"},
		"server":              {args: []string{"--nats-url", "http://u:hidden@n1"}, field: "--nats-url", says: "use nats://"},
		"stream's name":       {args: []string{"--nats-stream", "a.b"}, field: "--nats-stream", says: "no spaces, dots"},
		"durable's name":      {args: []string{"--nats-durable", `a\b`}, field: "--nats-durable", says: "no spaces, dots"},
		"subject":             {args: []string{"--nats-subject", "a.>.b"}, field: "--nats-subject", says: "is not a subject"},
		"subject, empty":      {args: []string{"--nats-subject", "a..b"}, field: "--nats-subject", says: "is not a subject"},
		"subject's format":    {args: []string{"--nats-subject", "a.>=xml"}, field: "--nats-subject", says: "names no format"},
		"subjects in common":  {args: []string{"--nats-subject", "logs.*.a,logs.b.>"}, field: "--nats-subject", says: "have subjects in common"},
		"no stream":           {args: []string{"--nats-url", "nats://n"}, field: "nats-stream", says: "is missing"},
		"no server":           {args: []string{"--nats-stream", "LOGS"}, field: "nats-url", says: "is missing"},
		"no NATS password":    {args: []string{"--nats-url", "nats://n", "--nats-stream", "LOGS", "--nats-username", "cv"}, field: "nats-password", says: "CYBERVAULT_NATS_PASSWORD"},
		"no password":         {args: append(kafka, "--kafka-sasl", "plain", "--kafka-username", "cv"), field: "kafka-password", says: "CYBERVAULT_KAFKA_PASSWORD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.args, tc.env, "")
			if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), tc.field) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("error = %v, want one that names %s and says %q", err, tc.field, tc.says)
			}
		})
	}
}

func TestAPasswordInTheClearIsWarnedOf(t *testing.T) {
	t.Parallel()
	args := []string{"--kafka-brokers", "k:9092", "--kafka-topic", "t", "--kafka-sasl", "plain", "--kafka-username", "cv"}
	env := map[string]string{"CYBERVAULT_KAFKA_PASSWORD": "hidden"}
	for warned, more := range map[bool][]string{true: nil, false: {"--kafka-tls"}} {
		c, err := load(t, append(args, more...), env, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(c.Warnings(), "\n"), "Kafka is sent in the clear"); got != warned {
			t.Errorf("with %q: warned = %v", more, got)
		}
	}
}

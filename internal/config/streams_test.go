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
		"format":              {args: []string{"--kafka-topic", "a=xml"}, field: "--kafka-topic", says: "use auto, access, http, syslog"},
		"start":               {args: []string{"--kafka-start", "now"}, field: "--kafka-start", says: "earliest or latest"},
		"tls":                 {args: []string{"--kafka-tls=perhaps"}, field: "--kafka-tls", says: "neither true nor false"},
		"mechanism":           {args: []string{"--kafka-sasl", "gssapi"}, field: "--kafka-sasl", says: "plain, scram-sha-256 or scram-sha-512"},
		"password file":       {args: []string{"--kafka-password-file", "/does/not/exist"}, field: "--kafka-password-file", says: "cannot be read"},
		"no topic":            {args: kafka[:2], field: "kafka-topic", says: "is missing"},
		"no brokers":          {args: kafka[2:], field: "kafka-brokers", says: "is missing"},
		"no mechanism":        {args: append(kafka, "--kafka-username", "cv"), field: "kafka-sasl", says: "is missing"},
		"no user":             {args: append(kafka, "--kafka-sasl", "plain"), field: "kafka-username", says: "is missing"},
		"no password":         {args: append(kafka, "--kafka-sasl", "plain", "--kafka-username", "cv"), field: "kafka-password", says: "CYBERVAULT_KAFKA_PASSWORD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.args, tc.env, "")
			if cybervault.ErrorCode(err) != cybervault.CodeInvalid || !strings.Contains(err.Error(), tc.field) || !strings.Contains(err.Error(), tc.says) {
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

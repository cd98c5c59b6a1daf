package receivers_test

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
)

// documented is the verification function as the product's documentation has
// always shown it. Receivers in the field hold copies of it, so it must go on
// accepting what CyberVault signs.
const documented = `// Node.js Verification Example
const crypto = require('crypto');
function verifyWebhook(payload, signature, secret) {
const hmac = crypto.createHmac('sha256', secret);
const digest = hmac.update(payload).digest('hex');
return crypto.timingSafeEqual(
Buffer.from(digest),
Buffer.from(signature)
);
}
`

const (
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	newSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs="
)

// body holds characters outside ASCII, since a receiver that decodes and
// encodes the text is likely to change those.
var body = []byte(`{"id":"wh_01946a60-dcd0-7f21-8a00-5d0c9b7e3f12","event":"threat.detected","timestamp":"2025-01-15T14:32:00Z",` +
	`"data":{"threat_id":"thr_94x2k1","severity":"critical","source_ip":"203.0.113.42","target_asset":"Küche–数据","vector":"sql_injection","confidence":0.980,"mitre_id":"T1190"},` +
	`"metadata":{"workspace_id":"ws_5501","engine_version":"ai_v3.1","idempotency_key":"idm_x9z8y7w6"}}`)

func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("Node.js is not on this machine, and the documented receiver is written in it: apt-get install nodejs")
	}
	return path
}

func TestVerifyIsTheDocumentedFunction(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("node/verify.js")
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range strings.Lines(string(source)) {
		if line = strings.TrimSpace(line); line != "" {
			lines.WriteString(line + "\n")
		}
	}
	if !strings.HasPrefix(lines.String(), documented) {
		t.Errorf("node/verify.js differs from the documented function in more than its spaces:\n%s", source)
	}
}

// The page on receiving shows the function that the tests here run.
func TestThePageShowsTheFunction(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("node/verify.js")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/receiving.md")
	if err != nil {
		t.Fatal(err)
	}
	function, _, _ := bytes.Cut(source, []byte("\nmodule.exports"))
	if !bytes.Contains(page, function) {
		t.Error("docs/receiving.md shows another function than examples/receivers/node/verify.js")
	}
}

// The documented function says true to a body signed by CyberVault, false to a
// changed one, and throws where the lengths differ.
func TestTheDocumentedFunctionVerifies(t *testing.T) {
	t.Parallel()
	const program = `
const { verifyWebhook } = require('./verify.js');
const [signature, secret] = process.argv.slice(1);
const chunks = [];
process.stdin.on('data', (c) => chunks.push(c)).on('end', () => {
  try {
    console.log(verifyWebhook(Buffer.concat(chunks), signature, secret));
  } catch (error) {
    console.log('throws ' + error.code);
  }
});`
	signature := cybervault.SignHex(secret, body)
	for _, tt := range []struct {
		name, signature string
		body            []byte
		want            string
	}{
		{"as sent", signature, body, "true"},
		{"changed body", signature, bytes.Replace(body, []byte("0.980"), []byte("0.98"), 1), "false"},
		{"another secret", cybervault.SignHex(newSecret, body), body, "false"},
		{"signature cut off", signature[:63], body, "throws ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), node(t), "-e", program, "--", tt.signature, secret)
			cmd.Dir = "node"
			cmd.Stdin = bytes.NewReader(tt.body)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			if got := strings.TrimSpace(string(out)); got != tt.want {
				t.Errorf("the function answers %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNodeServer(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, node(t), "server.js")
	cmd.Dir = "node"
	cmd.Env = append(os.Environ(), "PORT=0", "CYBERVAULT_WEBHOOK_SECRET="+newSecret+","+secret)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		_ = cmd.Wait() // it was killed: the error says only that
	}()
	printed := bufio.NewScanner(stdout)
	if !printed.Scan() {
		t.Fatal("the server printed nothing")
	}
	url, ok := strings.CutPrefix(printed.Text(), "listening on ")
	if !ok {
		t.Fatalf("the server printed %q", printed.Text())
	}

	post := func(body []byte, headers ...string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return strconv.Itoa(answer.StatusCode)
	}
	const name, next = "X-CyberVault-Signature", "X-CyberVault-Signature-Next"
	other := bytes.Replace(body, []byte("idm_x9z8y7w6"), []byte("idm_another1"), 1)
	unknown := "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	for _, tt := range []struct{ what, got, want string }{
		{"signed", post(body, name, cybervault.SignHex(secret, body)), "200"},
		{"again", post(body, name, cybervault.SignHex(secret, body)), "200"},
		{"changed", post(other, name, cybervault.SignHex(secret, body)), "401"},
		{"unsigned", post(other), "401"},
		{"signature of another length", post(other, name, "abc"), "401"},
		{"signature that is no hex", post(other, name, strings.Repeat("ü", 32)), "401"},
		{"unknown secret", post(other, name, cybervault.SignHex(unknown, other)), "401"},
		{"rotated, new secret", post(other, name, cybervault.SignHex(unknown, other), next, cybervault.SignHex(newSecret, other)), "200"},
		{"not JSON", post([]byte("x"), name, cybervault.SignHex(secret, []byte("x"))), "500"},
		{"too long", post(bytes.Repeat([]byte("x"), 1<<20+1), name, cybervault.SignHex(secret, body)), "413"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: answered %s, want %s", tt.what, tt.got, tt.want)
		}
	}

	// It handled two events, each once.
	stop()
	var handled []string
	for printed.Scan() {
		handled = append(handled, printed.Text())
	}
	if len(handled) != 2 || !strings.HasPrefix(handled[0], "threat.detected wh_") || !strings.Contains(handled[0], "Küche–数据") {
		t.Errorf("it handled %q", handled)
	}
}

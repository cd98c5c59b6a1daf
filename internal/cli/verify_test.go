package cli_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/cli"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	body := `{"id":"wh_1"}`
	hex := cybervault.SignHex(testSecret, []byte(body))
	const at = 1769860800
	standard, err := cybervault.SignStandard(testSecret, "wh_1", at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	seconds := strconv.Itoa(at)
	key := cybervault.NewSigningKey(time.Unix(at, 0))
	public := cybervault.PublicKey(key.Private)
	asymmetric, err := cybervault.SignEd25519(key.Private, "wh_1", at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		secret string // "" for the right one
		body   string // "" for the right one
		args   []string
		status int
		says   string
	}{
		"right":                  {args: []string{"--signature", hex}, says: "matches: X-CyberVault-Signature"},
		"wrong":                  {args: []string{"--signature", strings.Repeat("0", 64)}, status: 1, says: "does NOT match\n"},
		"other body":             {body: `{"id":"wh_2"}`, args: []string{"--signature", hex}, status: 1, says: "does NOT match\n"},
		"other secret":           {secret: otherSecret, args: []string{"--signature", hex}, status: 1, says: "does NOT match\n"},
		"upper case":             {args: []string{"--signature", strings.ToUpper(hex)}, status: 1, says: "lower-case hex, " + hex},
		"prefixed":               {args: []string{"--signature", "sha256=" + hex}, status: 1, says: "lower-case hex, " + hex},
		"newline":                {body: body + "\n", args: []string{"--signature", hex}, status: 1, says: "without the newline"},
		"bare secret":            {secret: strings.TrimPrefix(testSecret, "whsec_"), args: []string{"--signature", hex}, status: 1, says: `"whsec_" included`},
		"too short":              {args: []string{"--signature", hex[:60]}, status: 1, says: "60 characters long"},
		"standard":               {args: []string{"--signature", standard, "--id", "wh_1", "--timestamp", seconds}, says: "Standard Webhooks 1.0, signed 2026-01-31T12:00:00Z"},
		"standard, one of two":   {args: []string{"--signature", "v1,AAAA " + standard, "--id", "wh_1", "--timestamp", seconds}, says: "matches"},
		"standard, other id":     {args: []string{"--signature", standard, "--id", "wh_2", "--timestamp", seconds}, status: 1, says: "does NOT match"},
		"standard, newline":      {body: body + "\r\n", args: []string{"--signature", standard, "--id", "wh_1", "--timestamp", seconds}, status: 1, says: "without the newline"},
		"standard, no id":        {args: []string{"--signature", standard}, status: 2, says: "--id and --timestamp"},
		"standard, no number":    {args: []string{"--signature", standard, "--id", "wh_1", "--timestamp", "now"}, status: 2, says: "--timestamp"},
		"standard, not a secret": {secret: "whsec_%", args: []string{"--signature", standard, "--id", "wh_1", "--timestamp", seconds}, status: 2, says: "--secret"},
		"public key":             {secret: public, args: []string{"--signature", "v1a,AAAA " + asymmetric, "--id", "wh_1", "--timestamp", seconds}, says: "Standard Webhooks 1.0, signed"},
		"public key, other id":   {secret: public, args: []string{"--signature", asymmetric, "--id", "wh_2", "--timestamp", seconds}, status: 1, says: "does NOT match\n"},
		"public key, HMAC":       {secret: public, args: []string{"--signature", standard, "--id", "wh_1", "--timestamp", seconds}, status: 1, says: "a public key, whpk_…"},
		"public key, hex":        {secret: public, args: []string{"--signature", hex}, status: 2, says: "needs the secret"},
		"no public key":          {secret: "whpk_AAAA", args: []string{"--signature", asymmetric, "--id", "wh_1", "--timestamp", seconds}, status: 2, says: "--secret"},
		"hex with an id":         {args: []string{"--signature", hex, "--id", "wh_1"}, status: 2, says: `starts with "v1,"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret, content := testSecret, body
			if tc.secret != "" {
				secret = tc.secret
			}
			if tc.body != "" {
				content = tc.body
			}
			file := filepath.Join(t.TempDir(), "body")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			got := run(t, nil, "", append([]string{"verify", "--secret", secret, file}, tc.args...)...)
			if got.status != tc.status || !strings.Contains(got.stdout+got.stderr, tc.says) {
				t.Errorf("status %d, said %q; want status %d and %q", got.status, got.stdout+got.stderr, tc.status, tc.says)
			}
			if strings.Contains(got.stdout+got.stderr, secret) {
				t.Errorf("the secret is shown: %q", got.stdout+got.stderr)
			}
			fromEnv := run(t, map[string]string{"CYBERVAULT_WEBHOOK_SECRET": secret}, content, append([]string{"verify", "-"}, tc.args...)...)
			if fromEnv.status != got.status {
				t.Errorf("status %d with the secret in the environment and the body on stdin, want %d", fromEnv.status, got.status)
			}
		})
	}
	if got := run(t, nil, "", "verify", "--secret", "s", "--signature", "x", filepath.Join(t.TempDir(), "missing")); got.status != cli.ExitFailed {
		t.Errorf("status %d for a file that does not exist, want 1", got.status)
	}
}

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
)

// secretVariable gives verify and listen the secret without showing it in the
// process list.
const secretVariable = "CYBERVAULT_WEBHOOK_SECRET" //nolint:gosec // its name, not its value

func newVerify(env *Env) *cobra.Command {
	var secret, signature, id, timestamp string
	cmd := &cobra.Command{
		Use: "verify --signature H FILE", GroupID: groupReceiver, Args: cobra.ExactArgs(1),
		Short: "Check a signature by hand",
		Long: `Checks the signature of a request whose body is in FILE (- for stdin), byte for
byte as it was received. H is the value of X-CyberVault-Signature, or that of
webhook-signature together with --id and --timestamp; with a public key, whpk_…,
as --secret the signature is an Ed25519 one (v1a). The exit status is 0 if it
matches, 1 if it does not.`,
		Example: `  cybervault verify --secret whsec_… --signature 5f2c… body.json
  cybervault verify --secret whsec_… --signature 'v1,K5oZ…' --id wh_… --timestamp 1769860800 body.json`,
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if v, ok := env.LookupEnv(secretVariable); ok && secret == "" {
			secret = v
		}
		if secret == "" {
			return usagef("the webhook's secret is needed: set %s, or give --secret", secretVariable)
		}
		body, err := readInput(env, args[0], 1<<20)
		if err != nil {
			return err
		}
		signature = strings.TrimSpace(signature)
		if strings.HasPrefix(signature, "v1") {
			return verifyStandard(env, secret, signature, id, timestamp, body)
		}
		if cmd.Flags().Changed("id") || cmd.Flags().Changed("timestamp") {
			return usagef("--signature: %q is not a webhook-signature, which starts with \"v1,\"; without --id and --timestamp it is read as X-CyberVault-Signature", short(signature, 20))
		}
		if !isShared(secret) {
			return usagef("--signature: a public key checks webhook-signature, which starts with \"v1a,\"; X-CyberVault-Signature needs the secret, whsec_…")
		}
		if !matchesHex([]string{secret}, signature, body) {
			return errors.New("the signature does NOT match" + whyNot(secret, signature, body))
		}
		fmt.Fprintln(env.Stdout, "The signature matches: X-CyberVault-Signature, HMAC-SHA256.")
		return nil
	}
	cmd.Flags().StringVar(&secret, "secret", "", "the webhook's signing secret, whsec_…, or its public key, whpk_… (default $"+secretVariable+")")
	cmd.Flags().StringVar(&signature, "signature", "", "the header's value")
	cmd.Flags().StringVar(&id, "id", "", "the value of webhook-id, for webhook-signature")
	cmd.Flags().StringVar(&timestamp, "timestamp", "", "the value of webhook-timestamp, for webhook-signature")
	_ = cmd.MarkFlagRequired("signature") // it exists: see above
	return cmd
}

func verifyStandard(env *Env, secret, signature, id, timestamp string, body []byte) error {
	if id == "" || timestamp == "" {
		return usagef("a webhook-signature covers webhook-id and webhook-timestamp: give both with --id and --timestamp")
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return usagef("--timestamp: %q is not a number of seconds: give the value of webhook-timestamp", timestamp)
	}
	_, err = cybervault.SignStandard(secret, id, seconds, body)
	if !isShared(secret) {
		_, err = cybervault.VerifyEd25519(secret, "", id, seconds, body)
	}
	if err != nil {
		return usagef("--secret: %s", err)
	}
	if !matchesStandard([]string{secret}, signature, id, seconds, body) {
		why := ""
		if trimmed := bytes.TrimRight(body, "\r\n"); len(trimmed) < len(body) && matchesStandard([]string{secret}, signature, id, seconds, trimmed) {
			why = newlineHint
		}
		if why == "" && isShared(secret) != strings.HasPrefix(signature, "v1,") {
			why = ": a secret, whsec_…, checks \"v1,\" and a public key, whpk_…, \"v1a,\""
		}
		return errors.New("the signature does NOT match" + why)
	}
	fmt.Fprintf(env.Stdout, "The signature matches: webhook-signature, Standard Webhooks 1.0, signed %s.\n", time.Unix(seconds, 0).UTC().Format(time.RFC3339))
	return nil
}

const newlineHint = ": it would without the newline at the end of FILE, which the request did not have"

// whyNot tries the mistakes that are made most.
func whyNot(secret, signature string, body []byte) string {
	lower := strings.ToLower(strings.TrimPrefix(strings.ToLower(signature), "sha256="))
	trimmed := bytes.TrimRight(body, "\r\n")
	switch {
	case lower != signature && matchesHex([]string{secret}, lower, body):
		return ": it would as plain lower-case hex, " + lower
	case len(trimmed) < len(body) && matchesHex([]string{secret}, lower, trimmed):
		return newlineHint
	case !strings.HasPrefix(secret, cybervault.SecretPrefix) && matchesHex([]string{cybervault.SecretPrefix + secret}, lower, body):
		return ": it would with the whole secret, \"" + cybervault.SecretPrefix + "\" included"
	case len(lower) != 64:
		return fmt.Sprintf(": it is %d characters long, and HMAC-SHA256 in hex has 64", len(lower))
	}
	return ""
}

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/audit"
)

// proveFor is how long prove waits for the end of a delivery to reach the log.
const proveFor = 20 * time.Second

func newAudit(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit", GroupID: groupAPI, Args: cobra.NoArgs, Short: "Prove and check what the delivery log says, and who did what",
		Long: `Every event and how every delivery ended stand in a Merkle tree, whose root the
server signs in a checkpoint about once a second. Keep checkpoints, and the
public key, where the server's operator cannot change them: against one of them
anybody can check later that nothing it covers was changed or removed.

Who changed settings, answered incidents and logged in stands in a log of its own,
a chain of hashes: 'audit actions' lists it, 'audit verify' checks it.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := addClientFlags(cmd)
	cmd.AddCommand(newAuditKey(env, f), newAuditCheckpoint(env, f), newAuditProve(env, f), newAuditVerify(env, f), newAuditCheck(env, f), newAuditActions(env, f), newAuditExport(env, f))
	return cmd
}

func newAuditKey(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "key", Args: cobra.NoArgs, Short: "Print the public key that checks checkpoints",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			key, err := c.auditKey(cmd.Context())
			if err == nil {
				fmt.Fprintln(env.Stdout, key)
			}
			return err
		},
	}
}

func newAuditCheckpoint(env *Env, f *clientFlags) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "checkpoint", Args: cobra.NoArgs, Short: "Fetch the newest signed checkpoint, to keep elsewhere",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			checkpoint, err := c.checkpoint(cmd.Context())
			if err != nil {
				return err
			}
			return writeOutput(env, out, checkpoint)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write it to this file instead of stdout")
	return cmd
}

// auditFlags are what a proof is checked against.
type auditFlags struct{ key, checkpoint string }

func addAuditFlags(cmd *cobra.Command, older string) *auditFlags {
	f := &auditFlags{}
	cmd.Flags().StringVar(&f.key, "key", "", "the public key, or a file that holds it, as 'audit key' printed it")
	cmd.Flags().StringVar(&f.checkpoint, "checkpoint", "", older)
	return f
}

// publicKey is the key that was given, or the one that fallback fetches.
func (f *auditFlags) publicKey(env *Env, fallback func() (string, error)) (string, error) {
	switch {
	case f.key == "":
		return fallback()
	case strings.Count(f.key, "+") >= 2 && !fileExists(f.key):
		return f.key, nil
	}
	b, err := readInput(env, f.key, audit.MaxCheckpoint)
	return strings.TrimSpace(string(b)), err
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// older is the checkpoint that was kept; nil if none was given.
func (f *auditFlags) older(env *Env, key string) (*audit.Checkpoint, error) {
	if f.checkpoint == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	b, err := readInput(env, f.checkpoint, audit.MaxCheckpoint)
	if err != nil {
		return nil, err
	}
	kept, err := audit.OpenCheckpoint(string(b), key)
	if err != nil {
		return nil, fmt.Errorf("--checkpoint: %w", err)
	}
	return kept, nil
}

func newAuditProve(env *Env, f *clientFlags) *cobra.Command {
	var id, out string
	cmd := &cobra.Command{
		Use: "prove --delivery DELIVERY", Args: cobra.NoArgs, Short: "Prove how a delivery ended",
		Long: `Fetches the proof of how a delivery ended, checks it, and says what it proves.
With --checkpoint, one that was kept earlier, it proves also that nothing which
that covers was changed since. The proof in -o FILE can be checked by anybody,
without the server: see 'audit verify'. The exit status is 1 if anything does
not hold.`,
		Example: `  cybervault audit prove --delivery dlv_… --key audit.key --checkpoint yesterday.txt -o proof.json`,
		RunE:    func(*cobra.Command, []string) error { return nil },
	}
	check := addAuditFlags(cmd, "a checkpoint that was kept, which the log is to extend")
	cmd.Flags().StringVar(&id, "delivery", "", "the delivery, dlv_…")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the proof to this file")
	_ = cmd.MarkFlagRequired("delivery") // it exists: see above
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := f.connect(env)
		if err != nil {
			return err
		}
		key, err := check.publicKey(env, func() (string, error) { return c.auditKey(cmd.Context()) })
		if err != nil {
			return err
		}
		older, err := check.older(env, key)
		if err != nil {
			return err
		}
		raw, err := c.prove(cmd.Context(), id, older)
		if err != nil {
			return err
		}
		proven, err := verifyProof(raw, key, older)
		if err != nil {
			return err
		}
		if asked, err := cybervault.ParseID[cybervault.DeliveryID](id); err != nil || proven.Outcome.Delivery != asked {
			return fmt.Errorf("the server proved how %s ended, not %s", proven.Outcome.Delivery, clean(id))
		}
		if out != "" {
			if err := writeOutput(env, out, raw); err != nil {
				return err
			}
		}
		if f.json {
			return printLine(env.Stdout, raw)
		}
		fmt.Fprint(env.Stdout, proven.Words())
		if check.key == "" {
			fmt.Fprintf(env.Stderr, "The public key is the server's own word: give --key to check against one that you kept.\n")
		}
		return nil
	}
	return cmd
}

func newAuditVerify(env *Env, f *clientFlags) *cobra.Command {
	var body, head string
	cmd := &cobra.Command{
		Use: "verify [FILE]", Args: cobra.MaximumNArgs(1), Short: "Check who did what, or a proof without a server",
		Long: `Without FILE it checks the server's log of who did what: that no line was changed,
removed, or put in between. FILE is that log as 'audit export' wrote it, or a
proof that 'audit prove -o' wrote (- for stdin). Neither needs a server.

Against --head, the end of the log as it was printed earlier, it shows also that
the log was not written anew from somewhere before that. A proof needs --key,
and, to show that nothing was changed since, a checkpoint that was kept; with
--body the event's body, as a receiver stored it, is compared too. The exit
status is 1 if anything does not hold.`,
		Example: `  cybervault audit verify
  cybervault audit verify actions.ndjson --head 1204:9f86d0…
  cybervault audit verify proof.json --key audit.key --checkpoint yesterday.txt --body received.json`,
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	check := addAuditFlags(cmd, "a checkpoint that was kept, which the proof is to extend")
	cmd.Flags().StringVar(&body, "body", "", "a file with the body as it was received")
	cmd.Flags().StringVar(&head, "head", "", "the end of the log of who did what that was kept, or a file that holds it: NUMBER:HASH")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return verifyActionsCommand(cmd.Context(), env, f, nil, head)
		}
		content, isExport, closeFile, err := openExport(env, args[0])
		defer closeFile()
		if err != nil {
			return err
		}
		if isExport {
			return verifyActionsCommand(cmd.Context(), env, f, content, head)
		}
		key, err := check.publicKey(env, func() (string, error) {
			return "", usagef("the public key is needed: give --key, as 'cybervault audit key' printed it")
		})
		if err != nil {
			return err
		}
		older, err := check.older(env, key)
		if err != nil {
			return err
		}
		raw, err := readAtMost(content, args[0], audit.MaxProof)
		if err != nil {
			return err
		}
		proven, err := verifyProof(raw, key, older)
		if err != nil {
			return err
		}
		if body != "" {
			if err := compareBody(env, body, proven); err != nil {
				return err
			}
		}
		fmt.Fprint(env.Stdout, proven.Words())
		if body != "" {
			fmt.Fprintf(env.Stdout, "The body in %s is that of the event.\n", clean(body))
		}
		return nil
	}
	return cmd
}

func verifyProof(raw []byte, key string, older *audit.Checkpoint) (*audit.Verified, error) {
	proof, err := audit.ParseProof(raw)
	if err != nil {
		return nil, err
	}
	return audit.Verify(proof, key, older)
}

// auditKey fetches the public key.
func (c *client) auditKey(ctx context.Context) (string, error) {
	answer, _, err := get[struct {
		PublicKey string `json:"public_key"`
	}](ctx, c, "/v1/audit/key", nil)
	return answer.PublicKey, err
}

// checkpoint fetches the newest one, as it is.
func (c *client) checkpoint(ctx context.Context) ([]byte, error) {
	return c.do(ctx, http.MethodGet, "/v1/audit/checkpoint", nil, nil)
}

// prove fetches a proof, and waits for a while for one that is not there yet.
func (c *client) prove(ctx context.Context, id string, older *audit.Checkpoint) (json.RawMessage, error) {
	query := url.Values{}
	if older != nil {
		query.Set("from", strconv.FormatInt(older.Tree.N, 10))
	}
	ctx, cancel := context.WithTimeout(ctx, proveFor)
	defer cancel()
	for {
		raw, err := c.do(ctx, http.MethodGet, "/v1/deliveries/"+segment(id)+"/proof", query, nil)
		problem, ok := errors.AsType[*apiError](err)
		if !ok || problem.Status != http.StatusServiceUnavailable {
			return raw, err
		}
		again := time.NewTimer(time.Second)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, problem
		}
	}
}

// writeOutput writes to a file, or to stdout where none is named.
func writeOutput(env *Env, path string, b []byte) error {
	if path == "" || path == "-" {
		_, err := env.Stdout.Write(b)
		return err
	}
	if !bytes.HasSuffix(b, []byte("\n")) {
		b = append(bytes.Clone(b), '\n')
	}
	return os.WriteFile(path, b, 0o644) //nolint:gosec // a proof is made to be handed on
}

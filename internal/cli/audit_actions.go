package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/audit"
	"github.com/cybervault/cybervault/internal/backup"
)

const exportPath = "/v1/audit/actions/export"

func newAuditActions(env *Env, f *clientFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "actions", Args: cobra.NoArgs, Short: "List who did what, newest first",
		Long: `Lists the changes of settings, what people did to incidents, and who logged in:
when, who, from where. With --json each is shown with what it was before and
after.`,
		Example: "  cybervault audit actions --actor ann@example.com --since 24h\n  cybervault audit actions --action webhook --json",
	}
	filters := addListFlags(env, cmd, "actor", "action", "target", "since", "until")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query, err := filters.query()
		if err != nil {
			return err
		}
		t := &table{heading: []string{"NUMBER", "TIME", "WHO", "FROM", "ACTION", "TARGET"}}
		return show(cmd.Context(), env, f, "/v1/audit/actions", query, filters.limit, t, func(a cybervault.ActionLine) []string {
			return []string{fmt.Sprint(a.Number), moment(&a.At), a.Actor.Name, a.Actor.Address, a.Action, a.Target}
		})
	}
	return cmd
}

func newAuditExport(env *Env, f *clientFlags) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "export FILE", Args: cobra.ExactArgs(1), Short: "Write the whole log of who did what to a file, and check it",
		Long: `Writes the log of who did what, oldest first, as lines of JSON (- for stdout), and
checks it on the way. What it prints is the log's end: keep that, or the file,
where the server's operator cannot change it, and give it to 'audit verify'
later. A log that is not whole is written too; the exit status is 1.`,
		Example: "  cybervault audit export actions.ndjson",
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.connect(env)
		if err != nil {
			return err
		}
		var found *audit.Actions
		var wrong error
		write := func(out io.Writer) error {
			var fetched error
			found, wrong, fetched = c.verifyActions(cmd.Context(), out, nil)
			return fetched
		}
		if args[0] == stdio {
			err = write(env.Stdout)
		} else {
			err = backup.WriteFile(args[0], force, func(file *os.File) error { return write(file) })
		}
		if err = cmp.Or(err, wrong); err != nil {
			return err
		}
		fmt.Fprint(env.Stderr, actionsWords(found, nil))
		return nil
	}
	return cmd
}

// verifyActions fetches the log of who did what, writes all of it to out, and checks
// it: wrong is what does not hold, err that it could not be fetched.
func (c *client) verifyActions(ctx context.Context, out io.Writer, kept *cybervault.ActionHead) (found *audit.Actions, wrong, err error) {
	passing, in := io.Pipe()
	fetched := beside(func() error {
		err := c.download(ctx, "the export", exportPath, in)
		_ = in.CloseWithError(err) // nil: the end
		return err
	})
	written := io.TeeReader(passing, out)
	found, wrong = audit.VerifyActions(written, kept)
	_, err = io.Copy(io.Discard, written) // what follows the mistake is evidence too
	_ = passing.CloseWithError(err)
	return found, wrong, cmp.Or(<-fetched, err)
}

// actionsWords says what was checked.
func actionsWords(found *audit.Actions, kept *cybervault.ActionHead) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The log of who did what is whole: %d lines, each as it was written, none missing.\n", found.Head.Number)
	if found.Withheld > 0 {
		fmt.Fprintf(&b, "Of %d lines of other workspaces only the hashes were told: that they are there was checked, not what they say.\n", found.Withheld)
	}
	if kept != nil {
		fmt.Fprintf(&b, "Its first %d lines are those that were kept.\n", kept.Number)
	} else {
		fmt.Fprintln(&b, "Whoever can write to the whole database could have written all of it anew. Keep this end elsewhere, and give it to --head later:")
	}
	fmt.Fprintf(&b, "%d:%s\n", found.Head.Number, found.Head.Hash)
	return b.String()
}

// verifyActionsCommand is 'audit verify' of the log of who did what: the server's, or
// an export's.
func verifyActionsCommand(ctx context.Context, env *Env, f *clientFlags, export io.Reader, head string) error {
	var kept *cybervault.ActionHead
	if head != "" {
		if fileExists(head) {
			b, err := readInput(env, head, audit.MaxCheckpoint)
			if err != nil {
				return err
			}
			head = string(b)
		}
		parsed, err := audit.ParseActionHead(head)
		if err != nil {
			return usagef("--%s", err)
		}
		kept = &parsed
	}
	var found *audit.Actions
	var wrong, err error
	if export != nil {
		found, wrong = audit.VerifyActions(export, kept)
	} else {
		c, connectErr := f.connect(env)
		if connectErr != nil {
			return connectErr
		}
		found, wrong, err = c.verifyActions(ctx, io.Discard, kept)
	}
	if err = cmp.Or(err, wrong); err != nil {
		return err
	}
	if f.json {
		line, err := json.Marshal(struct {
			Head     cybervault.ActionHead `json:"head"`
			Withheld int64                 `json:"withheld"`
		}{found.Head, found.Withheld})
		if err != nil {
			return err
		}
		return printLine(env.Stdout, line)
	}
	fmt.Fprint(env.Stdout, actionsWords(found, kept))
	return nil
}

// openExport opens a file and tells an exported log of who did what from a proof; close
// it in any case.
func openExport(env *Env, name string) (content io.Reader, isExport bool, closeFile func(), err error) {
	closeFile = func() {}
	in := env.Stdin
	if name != stdio {
		file, err := os.Open(name)
		if err != nil {
			return nil, false, closeFile, err
		}
		in, closeFile = file, func() { _ = file.Close() }
	}
	buffered := bufio.NewReader(in)
	first, _ := buffered.Peek(64) // shorter is no export, and no proof either
	first = bytes.TrimSpace(first)
	return buffered, bytes.HasPrefix(first, []byte(`{"number":`)) || bytes.HasPrefix(first, []byte(`{"head":`)), closeFile, nil
}

package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/audit"
)

// maxFindings is how many wrong entries check names before it only counts them.
const maxFindings = 50

// compareBody compares a body that was received with the one that was logged.
func compareBody(env *Env, path string, proven *audit.Verified) error {
	const maxBody = 1 << 20
	b, err := readInput(env, path, maxBody)
	if err != nil {
		return err
	}
	if proven.Event == nil {
		return errors.New("the proof says nothing of the event's body: the log has no entry of the event")
	}
	if sum := sha256.Sum256(b); sum != proven.Event.BodyDigest {
		return fmt.Errorf("the body in %s is not that of the event %s: its SHA-256 is %x, and the log says %x", clean(path), proven.Event.Event, sum, proven.Event.BodyDigest)
	}
	return nil
}

func newAuditCheck(env *Env, f *clientFlags) *cobra.Command {
	var retention time.Duration
	cmd := &cobra.Command{
		Use: "check", Args: cobra.NoArgs, Short: "Check the whole log, entry by entry",
		Long: `Computes the tree anew from its hashes and compares it with the newest
checkpoint, and with one that was kept; then makes every entry from the rows as
they are in the store now, and compares it with its hash in the tree. Names each
entry that does not fit. Rows that are gone are counted: the retention removes
old ones. With --retention, what is younger than that and gone is an error. The
exit status is 1 if anything does not hold.`,
		Example: `  cybervault audit check --key audit.key --checkpoint yesterday.txt --retention 2160h`,
		RunE:    func(*cobra.Command, []string) error { return nil },
	}
	flags := addAuditFlags(cmd, "a checkpoint that was kept, which the log is to extend")
	cmd.Flags().DurationVar(&retention, "retention", 0, "how long the server keeps what has ended: what is gone may not be younger (0: do not look)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if retention < 0 {
			return usagef("--retention %s: give how long the server keeps what has ended, such as 720h", retention)
		}
		c, err := f.connect(env)
		if err != nil {
			return err
		}
		key, err := flags.publicKey(env, func() (string, error) { return c.auditKey(cmd.Context()) })
		if err != nil {
			return err
		}
		older, err := flags.older(env, key)
		if err != nil {
			return err
		}
		text, err := c.checkpoint(cmd.Context())
		if err != nil {
			return err
		}
		newest, err := audit.OpenCheckpoint(string(text), key)
		if err != nil {
			return err
		}
		check := &auditCheck{env: env, c: c, newest: newest, older: older}
		if retention > 0 {
			check.keptSince = env.Now().Add(-retention)
		}
		if err := check.run(cmd.Context()); err != nil {
			return err
		}
		return check.report(flags.key == "")
	}
	return cmd
}

// auditCheck is a walk over the whole log.
type auditCheck struct {
	env       *Env
	c         *client
	newest    *audit.Checkpoint
	older     *audit.Checkpoint // nil: none was kept
	keptSince time.Time         // zero: rows that are gone are not looked at

	tree     audit.Tree
	same     int64 // entries that are as they were logged
	removed  int64
	others   int64 // entries of other workspaces
	findings int64
}

// logEntry is what the server makes of an entry now.
type logEntry struct {
	Index     int64                `json:"index"`
	Kind      cybervault.AuditKind `json:"kind"`
	Entry     *string              `json:"entry"`
	Removed   bool                 `json:"removed"`
	CreatedAt *time.Time           `json:"created_at"`
}

func (a *auditCheck) run(ctx context.Context) error {
	if a.older != nil {
		if a.older.Tree.N > a.newest.Tree.N {
			return audit.CheckExtends(nil, a.newest, a.older)
		}
		if err := a.reached(); err != nil {
			return err
		}
	}
	for tile := int64(0); a.tree.Size() < a.newest.Tree.N; tile++ {
		n := int(min(cybervault.AuditTileSize, a.newest.Tree.N-a.tree.Size()))
		hashes, err := a.tile(ctx, tile, n)
		if err != nil {
			return err
		}
		for _, hash := range hashes {
			a.tree.Append(hash, nil)
			if err := a.reached(); err != nil {
				return err
			}
		}
		if err := a.entries(ctx, tile, hashes); err != nil {
			return err
		}
	}
	if a.tree.Root() != a.newest.Tree.Hash {
		return fmt.Errorf("the hashes in the store do not lead to the root that was signed for %d entries: hashes have been changed", a.newest.Tree.N)
	}
	return nil
}

// reached compares the tree, once it is as large as the one that was kept.
func (a *auditCheck) reached() error {
	if a.older == nil || a.tree.Size() != a.older.Tree.N {
		return nil
	}
	return audit.CheckExtends(nil, &audit.Checkpoint{Tree: tlog.Tree{N: a.tree.Size(), Hash: a.tree.Root()}}, a.older)
}

// tile reads the hashes of n entries.
func (a *auditCheck) tile(ctx context.Context, tile int64, n int) ([]tlog.Hash, error) {
	path := "/v1/audit/tile/0/" + audit.TilePath(tile)
	if n < cybervault.AuditTileSize {
		path += ".p/" + strconv.Itoa(n)
	}
	b, err := a.c.do(ctx, http.MethodGet, path, nil, nil)
	if problem, ok := errors.AsType[*apiError](err); ok && problem.Status == http.StatusNotFound {
		return nil, fmt.Errorf("the hashes of the entries %d to %d are not in the store: they have been removed", a.tree.Size(), a.tree.Size()+int64(n)-1)
	}
	if err != nil {
		return nil, err
	}
	if len(b) != n*tlog.HashSize {
		return nil, fmt.Errorf("the server answered with %d bytes instead of %d hashes", len(b), n)
	}
	hashes := make([]tlog.Hash, n)
	for i := range hashes {
		hashes[i] = tlog.Hash(b[i*tlog.HashSize:])
	}
	return hashes, nil
}

// entries compares entries as the rows give them with what was logged.
func (a *auditCheck) entries(ctx context.Context, tile int64, hashes []tlog.Hash) error {
	page, _, err := get[struct {
		Data []logEntry `json:"data"`
	}](ctx, a.c, "/v1/audit/entries", url.Values{"tile": {strconv.FormatInt(tile, 10)}})
	if err != nil {
		return err
	}
	first := tile * cybervault.AuditTileSize
	if len(page.Data) < len(hashes) {
		return fmt.Errorf("the list of the entries %d to %d is too short in the store: it has been changed", first, first+int64(len(hashes))-1)
	}
	for i, e := range page.Data[:len(hashes)] {
		switch {
		case e.Index != first+int64(i):
			return fmt.Errorf("the server answered with entry %d instead of %d", e.Index, first+int64(i))
		case e.Removed:
			a.removed++
			if !a.keptSince.IsZero() && e.CreatedAt != nil && e.CreatedAt.After(a.keptSince) {
				a.findf("entry %d (%s): the row of %s is gone, and is younger than the retention", e.Index, e.Kind, moment(e.CreatedAt))
			}
		case e.Entry == nil:
			a.others++
		case tlog.RecordHash([]byte(*e.Entry)) != hashes[i]:
			a.findf("entry %d: what the store says now was not logged; the row has been changed, or its hash: %s", e.Index, clean(*e.Entry))
		case e.Kind == cybervault.AuditMissing:
			a.findf("entry %d: the row of %s was gone before the log read it", e.Index, moment(e.CreatedAt))
		case e.Kind == cybervault.AuditGap:
			a.findf("entry %d: the change log was cut off before the audit log had read it; nobody knows what it told of", e.Index)
		default:
			a.same++
		}
	}
	return nil
}

func (a *auditCheck) findf(format string, args ...any) {
	if a.findings++; a.findings <= maxFindings {
		fmt.Fprintf(a.env.Stdout, format+"\n", args...)
	}
}

func (a *auditCheck) report(ownKey bool) error {
	out := a.env.Stdout
	fmt.Fprintf(out, "The tree over %d entries leads to the root that %s signed.\n", a.newest.Tree.N, a.newest.Origin)
	if a.older != nil {
		fmt.Fprintf(out, "It begins with the %d entries of the checkpoint that was kept, unchanged.\n", a.older.Tree.N)
	}
	fmt.Fprintf(out, "%d entries are as the store says now; of %d the rows have been removed", a.same, a.removed)
	if a.others > 0 {
		fmt.Fprintf(out, "; %d are other workspaces'", a.others)
	}
	fmt.Fprintln(out, ".")
	if ownKey {
		fmt.Fprintf(a.env.Stderr, "The public key is the server's own word: give --key to check against one that you kept.\n")
	}
	if a.findings > 0 {
		return fmt.Errorf("%d entries do NOT fit what was logged", a.findings)
	}
	return nil
}

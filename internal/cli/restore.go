package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault/internal/app"
	"github.com/cybervault/cybervault/internal/config"
)

func newRestore(env *Env) *cobra.Command {
	var o app.RestoreOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use: "restore FILE", GroupID: groupServer, Args: cobra.ExactArgs(1),
		Short: "Put a backup into a data directory",
		Long: `Checks a backup as 'backup verify' does and makes a database of it in the data
directory, for 'serve' to go on with. FILE - is stdin. No server may have the
directory open.

What was delivered before the backup is not sent again. What was pending is sent,
under the same webhook-id, even if it was delivered after the backup was made:
with --paused the restored server sends nothing until a webhook is enabled, so
that you can see what waits, and cancel what must not go out. Sequence numbers go
on with a gap. See docs/operations.md.`,
		Example: `  cybervault restore cybervault.backup --data /var/lib/cybervault
  cybervault restore cybervault.backup --data /tmp/forensics --paused`,
	}
	flags := config.Bind(cmd.Flags(), "data", "secret-key-file")
	cmd.Flags().BoolVar(&o.Paused, "paused", false, "disable every webhook in it, so that nothing is sent until you enable it")
	cmd.Flags().BoolVar(&o.Force, "force", false, "move a database that is there aside")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := flags.Load(env.LookupEnv)
		if err != nil {
			return usagef("%s", err)
		}
		if cfg.DatabaseURL != "" {
			return usagef("the configuration names a PostgreSQL database, which a backup of the embedded store does not go into: leave database-url out, or use pg_restore for a dump")
		}
		r, err := openBackup(env, args[0])
		if err != nil {
			return err
		}
		defer r.Close()
		o.Now = env.Now()
		done, err := app.Restore(cmd.Context(), cfg, r, o)
		if err != nil {
			return err
		}
		return showRestored(env, cfg, done, asJSON, o.Paused)
	}
	return cmd
}

func showRestored(env *Env, cfg config.Config, done app.Restored, asJSON, paused bool) error {
	if asJSON {
		raw, err := json.Marshal(map[string]any{
			"manifest": done.Manifest, "data": cfg.DataDir, "webhooks_disabled": done.Disabled, "moved_aside": done.Aside, "key_missing": done.KeyMissing,
		})
		if err != nil {
			return fmt.Errorf("show what was restored: %w", err)
		}
		return printLine(env.Stdout, raw)
	}
	w := env.Stderr
	fmt.Fprintf(w, "Restored into %s: %s.\n", clean(cfg.DataDir), holds(done.Manifest))
	if done.Aside != "" {
		fmt.Fprintf(w, "The database that was there is %s now.\n", clean(done.Aside))
	}
	if paused {
		fmt.Fprintf(w, "%d webhooks are disabled: nothing is sent until you enable them.\n", done.Disabled)
	} else if n := done.Manifest.Counts.Pending; n > 0 {
		fmt.Fprintf(w, "%d deliveries were pending: they are sent once 'serve' runs, also those that the old server delivered after the backup. --paused would hold them.\n", n)
	}
	fmt.Fprintln(w, "API keys revoked and secrets rotated since the backup are as they were in it: revoke and rotate them again.")
	if done.KeyMissing != "" {
		fmt.Fprintf(w, "The key is not in the backup: put the key file with fingerprint %s at %s before you start 'serve'.\n", clean(done.Manifest.Key.Fingerprint), clean(done.KeyMissing))
	}
	return nil
}

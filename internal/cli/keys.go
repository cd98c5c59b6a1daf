package cli

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
)

// apiKey is what the API says about one.
type apiKey struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Hint      string     `json:"hint"`
	Scopes    []string   `json:"scopes"`
	CreatedAt time.Time  `json:"created_at"`
	RevokedAt *time.Time `json:"revoked_at"`
	Key       string     `json:"key"`
}

func newKeys(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "keys", GroupID: groupAPI, Short: "List, create and revoke API keys", Args: cobra.NoArgs}
	f := addClientFlags(cmd)
	cmd.RunE = listKeys(env, f, addListFlags(env, cmd))

	list := &cobra.Command{Use: "list", Short: "List API keys, newest first", Args: cobra.NoArgs}
	list.RunE = listKeys(env, f, addListFlags(env, list))
	cmd.AddCommand(list, keysCreate(env, f), keysRevoke(env, f))
	return cmd
}

func listKeys(env *Env, f *clientFlags, filters *listFlags) runner {
	return func(cmd *cobra.Command, _ []string) error {
		query, err := filters.query()
		if err != nil {
			return err
		}
		t := &table{heading: []string{"CREATED", "NAME", "BEGINS", "SCOPES", "STATE", "ID"}}
		return show(cmd.Context(), env, f, "/v1/keys", query, filters.limit, t, func(k apiKey) []string {
			state := "valid"
			if k.RevokedAt != nil {
				state = "revoked"
			}
			return []string{moment(&k.CreatedAt), k.Name, k.Hint, strings.Join(k.Scopes, " "), state, k.ID}
		})
	}
}

func keysCreate(env *Env, f *clientFlags) *cobra.Command {
	known := make([]string, 0, len(cybervault.Scopes()))
	for _, s := range cybervault.Scopes() {
		known = append(known, string(s))
	}
	var scopes []string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create an API key and print it, this once", Args: cobra.ExactArgs(1),
		Example: "  cybervault keys create 'log shipper' --scopes telemetry:write",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			k, raw, err := send[apiKey](cmd.Context(), c, http.MethodPost, "/v1/keys", nil, map[string]any{"name": args[0], "scopes": scopes})
			if err != nil {
				return err
			}
			if f.json {
				return printLine(env.Stdout, raw)
			}
			fmt.Fprintf(env.Stderr, "Created %s (%s). The key is shown this once:\n", clean(k.ID), clean(strings.Join(k.Scopes, " ")))
			_, err = fmt.Fprintln(env.Stdout, clean(k.Key))
			return err
		},
	}
	cmd.Flags().StringSliceVar(&scopes, "scopes", nil, "what it may do, with commas: "+strings.Join(known, ", "))
	_ = cmd.MarkFlagRequired("scopes") // it exists: the line above
	return cmd
}

func keysRevoke(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "revoke KEY", Short: "End an API key for good", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			if _, err := c.do(cmd.Context(), http.MethodDelete, "/v1/keys/"+segment(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(env.Stderr, "Revoked %s.\n", clean(args[0]))
			return nil
		},
	}
}

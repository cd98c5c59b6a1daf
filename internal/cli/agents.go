package cli

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// agentRow is what the API says about one.
type agentRow struct {
	ID       string            `json:"id"`
	Hostname string            `json:"hostname"`
	Status   string            `json:"status"`
	OS       string            `json:"os"`
	Version  string            `json:"version"`
	Labels   map[string]string `json:"labels"`
	Seen     *time.Time        `json:"last_seen_at"`
}

type agentTokenRow struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	Uses      int               `json:"uses"`
	ExpiresAt time.Time         `json:"expires_at"`
	Token     string            `json:"token"`
}

func labelWords(labels map[string]string) string {
	words := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, name+"="+labels[name])
	}
	return strings.Join(words, " ")
}

func newAgents(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "agents", GroupID: groupAPI, Short: "List and remove agents, and make the tokens by which machines enrol", Args: cobra.NoArgs}
	f := addClientFlags(cmd)
	list := func(cmd *cobra.Command) {
		var status, text string
		filters := addListFlags(env, cmd)
		cmd.Flags().StringVar(&status, "status", "", "only those that are online, offline or enrolled")
		cmd.Flags().StringVar(&text, "q", "", "only those whose host name, addresses or labels have this text")
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			query, err := filters.query()
			if err != nil {
				return err
			}
			if status != "" {
				query.Set("status", status)
			}
			if text != "" {
				query.Set("q", text)
			}
			t := &table{heading: []string{"STATUS", "HOST", "LAST SEEN", "SYSTEM", "AGENT", "LABELS", "ID"}}
			return show(cmd.Context(), env, f, "/v1/agents", query, filters.limit, t, func(a agentRow) []string {
				return []string{a.Status, a.Hostname, moment(a.Seen), a.OS, a.Version, labelWords(a.Labels), a.ID}
			})
		}
	}
	list(cmd)
	listed := &cobra.Command{Use: "list", Short: "List agents, newest first", Args: cobra.NoArgs}
	list(listed)
	cmd.AddCommand(listed, agentsRemove(env, f), agentsToken(env, f), agentsTokens(env, f))
	return cmd
}

func agentsRemove(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "remove AGENT", Short: "Forget an agent and its key", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			if _, err := c.do(cmd.Context(), http.MethodDelete, "/v1/agents/"+segment(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(env.Stderr, "Removed %s.\n", clean(args[0]))
			return nil
		},
	}
}

func agentsToken(env *Env, f *clientFlags) *cobra.Command {
	var name string
	var labels map[string]string
	var interval, expires time.Duration
	var missed, uses int
	var end string
	cmd := &cobra.Command{
		Use: "token", Short: "Make a token by which machines enrol, and print it, this once", Args: cobra.NoArgs,
		Example: `  cybervault agents token --label role=web --uses 20
  cybervault agents token --end agk_019a…`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			if end != "" {
				if _, err := c.do(cmd.Context(), http.MethodDelete, "/v1/agent-tokens/"+segment(end), nil, nil); err != nil {
					return err
				}
				fmt.Fprintf(env.Stderr, "Ended %s.\n", clean(end))
				return nil
			}
			body := map[string]any{"name": name, "uses": uses, "missed": missed, "interval": interval.String(), "expires_in": expires.String()}
			if labels != nil {
				body["labels"] = labels
			}
			t, raw, err := send[agentTokenRow](cmd.Context(), c, http.MethodPost, "/v1/agent-tokens", nil, body)
			if err != nil {
				return err
			}
			if f.json {
				return printLine(env.Stdout, raw)
			}
			fmt.Fprintf(env.Stderr, "Made %s, good for %d until %s. The token is shown this once:\n", clean(t.ID), t.Uses, t.ExpiresAt.UTC().Format(time.RFC3339))
			_, err = fmt.Fprintln(env.Stdout, clean(t.Token))
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "what it is for")
	flags.StringToStringVar(&labels, "label", nil, "name=value that its agents get; may be repeated")
	flags.DurationVar(&interval, "interval", 30*time.Second, "between two heartbeats")
	flags.IntVar(&missed, "missed", 3, "after so many heartbeats that did not come an agent is offline")
	flags.IntVar(&uses, "uses", 1, "how many machines may enrol by it")
	flags.DurationVar(&expires, "expires-in", 24*time.Hour, "for how long it may be used")
	flags.StringVar(&end, "end", "", "end the token of this id instead")
	return cmd
}

func agentsTokens(env *Env, f *clientFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "tokens", Short: "List enrolment tokens that may still be used", Args: cobra.NoArgs}
	filters := addListFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		query, err := filters.query()
		if err != nil {
			return err
		}
		t := &table{heading: []string{"NAME", "USES LEFT", "EXPIRES", "LABELS", "ID"}}
		return show(cmd.Context(), env, f, "/v1/agent-tokens", query, filters.limit, t, func(r agentTokenRow) []string {
			return []string{r.Name, fmt.Sprint(r.Uses), moment(&r.ExpiresAt), labelWords(r.Labels), r.ID}
		})
	}
	return cmd
}

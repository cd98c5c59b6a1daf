package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// exceptionRow is what the API says about an exception.
type exceptionRow struct {
	ID        string              `json:"id"`
	Rule      string              `json:"rule"`
	Where     map[string][]string `json:"where"`
	Reason    string              `json:"reason"`
	CreatedAt time.Time           `json:"created_at"`
	Until     *time.Time          `json:"until"`
	Ended     bool                `json:"ended"`
}

// exceptionPreview is what the API says an exception would have hidden.
type exceptionPreview struct {
	Looked   int `json:"looked"`
	Hidden   int `json:"hidden"`
	Partly   int `json:"partly"`
	Findings []struct {
		EventID   string    `json:"event_id"`
		Event     string    `json:"event"`
		Timestamp time.Time `json:"timestamp"`
		Rules     []string  `json:"rules"`
		Whole     bool      `json:"whole"`
	} `json:"findings"`
}

func newExceptions(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "exceptions", GroupID: groupAPI, Short: "What the threat engine is to leave out", Args: cobra.NoArgs}
	f := addClientFlags(cmd)
	cmd.RunE = listExceptions(env, f, addListFlags(env, cmd))

	list := &cobra.Command{Use: "list", Short: "List exceptions, newest first", Args: cobra.NoArgs}
	list.RunE = listExceptions(env, f, addListFlags(env, list))
	cmd.AddCommand(list, exceptionsAdd(env, f), exceptionsRemove(env, f))
	return cmd
}

func listExceptions(env *Env, f *clientFlags, filters *listFlags) runner {
	return func(cmd *cobra.Command, _ []string) error {
		query, err := filters.query()
		if err != nil {
			return err
		}
		t := &table{heading: []string{"MADE", "RULE", "WHERE", "REASON", "UNTIL", "ID"}}
		return show(cmd.Context(), env, f, "/v1/exceptions", query, filters.limit, t, func(e exceptionRow) []string {
			until := "for ever"
			if e.Until != nil {
				until = moment(e.Until)
			}
			if e.Ended {
				until += " (ended)"
			}
			return []string{moment(&e.CreatedAt), e.Rule, whereText(e.Where), short(e.Reason, 60), until, e.ID}
		})
	}
}

func whereText(where map[string][]string) string {
	parts := make([]string, 0, len(where))
	for field, values := range where {
		parts = append(parts, field+"="+strings.Join(values, ","))
	}
	slices.Sort(parts)
	return short(strings.Join(parts, " "), 80)
}

func exceptionsAdd(env *Env, f *clientFlags) *cobra.Command {
	var where []string
	var reason, until string
	var wouldHide bool
	cmd := &cobra.Command{
		Use: "add RULE", Args: cobra.ExactArgs(1), Short: "Leave out what a rule finds, in records that match",
		Long: `RULE is what stands in a detection as rule_id, or a vector or login pattern, or * for any.
Each --where names a field of the record, or source_ip, user, host or source, with a
value; one that is given several times takes any of its values, and all fields must
match. Fields take the modifiers of Sigma: source_ip|cidr, CommandLine|contains.`,
		Example: `  cybervault exceptions add reconnaissance --where 'source_ip|cidr=198.51.100.0/24' --reason 'our own scanner' --would-hide
  cybervault exceptions add 942100 --where 'cs-uri-stem=/search' --reason 'SQL is what people search for' --until 2027-06-30T00:00:00Z`,
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"rule": args[0], "reason": reason}
			if len(where) > 0 {
				fields := map[string][]string{}
				for _, w := range where {
					field, value, ok := strings.Cut(w, "=")
					if !ok || field == "" {
						return usagef("--where: %q is not FIELD=VALUE", w)
					}
					fields[field] = append(fields[field], value)
				}
				body["where"] = fields
			}
			if until != "" {
				body["until"] = until
			}
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			if wouldHide {
				p, raw, err := send[exceptionPreview](cmd.Context(), c, http.MethodPost, "/v1/exceptions/preview", nil, body)
				if err != nil {
					return err
				}
				return printPreview(env, f, p, raw)
			}
			e, raw, err := send[exceptionRow](cmd.Context(), c, http.MethodPost, "/v1/exceptions", nil, body)
			if err != nil {
				return err
			}
			if f.json {
				return printLine(env.Stdout, raw)
			}
			_, err = fmt.Fprintf(env.Stdout, "Added %s.\n", clean(e.ID))
			return err
		},
	}
	cmd.Flags().StringArrayVar(&where, "where", nil, "FIELD=VALUE that a record must have; repeatable")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever reads this in a year")
	cmd.Flags().StringVar(&until, "until", "", "when it ends, as 2027-06-30T00:00:00Z; left out: never")
	cmd.Flags().BoolVar(&wouldHide, "would-hide", false, "add nothing: show which stored events it would have hidden")
	_ = cmd.MarkFlagRequired("reason") // it exists: above
	return cmd
}

func printPreview(env *Env, f *clientFlags, p exceptionPreview, raw json.RawMessage) error {
	if f.json {
		return printLine(env.Stdout, raw)
	}
	t := &table{heading: []string{"TIME", "EVENT", "HIDDEN", "RULES", "ID"}}
	for _, h := range p.Findings {
		how := "a part"
		if h.Whole {
			how = "all of it"
		}
		t.add(moment(&h.Timestamp), h.Event, how, strings.Join(h.Rules, " "), h.EventID)
	}
	if len(t.rows) > 0 {
		if err := t.print(env.Stdout, colours(env, env.Stdout)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(env.Stderr, "Of the latest %d events %d would be hidden, and parts of %d.\n", p.Looked, p.Hidden, p.Partly)
	return err
}

func exceptionsRemove(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "remove EXCEPTION", Short: "Tell again of what it left out", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			if _, err := c.do(cmd.Context(), http.MethodDelete, "/v1/exceptions/"+segment(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(env.Stderr, "Removed %s.\n", clean(args[0]))
			return nil
		},
	}
}

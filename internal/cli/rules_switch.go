package cli

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

// newRulesSwitch turns a rule of a running server on or off.
func newRulesSwitch(env *Env, on bool) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "disable RULE", Args: cobra.ExactArgs(1), Short: "Turn a rule of a running server off, for a reason",
		Long:    "RULE is what stands in a detection as rule_id: a Sigma rule's id, a number of the\nOWASP Core Rule Set, or a login pattern.",
		Example: "  cybervault rules disable 942100 --reason 'our search takes SQL'",
	}
	if on {
		cmd.Use, cmd.Short, cmd.Example = "enable RULE", "Turn a rule of a running server on again", "  cybervault rules enable 942100"
	} else {
		cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever reads this in a year")
		_ = cmd.MarkFlagRequired("reason") // it exists: the line above
	}
	f := addClientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.connect(env)
		if err != nil {
			return err
		}
		body, done := map[string]any{"enabled": on}, "on"
		if !on {
			body["reason"], done = reason, "off"
		}
		if _, err := c.do(cmd.Context(), http.MethodPatch, "/v1/rules/"+segment(args[0]), nil, body); err != nil {
			return err
		}
		fmt.Fprintf(env.Stderr, "The rule %s is %s.\n", clean(args[0]), done)
		return nil
	}
	return cmd
}

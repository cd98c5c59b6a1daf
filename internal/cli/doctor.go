package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/app"
	"github.com/cybervault/cybervault/internal/config"
)

// clockSlack is how far this machine's clock and the server's may differ: Date has
// whole seconds, and the way there takes time.
const clockSlack = 5 * time.Second

// examined is what doctor prints with --json.
type examined struct {
	Status    cybervault.CheckStatus `json:"status"`
	Version   string                 `json:"version"`
	CheckedAt time.Time              `json:"checked_at"`
	Checks    []cybervault.Check     `json:"checks"`
}

// checksError ends doctor with status 1; the report has said it all.
type checksError struct{ failed, warned int }

func (e *checksError) Error() string {
	return fmt.Sprintf("%d checks failed, %d warn", e.failed, e.warned)
}

func newDoctor(env *Env) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use: "doctor", GroupID: groupServer, Args: cobra.NoArgs,
		Short: "Check configuration, clock, disk, certificates and destinations",
		Long: `Has a running server look at itself and its surroundings, with an admin API key,
from where it stands: configuration, key file, data directory, disk, database,
clocks, queue, webhooks, their certificates, and whether each receiver can be
reached, to which nothing is sent. A server that does not answer is looked at from
outside, as far as this machine has its configuration (--config, --data).

Ends with status 0 when no check failed, 1 when one did; with --strict a warning
counts as well. No secret is printed.`,
		Example: "  cybervault doctor\n  cybervault doctor --json | jq '.checks[] | select(.status != \"ok\")'",
	}
	f := addClientFlags(cmd)
	settings := config.Bind(cmd.Flags(), "data", "secret-key-file", "database-url")
	cmd.Flags().BoolVar(&strict, "strict", false, "a warning counts as a failure")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		e := examined{Version: version(env.Version), CheckedAt: env.Now().UTC()}
		checks, answered := fromServer(cmd.Context(), env, f)
		e.Checks = checks
		if !answered {
			e.Checks = append(e.Checks, fromHere(cmd.Context(), env, settings)...)
		}
		e.Status = cybervault.WorstCheck(e.Checks)
		if err := e.print(env, f.json); err != nil {
			return err
		}
		return e.verdict(strict)
	}
	return cmd
}

func (e *examined) verdict(strict bool) error {
	counts := map[cybervault.CheckStatus]int{}
	for _, c := range e.Checks {
		counts[c.Status]++
	}
	if e.Status == cybervault.CheckFail || strict && e.Status == cybervault.CheckWarn {
		return &checksError{counts[cybervault.CheckFail], counts[cybervault.CheckWarn]}
	}
	return nil
}

func check(name string, status cybervault.CheckStatus, subject, summary, remedy string) cybervault.Check {
	return cybervault.Check{Name: name, Status: status, Subject: subject, Summary: summary, Remedy: remedy}
}

// fromServer has the server look. answered is false where it is not there to do it.
func fromServer(ctx context.Context, env *Env, f *clientFlags) (checks []cybervault.Check, answered bool) {
	c, err := f.connect(env)
	if err != nil {
		return []cybervault.Check{check("server", cybervault.CheckWarn, "", "was not asked: "+err.Error(), "With an admin API key the server looks at itself, its webhooks and their receivers.")}, false
	}
	began := env.Now()
	raw, date, err := c.examine(ctx)
	if problem, ok := errors.AsType[*apiError](err); ok {
		remedy := "Use an admin key of the first workspace."
		if problem.Status == http.StatusNotFound {
			remedy = "It is older than this program: bring both to the same version."
		}
		return []cybervault.Check{check("server", cybervault.CheckFail, c.base.Host, "does not say how it is: "+problem.Error(), remedy)}, false
	}
	if err != nil {
		return []cybervault.Check{check("server", cybervault.CheckFail, c.base.Host, err.Error(), "What can be seen from here follows.")}, false
	}
	var said examined
	if err := json.Unmarshal(raw, &said); err != nil {
		return []cybervault.Check{check("server", cybervault.CheckFail, c.base.Host, "its answer is not what this version expects", "Bring server and program to the same version.")}, false
	}
	if said.Version != c.version {
		checks = append(checks, check("version", cybervault.CheckWarn, c.base.Host, fmt.Sprintf("the server is %s, this program %s", said.Version, c.version), "Bring both to the same version."))
	} else {
		checks = append(checks, check("version", cybervault.CheckOK, c.base.Host, "server and program are "+c.version, ""))
	}
	if skew := date.Sub(began); !date.IsZero() && (skew < -clockSlack || date.After(env.Now().Add(clockSlack))) {
		checks = append(checks, check("clock", cybervault.CheckWarn, c.base.Host, fmt.Sprintf("the server's clock and this machine's differ by %s", skew.Abs().Round(time.Second)), "Let both follow time servers."))
	}
	return append(checks, said.Checks...), true
}

// examine asks the server, and reads off its clock.
func (c *client) examine(ctx context.Context) (raw []byte, date time.Time, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath("/v1/doctor").String(), http.NoBody)
	if err != nil {
		return nil, date, err
	}
	c.identify(req)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, date, c.unreachable(err)
	}
	defer resp.Body.Close()
	// Written before the checks began or after they ended, as the server buffers:
	// only what is off by more than those took is off.
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		date = at
	}
	if raw, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes)); err != nil {
		return nil, date, fmt.Errorf("the server's answer broke off: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, date, c.problem(resp, raw)
	}
	return raw, date, nil
}

// fromHere looks at what this machine has of a server.
func fromHere(ctx context.Context, env *Env, settings *config.Flags) []cybervault.Check {
	cfg, err := settings.Load(env.LookupEnv)
	if err != nil {
		return []cybervault.Check{check("configuration", cybervault.CheckFail, "", err.Error(), "Put the setting right: docs/configuration.md has them all.")}
	}
	return app.ExamineLocal(ctx, cfg)
}

func (e *examined) print(env *Env, asJSON bool) error {
	if asJSON {
		raw, err := marshalPlain(e)
		if err != nil {
			return fmt.Errorf("show the report: %w", err)
		}
		_, err = env.Stdout.Write(raw)
		return err
	}
	p := colours(env, env.Stdout)
	marks := map[cybervault.CheckStatus]string{cybervault.CheckOK: p.good("ok  "), cybervault.CheckWarn: p.warn("warn"), cybervault.CheckFail: p.bad("FAIL")}
	var b strings.Builder
	for _, c := range e.Checks {
		subject := ""
		if c.Subject != "" {
			subject = clean(c.Subject) + ": "
		}
		fmt.Fprintf(&b, "%s  %s: %s%s\n", marks[c.Status], p.bold(clean(c.Name)), subject, oneLine(c.Summary))
		if c.Remedy != "" {
			fmt.Fprintf(&b, "      %s\n", p.dim(oneLine(c.Remedy)))
		}
	}
	_, err := io.WriteString(env.Stdout, b.String())
	return err
}

func oneLine(s string) string { return strings.ReplaceAll(clean(s), "\n", "; ") }

package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/agent"
)

func newAgent(env *Env) *cobra.Command {
	var f clientFlags
	var tokenFile, dir, hostname, root string
	var tails []string
	var fromTop bool
	var buffer int64
	cmd := &cobra.Command{
		Use: "agent", GroupID: groupServer, Args: cobra.NoArgs,
		Short: "Run on a managed machine: heartbeats, log files and patches",
		Long: `Enrols the machine with a server, the first time, and then sends heartbeats and what is
written to the files that it follows. The server tells whoever listens when it is lost
and when it is back, judges the lines as any telemetry, and tells which security patches
were applied to a Debian or Ubuntu system, or could not be.

The token is made by 'cybervault agents token' and is needed once; it is read from
CYBERVAULT_AGENT_TOKEN or a file. What was read waits on disk while the server is away,
and is sent until the server has it.`,
		Example: `  CYBERVAULT_AGENT_TOKEN=cve_… cybervault agent --server https://cybervault.example.com --tail /var/log/auth.log
  cybervault agent --tail '/var/log/nginx/*.log' --tail /var/log/syslog`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.key = "none" // an agent has a key of its own
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			if dir == "" {
				dir = "cybervault-agent"
			}
			token, err := agentToken(env, tokenFile)
			if err != nil {
				return err
			}
			for _, pattern := range tails {
				if _, err := filepath.Match(pattern, ""); err != nil {
					return usagef("--tail %q is no pattern of files: %v", pattern, err)
				}
			}
			if buffer < agent.MinBuffer>>20 {
				return usagef("--buffer %d: give the most that may wait on disk in MiB, 1 or more", buffer)
			}
			switch {
			case root == "none":
				root = ""
			case !filepath.IsAbs(root):
				return usagef("--packages %q: give the root of a system, / or where it is mounted, or none", root)
			}
			err = agent.Run(cmd.Context(), agent.Config{
				Server: agentServer{c}, Address: strings.TrimSuffix(c.base.String(), "/"), Dir: dir, Token: token, Tails: tails, FromTop: fromTop, Root: root, Buffer: buffer << 20,
				Facts: func() cybervault.HostFacts { return agent.Facts(hostname, version(env.Version)) },
				Log:   slog.New(slog.NewTextHandler(env.Stderr, nil)),
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.server, "server", "", "address of the server (default $CYBERVAULT_SERVER, else "+defaultServer+")")
	flags.StringVar(&tokenFile, "token-file", "", "file with the enrolment token (default $CYBERVAULT_AGENT_TOKEN)")
	flags.StringVar(&dir, "data", "", "directory of its identity and of what waits (default ./cybervault-agent)")
	flags.StringVar(&hostname, "hostname", "", "name to go by instead of the machine's own")
	flags.StringArrayVar(&tails, "tail", nil, "file to follow, or a pattern of files; may be repeated")
	flags.BoolVar(&fromTop, "from-top", false, "at the first start, read what the files hold already")
	flags.StringVar(&root, "packages", "/", "root of the system whose packages it tells of, or none")
	flags.Int64Var(&buffer, "buffer", agent.DefaultBuffer>>20, "MiB that may wait on disk while the server is away")
	return cmd
}

// agentToken is the token to enrol with; empty where none is given.
func agentToken(env *Env, file string) (string, error) {
	if file == "" {
		token, _ := env.LookupEnv("CYBERVAULT_AGENT_TOKEN")
		return strings.TrimSpace(token), nil
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil // it may be removed once it was used
	}
	return strings.TrimSpace(string(raw)), err
}

// agentServer is the API as an agent uses it.
type agentServer struct{ client *client }

type factsJSON struct {
	Hostname  string   `json:"hostname"`
	OS        string   `json:"os,omitempty"`
	Version   string   `json:"version,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
}

func factsOf(f cybervault.HostFacts) factsJSON {
	return factsJSON{f.Hostname, f.OS, f.Version, f.Addresses}
}

// as is the client with another key.
func (s agentServer) as(key string) *client {
	c := *s.client
	c.key = key
	return &c
}

// lasting tells errors that do not pass from those that do.
func lasting(err error) error {
	problem, ok := errors.AsType[*apiError](err)
	if !ok {
		return err
	}
	switch {
	case problem.Status == http.StatusUnauthorized || problem.Status == http.StatusForbidden:
		return fmt.Errorf("%w (%w)", agent.ErrGone, err)
	case problem.Status == http.StatusTooManyRequests || problem.Status == http.StatusRequestTimeout:
		return err
	case problem.Status >= http.StatusBadRequest && problem.Status < http.StatusInternalServerError:
		return fmt.Errorf("%w: %w", agent.ErrRefused, err)
	}
	return err
}

func (s agentServer) Enrol(ctx context.Context, token string, facts cybervault.HostFacts) (agent.Identity, error) {
	enrolled, _, err := send[struct{ ID, Key, Interval string }](ctx, s.as(token), http.MethodPost, "/v1/agents", nil, factsOf(facts))
	if problem, ok := errors.AsType[*apiError](err); ok && problem.Status == http.StatusUnauthorized {
		return agent.Identity{}, fmt.Errorf("%w: %w", agent.ErrRefused, err)
	}
	if err != nil {
		return agent.Identity{}, lasting(err)
	}
	interval, err := time.ParseDuration(enrolled.Interval)
	if err != nil || interval <= 0 || enrolled.Key == "" {
		return agent.Identity{}, fmt.Errorf("%w: its answer is none that this version knows", agent.ErrRefused)
	}
	return agent.Identity{ID: enrolled.ID, Key: enrolled.Key, Interval: interval}, nil
}

func (s agentServer) Beat(ctx context.Context, who agent.Identity, facts cybervault.HostFacts) (time.Duration, string, error) {
	answer, _, err := send[struct {
		Interval string
		Key      *string
	}](ctx, s.as(who.Key), http.MethodPost, "/v1/agents/"+segment(who.ID)+"/heartbeat", nil, factsOf(facts))
	if err != nil {
		return 0, "", lasting(err)
	}
	key := ""
	if answer.Key != nil {
		key = *answer.Key
	}
	interval, err := time.ParseDuration(answer.Interval)
	if err != nil || interval <= 0 {
		interval = who.Interval
	}
	return interval, key, nil
}

type packagesJSON struct {
	*cybervault.PackageState

	Changes []cybervault.PatchChange `json:"changes,omitempty"`
}

func (s agentServer) Report(ctx context.Context, who agent.Identity, state *cybervault.PackageState, changes []cybervault.PatchChange) error {
	_, _, err := send[struct{}](ctx, s.as(who.Key), http.MethodPost, "/v1/agents/"+segment(who.ID)+"/packages", nil, packagesJSON{state, changes})
	if problem, ok := errors.AsType[*apiError](err); ok && problem.Status == http.StatusNotFound {
		return fmt.Errorf("the server is older than the agent, and knows no packages: %w", err) // it will be upgraded
	}
	if err != nil {
		return lasting(err)
	}
	return nil
}

func (s agentServer) Send(ctx context.Context, who agent.Identity, source string, lines []byte) error {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(lines); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	raw, err := s.as(who.Key).post(ctx, http.MethodPost, "/v1/telemetry", url.Values{"source": {source}}, "application/gzip", &packed)
	if err != nil {
		return lasting(err)
	}
	if !json.Valid(raw) {
		return errors.New("the server's answer to telemetry is no JSON: is there something in between?")
	}
	return nil
}

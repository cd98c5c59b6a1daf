// Package cli is the command line: one file a command.
//
// It stands around the flow. serve starts the server that internal/app wires;
// analyze runs the threat engine without one; the rest speaks to a running
// server through its HTTP API, as any other program would, and never reaches
// into a store. It keeps nothing global: a command gets streams, environment
// and clock from whoever runs it, so that a test can run all of it in its own
// process.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// Env is what the command line knows of the world around it.
type Env struct {
	Args      []string // without the program's name
	Stdin     io.Reader
	Stdout    io.Writer // what was asked for
	Stderr    io.Writer // what is said beside it: logs, errors, hints
	LookupEnv func(string) (string, bool)
	Now       func() time.Time
	Version   string // of the program; "dev" for what a release did not build
}

// Run runs the command that env.Args name and returns the exit status. It ends
// early when ctx does; serve and listen take that as the order to stop.
func Run(ctx context.Context, env Env) int {
	root, started := newRoot(&env)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitDone
	}
	fmt.Fprintf(env.Stderr, "cybervault: %s\n", clean(err.Error()))
	// What fails before a command has started is the command line itself: an
	// unknown command or flag, a missing argument.
	if _, usage := errors.AsType[*usageError](err); usage || !*started {
		fmt.Fprintf(env.Stderr, "Run 'cybervault help' or a command with --help for its use.\n")
		return ExitUsage
	}
	return ExitFailed
}

// newRoot builds the tree of commands. started becomes true once one of them runs.
func newRoot(env *Env) (root *cobra.Command, started *bool) {
	root = &cobra.Command{
		Use:   "cybervault",
		Short: "Security events, detected in your logs and delivered to your webhooks",
		Long: `CyberVault reads telemetry, concludes what is an attack, and delivers what it
found as signed events to your webhooks: stored first, tried again until they
arrive, and logged attempt by attempt.`,
		Version:       version(env.Version),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.AddGroup(
		&cobra.Group{ID: groupServer, Title: "The server and the engine:"},
		&cobra.Group{ID: groupAPI, Title: "A running server, through its API:"},
		&cobra.Group{ID: groupReceiver, Title: "For whoever writes a receiver:"},
	)
	root.AddCommand(commands(env)...)

	started = new(bool)
	markStart(root, started)
	return root, started
}

// The groups of commands in the help text.
const (
	groupServer   = "server"
	groupAPI      = "api"
	groupReceiver = "receiver"
)

// commands lists all of them.
func commands(env *Env) []*cobra.Command {
	return []*cobra.Command{
		newServe(env),
		newAgent(env),
		newDemo(env),
		newAnalyze(env),
		newRules(env),
		newBench(env),
		newBackup(env),
		newRestore(env),
		newDoctor(env),
		newModel(env),
		newTrigger(env),
		newEvents(env),
		newWebhooks(env),
		newDeliveries(env),
		newIncidents(env),
		newExceptions(env),
		newAudit(env),
		newAgents(env),
		newKeys(env),
		newListen(env),
		newVerify(env),
		newVersion(env),
	}
}

func markStart(cmd *cobra.Command, started *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return run(cmd, args)
		}
	}
	for _, child := range cmd.Commands() {
		markStart(child, started)
	}
}

// usageError is a wrong use of a command that its flags alone cannot see.
type usageError struct{ message string }

// Error implements error.
func (e *usageError) Error() string { return e.message }

func usagef(format string, args ...any) error {
	return &usageError{message: fmt.Sprintf(format, args...)}
}

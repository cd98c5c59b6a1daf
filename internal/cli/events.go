package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
)

func newEvents(env *Env) *cobra.Command {
	cmd := eventsList(env, "events")
	cmd.Short, cmd.GroupID = "List, read and publish events", groupAPI
	f := addClientFlags(cmd)
	filters := addEventFilters(env, cmd, "unmatched")
	cmd.RunE = listEvents(env, f, filters)

	list := eventsList(env, "list")
	list.RunE = listEvents(env, f, addEventFilters(env, list))
	cmd.AddCommand(list, eventsGet(env, f), eventsTypes(env, f), eventsPublish(env, f), eventsTail(env, f))
	return cmd
}

// addEventFilters is addListFlags with the words that events have.
func addEventFilters(env *Env, cmd *cobra.Command, more ...string) *listFlags {
	f := addListFlags(env, cmd, append([]string{"event", "since", "until", "q"}, more...)...)
	cmd.Flags().Lookup("q").Usage = "a search: words, and filters such as event:threat.* severity:>=high data.source_ip:203.0.113.42 -data.user:root"
	return f
}

func eventsList(_ *Env, use string) *cobra.Command {
	return &cobra.Command{Use: use, Short: "List events, newest first", Args: cobra.NoArgs,
		Example: "  cybervault events --q 'severity:>=high data.source_ip:203.0.113.*' --since 24h"}
}

type runner = func(*cobra.Command, []string) error

func listEvents(env *Env, f *clientFlags, filters *listFlags) runner {
	return func(cmd *cobra.Command, _ []string) error {
		query, err := filters.query()
		if err != nil {
			return err
		}
		t := &table{heading: []string{"TIME", "EVENT", "ID", "DATA"}}
		return show(cmd.Context(), env, f, "/v1/events", query, filters.limit, t, func(e cybervault.Envelope) []string {
			return []string{moment(&e.Timestamp), e.Event, e.ID.String(), short(string(e.Data), 80)}
		})
	}
}

func eventsGet(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "get EVENT", Short: "Show an event as it is delivered, and its deliveries", Args: cobra.ExactArgs(1),
		Example: "  cybervault events get wh_0192f0c1-…",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			raw, err := c.do(cmd.Context(), http.MethodGet, "/v1/events/"+segment(args[0]), nil, nil)
			if err != nil {
				return err
			}
			if f.json {
				return printLine(env.Stdout, raw)
			}
			if err := printPretty(env.Stdout, raw); err != nil {
				return err
			}
			fmt.Fprintln(env.Stdout)
			return show(cmd.Context(), env, f, "/v1/events/"+segment(args[0])+"/deliveries", nil, cybervault.MaxPageSize, deliveryTable(), deliveryCells)
		},
	}
}

func eventsTypes(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "types [EVENT_TYPE]", Short: "List the event types, or show one with its schema and example", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				raw, err := c.do(cmd.Context(), http.MethodGet, "/v1/event-types/"+segment(args[0]), nil, nil)
				if err != nil {
					return err
				}
				if f.json {
					return printLine(env.Stdout, raw)
				}
				return printPretty(env.Stdout, raw)
			}
			types, _, err := get[struct {
				Data []json.RawMessage `json:"data"`
			}](cmd.Context(), c, "/v1/event-types", nil)
			if err != nil {
				return err
			}
			t := &table{heading: []string{"EVENT TYPE", "SEVERITY", "RAISED WHEN"}}
			for _, raw := range types.Data {
				if f.json {
					if err := printLine(env.Stdout, raw); err != nil {
						return err
					}
					continue
				}
				var eventType cybervault.EventType
				if err := json.Unmarshal(raw, &eventType); err != nil {
					return fmt.Errorf("the server's answer is not what this version expects: %w", err)
				}
				t.add(eventType.Name, string(eventType.Severity), eventType.Description)
			}
			if f.json {
				return nil
			}
			return t.print(env.Stdout, colours(env, env.Stdout))
		},
	}
}

func eventsPublish(env *Env, f *clientFlags) *cobra.Command {
	var key, at string
	cmd := &cobra.Command{
		Use: "publish EVENT_TYPE FILE", Short: "Publish an event whose data is the JSON object in FILE, or - for stdin", Args: cobra.ExactArgs(2),
		Example: "  echo '{\"alert_id\": …}' | cybervault events publish system.alert -",
		RunE: func(cmd *cobra.Command, args []string) error {
			request := cybervault.PublishRequest{Type: args[0], IdempotencyKey: key}
			if at != "" {
				t, err := time.Parse(time.RFC3339, at)
				if err != nil {
					return usagef("--timestamp: %q is not a moment: use the form 2026-01-31T12:00:00Z", at)
				}
				request.Timestamp = t
			}
			data, err := readInput(env, args[1], cybervault.MaxEventBytes)
			if err != nil {
				return err
			}
			if !json.Valid(data) {
				return fmt.Errorf("%s is not JSON: give one object", inputName(args[1]))
			}
			request.Data = data
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			return publish(cmd.Context(), env, f, c, request)
		},
	}
	cmd.Flags().StringVar(&key, "idempotency-key", "", "publishing the same content with the same key again changes nothing")
	cmd.Flags().StringVar(&at, "timestamp", "", "when it happened (default now)")
	return cmd
}

// readInput reads a file, or stdin for "-", up to limit bytes.
func readInput(env *Env, name string, limit int64) ([]byte, error) {
	in := env.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // it is only read
		in = f
	}
	return readAtMost(in, name, limit)
}

// readAtMost reads what name holds, unless that is more than limit bytes.
func readAtMost(in io.Reader, name string, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", inputName(name), err)
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %d KiB", inputName(name), limit>>10)
	}
	return content, nil
}

func inputName(name string) string {
	if name == "-" {
		return "stdin"
	}
	return name
}

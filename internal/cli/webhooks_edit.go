package cli

import (
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
)

// webhookFlags are the settings that create and update share.
type webhookFlags struct {
	url           string
	events        []string
	description   string
	accept        string
	headers       []string
	retrySchedule string
	verification  bool
	caFile        string
	filter        string
	rateLimit     float64
	concurrency   int
	ordered       bool
	clientFile    string
	channelFlags
}

func (w *webhookFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&w.events, "events", nil, "event types, with commas: names, threat.*, or * for all")
	flags.StringVar(&w.description, "description", "", "for people")
	flags.StringVar(&w.accept, "accept", "default", "which answers are success: default (200 and 201) or any_2xx")
	flags.StringArrayVar(&w.headers, "header", nil, "static header to send, 'Name: value'; repeatable")
	flags.StringVar(&w.retrySchedule, "retry-schedule", "", "delays after failed attempts, such as 5s,30s,2m; 'server' for the server's, 'none' for no retry")
	flags.BoolVar(&w.verification, "verification", false, "hold deliveries until a test payload was accepted")
	flags.StringVar(&w.caFile, "ca-certificate", "", "file of the CAs to trust instead of the system's, as PEM")
	flags.StringVar(&w.filter, "filter", "", "CEL expression that is true for what to deliver, such as 'data.confidence > 0.9'; '' for everything")
	flags.Float64Var(&w.rateLimit, "rate-limit", 0, "attempts a second at most; 0 for no limit")
	flags.IntVar(&w.concurrency, "concurrency", 0, "attempts under way at once; 0 for the default of "+strconv.Itoa(cybervault.DefaultConcurrency))
	flags.BoolVar(&w.ordered, "ordered", false, "deliver one after the other, in the order of commit")
	flags.StringVar(&w.clientFile, "client-certificate", "", "file of the certificate, its chain and its key to show to the receiver, as PEM; '' for none")
	w.channelFlags.add(flags)
}

// body holds the settings whose flags were given, by the names of the API.
func (w *webhookFlags) body(env *Env, cmd *cobra.Command) (map[string]any, error) {
	given := func(flag string) bool { f := cmd.Flags().Lookup(flag); return f != nil && f.Changed }
	body := make(map[string]any)
	if w.url != "" {
		body["url"] = w.url
	}
	if given("events") {
		body["events"] = w.events
	}
	if given("description") {
		body["description"] = w.description
	}
	if given("accept") {
		body["accept"] = w.accept
	}
	if given("verification") {
		body["verification"] = w.verification
	}
	if given("header") {
		headers := make(map[string]string, len(w.headers))
		for _, h := range w.headers {
			name, value, ok := strings.Cut(h, ":")
			if !ok {
				return nil, usagef("--header: a header has the form 'Name: value'") // not quoted back: it may hold a credential
			}
			headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
		body["headers"] = headers
	}
	if given("retry-schedule") {
		switch w.retrySchedule {
		case "server":
			body["retry_schedule"] = nil
		case "none":
			body["retry_schedule"] = []string{}
		default:
			if _, err := cybervault.ParseRetrySchedule(w.retrySchedule); err != nil {
				return nil, usagef("--retry-schedule: %s", err)
			}
			body["retry_schedule"] = w.retrySchedule
		}
	}
	if given("filter") {
		body["filter"] = w.filter
	}
	if given("rate-limit") {
		body["rate_limit"] = orNull(w.rateLimit)
	}
	if given("concurrency") {
		body["concurrency"] = orNull(w.concurrency)
	}
	if given("ordered") {
		body["ordered"] = w.ordered
	}
	for flag, setting := range map[string]struct{ name, file string }{
		"ca-certificate": {"ca_certificate", w.caFile}, "client-certificate": {"client_certificate", w.clientFile},
	} {
		if !given(flag) {
			continue
		}
		body[setting.name] = nil
		if setting.file != "" {
			pem, err := os.ReadFile(setting.file)
			if err != nil {
				return nil, err
			}
			body[setting.name] = string(pem)
		}
	}
	return body, w.channelFlags.fill(env, body, given)
}

// orNull sends the zero value of a setting as null, which sets its default.
func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

func webhooksCreate(env *Env, f *clientFlags) *cobra.Command {
	var w webhookFlags
	cmd := &cobra.Command{
		Use: "create URL", Short: "Add a webhook and show its signing secret", Args: cobra.ExactArgs(1),
		Example: `  cybervault webhooks create https://siem.example.com/cybervault --events 'threat.*,auth.suspicious'
  cybervault webhooks create https://127.0.0.1:8443 --events '*' --ca-certificate ca.pem
  cybervault webhooks create https://pager.example.com/in --events 'threat.*' --filter 'data.confidence > 0.9' --rate-limit 5`,
		RunE: func(cmd *cobra.Command, args []string) error {
			w.url = args[0]
			body, err := w.body(env, cmd)
			if err != nil {
				return err
			}
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			raw, err := c.do(cmd.Context(), http.MethodPost, "/v1/webhooks", nil, body)
			if err != nil {
				return err
			}
			return showWebhook(env, f, raw)
		},
	}
	w.add(cmd)
	_ = cmd.MarkFlagRequired("events") // it exists: the line above
	return cmd
}

func webhooksUpdate(env *Env, f *clientFlags) *cobra.Command {
	var w webhookFlags
	cmd := &cobra.Command{
		Use: "update WEBHOOK", Short: "Change the settings whose flags are given", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := w.body(env, cmd)
			if err != nil {
				return err
			}
			if len(body) == 0 {
				return usagef("nothing to change: give a flag for each setting to change")
			}
			return callWebhook(env, f, http.MethodPatch, body)(cmd, args)
		},
	}
	w.add(cmd)
	cmd.Flags().StringVar(&w.url, "url", "", "where the events go")
	return cmd
}

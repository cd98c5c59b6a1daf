package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
)

// webhook is what the API says about one.
type webhook struct {
	ID             string            `json:"id"`
	URL            string            `json:"url"`
	Events         []string          `json:"events"`
	Description    string            `json:"description"`
	Status         string            `json:"status"`
	DisabledReason *string           `json:"disabled_reason"`
	Accept         string            `json:"accept"`
	Headers        map[string]string `json:"headers"`
	RetrySchedule  []string          `json:"retry_schedule"`
	Verification   bool              `json:"verification"`
	VerifiedAt     *time.Time        `json:"verified_at"`
	CACertificate  *string           `json:"ca_certificate"`
	Filter         *string           `json:"filter"`
	RateLimit      *float64          `json:"rate_limit"`
	Concurrency    *int              `json:"concurrency"`
	Ordered        bool              `json:"ordered"`
	ClientCert     *string           `json:"client_certificate"`
	Authentication *authentication   `json:"authentication"`
	PublicKey      *string           `json:"public_key"`
	Proxy          *string           `json:"proxy"`
	CreatedAt      time.Time         `json:"created_at"`
	Secret         string            `json:"secret"`
}

// state is the status, and whether deliveries wait for a verification.
func (w *webhook) state() string {
	if w.Status == string(cybervault.WebhookEnabled) && w.Verification && w.VerifiedAt == nil {
		return "held"
	}
	return w.Status
}

func newWebhooks(env *Env) *cobra.Command {
	cmd := &cobra.Command{Use: "webhooks", GroupID: groupAPI, Short: "Add, change, verify and test webhooks", Args: cobra.NoArgs}
	f := addClientFlags(cmd)
	cmd.RunE = listWebhooks(env, f, addListFlags(env, cmd))

	list := &cobra.Command{Use: "list", Short: "List webhooks, newest first", Args: cobra.NoArgs}
	list.RunE = listWebhooks(env, f, addListFlags(env, list))
	get := &cobra.Command{
		Use: "get WEBHOOK", Short: "Show a webhook", Args: cobra.ExactArgs(1),
		RunE: callWebhook(env, f, http.MethodGet, nil),
	}
	enable := &cobra.Command{
		Use: "enable WEBHOOK", Short: "Give a webhook deliveries again", Args: cobra.ExactArgs(1),
		RunE: callWebhook(env, f, http.MethodPatch, map[string]any{"status": cybervault.WebhookEnabled}),
	}
	disable := &cobra.Command{
		Use: "disable WEBHOOK", Short: "Give a webhook no deliveries until it is enabled", Args: cobra.ExactArgs(1),
		RunE: callWebhook(env, f, http.MethodPatch, map[string]any{"status": cybervault.WebhookDisabled}),
	}
	cmd.AddCommand(list, get, webhooksCreate(env, f), webhooksUpdate(env, f), enable, disable, webhooksDelete(env, f),
		webhooksVerify(env, f), webhooksTest(env, f), webhooksSecret(env, f), webhooksRotateSecret(env, f))
	return cmd
}

func listWebhooks(env *Env, f *clientFlags, filters *listFlags) runner {
	return func(cmd *cobra.Command, _ []string) error {
		query, err := filters.query()
		if err != nil {
			return err
		}
		t := &table{heading: []string{"ID", "STATUS", "EVENTS", "URL", "DESCRIPTION"}}
		return show(cmd.Context(), env, f, "/v1/webhooks", query, filters.limit, t, func(w webhook) []string {
			return []string{w.ID, w.state(), short(strings.Join(w.Events, ","), 40), short(w.URL, 60), short(w.Description, 40)}
		})
	}
}

// callWebhook makes a call about one webhook and shows it as it is then.
func callWebhook(env *Env, f *clientFlags, method string, body any) runner {
	return func(cmd *cobra.Command, args []string) error {
		c, err := f.connect(env)
		if err != nil {
			return err
		}
		raw, err := c.do(cmd.Context(), method, "/v1/webhooks/"+segment(args[0]), nil, body)
		if err != nil {
			return err
		}
		return showWebhook(env, f, raw)
	}
}

func showWebhook(env *Env, f *clientFlags, raw json.RawMessage) error {
	if f.json {
		return printLine(env.Stdout, raw)
	}
	var w webhook
	if err := json.Unmarshal(raw, &w); err != nil {
		return fmt.Errorf("the server's answer is not what this version expects: %w", err)
	}
	schedule := "the server's"
	if w.RetrySchedule != nil {
		schedule = strings.Join(w.RetrySchedule, ",")
	}
	authorities := "the system's"
	if w.CACertificate != nil {
		authorities = "its own"
	}
	pace := []string{}
	if w.RateLimit != nil {
		pace = append(pace, "at most "+strconv.FormatFloat(*w.RateLimit, 'f', -1, 64)+" attempts a second")
	}
	if w.Concurrency != nil {
		pace = append(pace, "at most "+strconv.Itoa(*w.Concurrency)+" at once")
	}
	if w.Ordered {
		pace = append(pace, "one after the other, in order")
	}
	identity := ""
	if w.ClientCert != nil {
		identity = "its own"
	}
	verified := "not asked for"
	switch {
	case w.VerifiedAt != nil:
		verified = moment(w.VerifiedAt)
	case w.Verification:
		verified = "not yet: deliveries are held until 'cybervault webhooks verify " + w.ID + "' succeeds"
	}
	return details(env.Stdout, colours(env, env.Stdout),
		"webhook", w.ID, "url", w.URL, "status", w.Status, "disabled because", text(w.DisabledReason), "events", strings.Join(w.Events, ", "),
		"filter", text(w.Filter), "description", w.Description, "accept", w.Accept, "headers", strings.Join(slices.Sorted(maps.Keys(w.Headers)), ", "),
		"retry schedule", schedule, "pace", strings.Join(pace, ", "), "trusted authorities", authorities, "client certificate", identity,
		"authentication", w.Authentication.words(), "proxy", text(w.Proxy), "public key", text(w.PublicKey), "verified", verified, "created", moment(&w.CreatedAt), "secret", w.Secret)
}

func webhooksDelete(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "delete WEBHOOK", Short: "Remove a webhook and cancel what is still to be delivered", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			if _, err := c.do(cmd.Context(), http.MethodDelete, "/v1/webhooks/"+segment(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(env.Stderr, "Deleted %s.\n", clean(args[0]))
			return nil
		},
	}
}

func webhooksVerify(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "verify WEBHOOK", Short: "Send the test payload and show the answer", Args: cobra.ExactArgs(1),
		Long: "Sends the test payload and shows the attempt. The exit status is 0 if the receiver\naccepted it, 1 if it did not.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			a, raw, err := send[attempt](cmd.Context(), c, http.MethodPost, "/v1/webhooks/"+segment(args[0])+"/verify", nil, nil)
			if err != nil {
				return err
			}
			if f.json {
				err = printLine(env.Stdout, raw)
			} else {
				err = attemptTable([]attempt{a}).print(env.Stdout, colours(env, env.Stdout))
			}
			if err == nil && !a.Succeeded {
				return fmt.Errorf("the receiver did not accept the test payload: %s", text(a.Error))
			}
			return err
		},
	}
}

func webhooksTest(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "test WEBHOOK [EVENT_TYPE]", Short: "Deliver an event type's example (threat.detected) to one webhook", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			eventType := cybervault.EventThreatDetected
			if len(args) == 2 {
				eventType = args[1]
			}
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			raw, err := c.do(cmd.Context(), http.MethodPost, "/v1/webhooks/"+segment(args[0])+"/test", nil, map[string]any{"event": eventType})
			if err != nil {
				return err
			}
			return showDelivery(env, f, raw)
		},
	}
}

func webhooksSecret(env *Env, f *clientFlags) *cobra.Command {
	return &cobra.Command{
		Use: "secret WEBHOOK", Short: "Print the signing secret", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			s, raw, err := get[struct {
				Secret string `json:"secret"`
			}](cmd.Context(), c, "/v1/webhooks/"+segment(args[0])+"/secret", nil)
			if err != nil {
				return err
			}
			if f.json {
				return printLine(env.Stdout, raw)
			}
			_, err = fmt.Fprintln(env.Stdout, clean(s.Secret))
			return err
		},
	}
}

func webhooksRotateSecret(env *Env, f *clientFlags) *cobra.Command {
	var overlap string
	cmd := &cobra.Command{
		Use: "rotate-secret WEBHOOK", Short: "Make a new signing secret and print it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			w, raw, err := send[webhook](cmd.Context(), c, http.MethodPost, "/v1/webhooks/"+segment(args[0])+"/rotate-secret", nil, map[string]any{"overlap": overlap})
			if err != nil {
				return err
			}
			if f.json {
				return printLine(env.Stdout, raw)
			}
			fmt.Fprintf(env.Stderr, "The old secret lives on for %s. The new one:\n", overlap)
			_, err = fmt.Fprintln(env.Stdout, clean(w.Secret))
			if err == nil && w.PublicKey != nil {
				fmt.Fprintln(env.Stderr, "The new public key, to verify webhook-signature with:")
				_, err = fmt.Fprintln(env.Stdout, clean(*w.PublicKey))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&overlap, "overlap", "24h", "how long the old secret lives on, from 0s to 720h")
	return cmd
}

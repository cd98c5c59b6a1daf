package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// delivery is what the API says about one.
type delivery struct {
	ID            string     `json:"id"`
	EventID       string     `json:"event_id"`
	Event         string     `json:"event"`
	WebhookID     string     `json:"webhook_id"`
	Status        string     `json:"status"`
	Reason        *string    `json:"reason"`
	Sequence      *int64     `json:"sequence"`
	AttemptCount  int        `json:"attempt_count"`
	CreatedAt     time.Time  `json:"created_at"`
	NextAttemptAt *time.Time `json:"next_attempt_at"`
	FinishedAt    *time.Time `json:"finished_at"`
	ReplayOf      *string    `json:"replay_of"`
	Test          bool       `json:"test"`
	LastStatus    *int       `json:"last_status"`
	LastFailure   *string    `json:"last_failure"`
	Attempts      []attempt  `json:"attempts"`
}

// attempt is what the API says about one.
type attempt struct {
	Number       int       `json:"number"`
	StartedAt    time.Time `json:"started_at"`
	Succeeded    bool      `json:"succeeded"`
	Failure      *string   `json:"failure"`
	Error        *string   `json:"error"`
	Status       *int      `json:"status"`
	RemoteAddr   *string   `json:"remote_addr"`
	ElapsedMS    float64   `json:"elapsed_ms"`
	ResponseBody *string   `json:"response_body"`
}

// outcome says how an attempt ended, in one word and a number.
func (a *attempt) outcome() string {
	switch {
	case a.Succeeded:
		return "succeeded"
	case a.Failure != nil:
		return "failed"
	}
	return "unknown"
}

// last says what came of the last attempt.
func (d *delivery) last() string {
	switch {
	case d.Reason != nil:
		return *d.Reason
	case d.LastFailure != nil && d.LastStatus != nil:
		return *d.LastFailure + " " + strconv.Itoa(*d.LastStatus)
	case d.LastFailure != nil:
		return *d.LastFailure
	}
	return text(d.LastStatus)
}

func deliveryTable() *table {
	return &table{heading: []string{"CREATED", "EVENT", "STATUS", "ATTEMPTS", "LAST ANSWER", "NEXT ATTEMPT", "ID"}}
}

func deliveryCells(d delivery) []string {
	return []string{moment(&d.CreatedAt), d.Event, d.Status, strconv.Itoa(d.AttemptCount), d.last(), moment(d.NextAttemptAt), d.ID}
}

func newDeliveries(env *Env) *cobra.Command {
	filters := []string{"webhook", "event", "status", "since", "until", "q"}
	cmd := &cobra.Command{Use: "deliveries", GroupID: groupAPI, Short: "List, read, replay and cancel deliveries", Args: cobra.NoArgs}
	f := addClientFlags(cmd)
	cmd.RunE = listDeliveries(env, f, addListFlags(env, cmd, filters...))

	list := &cobra.Command{Use: "list", Short: "List deliveries, newest first", Args: cobra.NoArgs}
	list.RunE = listDeliveries(env, f, addListFlags(env, list, filters...))

	get := &cobra.Command{
		Use: "get DELIVERY", Short: "Show a delivery and its attempts", Args: cobra.ExactArgs(1),
		RunE: callDelivery(env, f, http.MethodGet, ""),
	}
	replay := &cobra.Command{
		Use: "replay DELIVERY", Short: "Make a new delivery of the same event to the same webhook", Args: cobra.ExactArgs(1),
		RunE: callDelivery(env, f, http.MethodPost, "/replay"),
	}
	cancel := &cobra.Command{
		Use: "cancel DELIVERY", Short: "End a delivery that is pending or held", Args: cobra.ExactArgs(1),
		RunE: callDelivery(env, f, http.MethodPost, "/cancel"),
	}
	cmd.AddCommand(list, get, replay, cancel)
	return cmd
}

func listDeliveries(env *Env, f *clientFlags, filters *listFlags) runner {
	return func(cmd *cobra.Command, _ []string) error {
		query, err := filters.query()
		if err != nil {
			return err
		}
		return show(cmd.Context(), env, f, "/v1/deliveries", query, filters.limit, deliveryTable(), deliveryCells)
	}
}

// callDelivery makes a call about one delivery and shows the one it answers with.
func callDelivery(env *Env, f *clientFlags, method, action string) runner {
	return func(cmd *cobra.Command, args []string) error {
		c, err := f.connect(env)
		if err != nil {
			return err
		}
		raw, err := c.do(cmd.Context(), method, "/v1/deliveries/"+segment(args[0])+action, nil, nil)
		if err != nil {
			return err
		}
		return showDelivery(env, f, raw)
	}
}

func showDelivery(env *Env, f *clientFlags, raw json.RawMessage) error {
	if f.json {
		return printLine(env.Stdout, raw)
	}
	var d delivery
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("the server's answer is not what this version expects: %w", err)
	}
	test := ""
	if d.Test {
		test = "yes"
	}
	p := colours(env, env.Stdout)
	err := details(env.Stdout, p,
		"delivery", d.ID, "status", d.Status, "reason", text(d.Reason), "event", d.EventID, "type", d.Event, "webhook", d.WebhookID,
		"sequence", text(d.Sequence), "test", test, "replay of", text(d.ReplayOf), "created", moment(&d.CreatedAt),
		"next attempt", moment(d.NextAttemptAt), "finished", moment(d.FinishedAt), "attempts", strconv.Itoa(d.AttemptCount))
	if err != nil || len(d.Attempts) == 0 {
		return err
	}
	fmt.Fprintln(env.Stdout)
	return attemptTable(d.Attempts).print(env.Stdout, p)
}

func attemptTable(attempts []attempt) *table {
	t := &table{heading: []string{"ATTEMPT", "STARTED", "OUTCOME", "STATUS", "TOOK", "ADDRESS", "WHY"}}
	for _, a := range attempts {
		why := text(a.Error)
		if why == "" {
			why = text(a.Failure)
		}
		t.add(strconv.Itoa(a.Number), moment(&a.StartedAt), a.outcome(), text(a.Status),
			strconv.FormatFloat(a.ElapsedMS, 'f', 1, 64)+" ms", text(a.RemoteAddr), short(why, 120))
	}
	return t
}

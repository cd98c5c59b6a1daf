package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
)

const (
	// tailSilence is how long nothing at all may come until the connection is
	// taken for dead: the server says something every 15 seconds.
	tailSilence = 45 * time.Second
	// tailPause is the first pause before connecting again, doubled each time
	// that fails, up to tailLongest.
	tailPause   = 500 * time.Millisecond
	tailLongest = 30 * time.Second
	// maxItemBytes bounds one item of the stream.
	maxItemBytes = 8 << 20
)

// streamItem is one item of the stream.
type streamItem struct {
	ID   string          `json:"id"`
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

func eventsTail(env *Env, f *clientFlags) *cobra.Command {
	var events, webhook, kinds, after string
	cmd := &cobra.Command{
		Use: "tail", Short: "Follow events, deliveries and attempts as they happen", Args: cobra.NoArgs,
		Long: "Prints a line for each event, delivery and attempt as it is committed, until it is\ninterrupted. A connection that is cut is made again, and goes on where it ended.",
		Example: "  cybervault events tail --kinds event --events 'threat.*'\n" +
			"  cybervault events tail --json | jq .data.id",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.connect(env)
			if err != nil {
				return err
			}
			t := &tail{env: env, client: c, json: f.json, query: url.Values{}, last: after, colours: colours(env, env.Stdout)}
			for name, value := range map[string]string{"events": events, "webhook": webhook, "kinds": kinds} {
				if value != "" {
					t.query.Set(name, value)
				}
			}
			return t.follow(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kinds, "kinds", "", "only some of event,delivery,attempt")
	flags.StringVar(&events, "events", "", "only about events of these types: names, namespaces (threat.*) or *, with commas between")
	flags.StringVar(&webhook, "webhook", "", "only deliveries to this webhook, and their attempts")
	flags.StringVar(&after, "after", "", "begin right after the item with this id, instead of now")
	return cmd
}

// tail follows the stream over any number of connections.
type tail struct {
	env     *Env
	client  *client
	json    bool
	query   url.Values
	last    string // id of the last item printed, or position said by the server
	open    bool   // there was a connection
	colours palette
}

func (t *tail) follow(ctx context.Context) error {
	pause := tailPause
	for {
		before := t.last
		err := t.connect(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // interrupted: that is how it ends
		}
		if problem, ok := errors.AsType[*apiError](err); ok && problem.Status < http.StatusInternalServerError {
			return err // the same again would be refused again
		}
		if _, ok := errors.AsType[*printError](err); ok || !t.open {
			return err
		}
		if t.last != before {
			pause = tailPause
		}
		if err == nil {
			err = errors.New("the server ended the stream")
		}
		fmt.Fprintf(t.env.Stderr, "%s; connecting again\n", clean(err.Error()))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, tailLongest)
	}
}

// printError is a failure to print, which no new connection mends.
type printError struct{ error }

func (e *printError) Unwrap() error { return e.error }

// connect follows one connection to its end.
func (t *tail) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(tailSilence, cancel)
	defer silence.Stop()
	body, err := t.client.stream(ctx, "/v1/stream", t.query, t.last)
	if err != nil {
		return err
	}
	defer body.Close()
	t.open = true
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxItemBytes)
	var item streamItem
	for lines.Scan() {
		silence.Reset(tailSilence)
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			item.ID = value
		case "event":
			item.Kind = value
		case "data":
			item.Data = append(item.Data, value...)
		}
		if lines.Text() != "" {
			continue
		}
		if len(item.Data) > 0 {
			if err := t.print(&item); err != nil {
				return &printError{err}
			}
		}
		if item.ID != "" {
			t.last = item.ID
		}
		item = streamItem{}
	}
	return lines.Err()
}

func (t *tail) print(item *streamItem) error {
	if t.json {
		line, err := marshalPlain(item)
		if err != nil {
			return fmt.Errorf("the server's answer is not JSON: %w", err)
		}
		_, err = t.env.Stdout.Write(line)
		return err
	}
	cells, err := tailCells(item)
	if err != nil {
		return fmt.Errorf("the server's answer is not what this version expects: %w", err)
	}
	for i, c := range cells {
		cells[i] = t.colours.word(strings.ReplaceAll(clean(c), "\n", " "))
	}
	_, err = fmt.Fprintln(t.env.Stdout, strings.Join(cells, "  "))
	return err
}

// tailCells is an item in words.
func tailCells(item *streamItem) ([]string, error) {
	switch cybervault.ChangeKind(item.Kind) {
	case cybervault.ChangeEvent:
		var e cybervault.Envelope
		err := json.Unmarshal(item.Data, &e)
		return []string{"event   ", e.Event, e.ID.String(), short(string(e.Data), 80)}, err
	case cybervault.ChangeDelivery:
		var d struct {
			delivery

			ChangedTo string `json:"changed_to"`
		}
		err := json.Unmarshal(item.Data, &d)
		return []string{"delivery", d.Event, d.ID, d.ChangedTo, d.WebhookID}, err
	case cybervault.ChangeAttempt:
		var a struct {
			attempt

			DeliveryID string `json:"delivery_id"`
			Event      string `json:"event"`
			WebhookID  string `json:"webhook_id"`
		}
		err := json.Unmarshal(item.Data, &a)
		return []string{"attempt ", a.Event, a.DeliveryID, a.outcome(), "number " + strconv.Itoa(a.Number), text(a.Status), text(a.Failure), a.WebhookID}, err
	}
	return []string{item.Kind, string(item.Data)}, nil // of a newer server
}

// stream makes a call whose answer goes on until one of both ends it.
func (c *client) stream(ctx context.Context, path string, query url.Values, last string) (io.ReadCloser, error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	c.identify(req)
	req.Header.Set("Accept", "text/event-stream, application/problem+json")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	endless := *c.http
	endless.Timeout = 0
	resp, err := endless.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxItemBytes))
	if err != nil {
		return nil, fmt.Errorf("the server's answer broke off: %w", err)
	}
	return nil, c.problem(resp, answer)
}

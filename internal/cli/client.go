package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
)

const (
	defaultServer = "http://127.0.0.1:8400"
	// clientTimeout bounds one call. Verifying a webhook waits for its receiver.
	clientTimeout = time.Minute
	// maxAnswerBytes bounds what is read of one answer: a page of the largest
	// events is about 50 MiB.
	maxAnswerBytes = 128 << 20
)

// clientFlags are the flags of the commands that speak to a server.
type clientFlags struct {
	server string
	key    string
	json   bool
}

// addClientFlags adds them to cmd and to all commands below it.
func addClientFlags(cmd *cobra.Command) *clientFlags {
	f := new(clientFlags)
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.server, "server", "", "address of the server (default $CYBERVAULT_SERVER, else "+defaultServer+")")
	flags.StringVar(&f.key, "api-key", "", "API key (default $CYBERVAULT_API_KEY, which does not show in the process list)")
	flags.BoolVar(&f.json, "json", false, "print JSON, one object a line")
	return f
}

// A client speaks to the API of a server with one API key.
type client struct {
	base    *url.URL
	key     string
	version string
	http    *http.Client
}

// connect makes a client from the flags and the environment. It dials nothing.
func (f *clientFlags) connect(env *Env) (*client, error) {
	server, key := f.server, f.key
	if v, ok := env.LookupEnv("CYBERVAULT_SERVER"); ok && server == "" {
		server = v
	}
	if v, ok := env.LookupEnv("CYBERVAULT_API_KEY"); ok && key == "" {
		key = v
	}
	if server == "" {
		server = defaultServer
	}
	base, err := url.Parse(server)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, usagef("%q is not the address of a server: use the form https://cybervault.example.com", server)
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, usagef("the address of the server has more than scheme, host and path: use the form https://cybervault.example.com")
	}
	if key == "" {
		return nil, usagef("an API key is needed: set CYBERVAULT_API_KEY, or give --api-key")
	}
	if base.Scheme == "http" && !loopbackHost(base.Hostname()) {
		fmt.Fprintf(env.Stderr, "warning: the API key travels to %s unencrypted: use https://\n", clean(base.Host))
	}
	return &client{
		base: base, key: key, version: version(env.Version),
		http: &http.Client{
			Timeout: clientTimeout,
			// An API does not redirect; following one would hand the key on.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func loopbackHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// apiError is a problem document that the server answered with.
type apiError struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Errors []struct {
		Field  string `json:"field"`
		Detail string `json:"detail"`
	} `json:"errors"`
	RequestID string `json:"request_id"`
}

// Error shows every field that is wrong, with what would be right.
func (e *apiError) Error() string {
	message := e.Detail
	if len(e.Errors) > 1 {
		words := make([]string, len(e.Errors))
		for i, field := range e.Errors {
			words[i] = field.Field + ": " + field.Detail
		}
		message = strings.Join(words, "\n  ")
	}
	if message == "" {
		message = "the server answered " + strconv.Itoa(e.Status) + " " + e.Title
	}
	if e.Status >= http.StatusInternalServerError && e.RequestID != "" {
		message += " (request_id " + e.RequestID + ")"
	}
	return message
}

// do makes one call. body, unless nil, is sent as JSON; a json.RawMessage in it
// is sent as it is. The answer's body is returned.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body any) (json.RawMessage, error) {
	if body != nil {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(body); err != nil {
			return nil, err
		}
		return c.post(ctx, method, path, query, "application/json", &b)
	}
	return c.post(ctx, method, path, query, "", http.NoBody)
}

// post makes one call with a body as it is. The answer's body is returned.
func (c *client) post(ctx context.Context, method, path string, query url.Values, contentType string, content io.Reader) (json.RawMessage, error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return nil, err
	}
	c.identify(req)
	req.Header.Set("Accept", "application/json, application/problem+json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the server's answer broke off: %w", err)
	case len(answer) > maxAnswerBytes:
		return nil, fmt.Errorf("the server's answer is larger than %d MiB: ask for less with --limit", maxAnswerBytes>>20)
	case resp.StatusCode >= http.StatusOK && resp.StatusCode < http.StatusMultipleChoices:
		return answer, nil
	}
	return nil, c.problem(resp, answer)
}

// identify says who calls.
func (c *client) identify(req *http.Request) {
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("User-Agent", "cybervault-cli/"+c.version)
}

// problem is what the server answered instead of what was asked for.
func (c *client) problem(resp *http.Response, answer []byte) *apiError {
	problem := &apiError{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
		_ = json.Unmarshal(answer, problem) // what it holds is a bonus; the status is known
	} else {
		problem.Detail = fmt.Sprintf("%s answered %d %s: is that a CyberVault server?", c.base.Host, problem.Status, problem.Title)
	}
	return problem
}

func (c *client) unreachable(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL, which is said better below
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "dial" {
		return fmt.Errorf("no server answers at %s (%w): start one with 'cybervault serve', or name another with --server", c.base, operation.Err)
	}
	return fmt.Errorf("%s: %w", c.base, err)
}

// segment makes an argument one segment of a path, whatever it holds. A dot
// segment, which would be cleaned away and lead to another call, becomes a dash,
// which is the id of nothing.
func segment(s string) string {
	if strings.Trim(s, ".") == "" {
		return "-"
	}
	return url.PathEscape(s)
}

// get reads one object into T, and returns it as it was answered as well.
func get[T any](ctx context.Context, c *client, path string, query url.Values) (T, json.RawMessage, error) {
	return send[T](ctx, c, http.MethodGet, path, query, nil)
}

// send makes one call and reads its answer into T.
func send[T any](ctx context.Context, c *client, method, path string, query url.Values, body any) (T, json.RawMessage, error) {
	var into T
	raw, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return into, nil, err
	}
	if err := json.Unmarshal(raw, &into); err != nil {
		return into, nil, fmt.Errorf("the server's answer is not what this version expects: %w", err)
	}
	return into, raw, nil
}

// list reads up to limit rows, page by page, and hands each on as it was answered.
func (c *client) list(ctx context.Context, path string, query url.Values, limit int, row func(json.RawMessage) error) error {
	if query == nil {
		query = url.Values{}
	}
	for limit > 0 {
		query.Set("limit", strconv.Itoa(min(limit, cybervault.MaxPageSize)))
		page, _, err := get[struct {
			Data       []json.RawMessage `json:"data"`
			NextCursor *string           `json:"next_cursor"`
		}](ctx, c, path, query)
		if err != nil {
			return err
		}
		for _, raw := range page.Data[:min(len(page.Data), limit)] {
			if err := row(raw); err != nil {
				return err
			}
		}
		limit -= len(page.Data)
		if page.NextCursor == nil { // a page of a long search may be empty, and lead on
			return nil
		}
		query.Set("cursor", *page.NextCursor)
	}
	return nil
}

// show prints rows as a table, or one a line as they were answered.
func show[T any](ctx context.Context, env *Env, f *clientFlags, path string, query url.Values, limit int, t *table, cells func(T) []string) error {
	c, err := f.connect(env)
	if err != nil {
		return err
	}
	err = c.list(ctx, path, query, limit, func(raw json.RawMessage) error {
		if f.json {
			return printLine(env.Stdout, raw)
		}
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("the server's answer is not what this version expects: %w", err)
		}
		t.add(cells(v)...)
		return nil
	})
	if err != nil || f.json {
		return err
	}
	if len(t.rows) == 0 {
		fmt.Fprintln(env.Stderr, "Nothing found.")
		return nil
	}
	return t.print(env.Stdout, colours(env, env.Stdout))
}

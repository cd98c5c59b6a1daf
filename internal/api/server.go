package api

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cybervault/cybervault"
)

// Config is what the API is made of. Every service is required but Receivers;
// Metrics may be nil, and then there is no /metrics.
type Config struct {
	Publisher Publisher
	Webhooks  Webhooks
	Log       Log
	Changes   ChangeLog
	Commits   Commits
	Poller    Poller
	Replayer  Replayer
	Previewer Previewer
	Replays   Replays
	Catalogue Catalogue
	Telemetry Telemetry
	Fleet     Fleet
	Incidents Incidents
	Controls  Controls
	Audit     Audit
	Actions   Actions
	Alerts    Alerts
	Packages  Packages
	Keys      Keys
	Backups   Backups
	Doctor    Doctor
	Health    Health
	Receivers Receivers // nil: webhooks are shown without their health
	Metrics   http.Handler
	// Admit says whether so many bytes may be published now; CodeUnavailable
	// where not. nil: always.
	Admit func(bytes int64) error
	// Refusing says in words why nothing is published now, "" where that is not
	// so, for /readyz. nil: never.
	Refusing func() string
	Load     *Load // nil: one with the default bounds

	Version string           // of the server, shown in /openapi.json
	Logger  *slog.Logger     // nil: slog.Default()
	Now     func() time.Time // nil: time.Now
}

// server holds the services; its methods are the handlers.
type server struct {
	Config
	openapi    func() ([]byte, error)
	eventTable fields[cybervault.PublishRequest] // made once: it is read for every event
	warned     atomic.Int64                      // the second of the last warning that a request could not be served
	streams    places
	polls      places
}

// call is one request on its way through a handler.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	key   *cybervault.APIKey // nil on a route without scope
	query url.Values         // known parameters only, each once
	load  *Load
	held  int64 // bytes of the body that are held
}

func (c *call) ctx() context.Context { return c.r.Context() }

func (c *call) workspace() cybervault.WorkspaceID { return c.key.Workspace }

// New returns the handler of /v1/*, /healthz, /readyz, /metrics and
// /openapi.json. Anything else is answered with a problem of status 404. Time
// limits on reading requests are the http.Server's to set.
func New(config Config) http.Handler {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Load == nil {
		config.Load = &Load{}
	}
	s := &server{
		Config: config, eventTable: eventFields(),
		streams: places{what: "streams", perWorkspace: MaxWorkspaceStreams, all: MaxStreams},
		polls:   places{what: "polls", perWorkspace: MaxWorkspacePolls, all: MaxPolls},
	}
	s.openapi = sync.OnceValues(s.describe)

	mux := http.NewServeMux()
	for pattern, methods := range byPattern(routes()) {
		mux.Handle(pattern, s.methods(methods))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, cybervault.Errorf(cybervault.CodeNotFound, "there is nothing at this path: the calls are listed at /openapi.json"))
	})
	return s.observe(mux)
}

// byPattern gathers the routes that differ in their method only.
func byPattern(all []route) map[string]map[string]route {
	patterns := make(map[string]map[string]route)
	for _, rt := range all {
		if patterns[rt.pattern] == nil {
			patterns[rt.pattern] = make(map[string]route)
		}
		patterns[rt.pattern][rt.method] = rt
	}
	return patterns
}

// methods answers the requests for one path.
func (s *server) methods(methods map[string]route) http.Handler {
	allowed := make([]string, 0, len(methods)+1)
	for method := range methods {
		allowed = append(allowed, method)
	}
	if _, ok := methods[http.MethodGet]; ok {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet // net/http leaves the body out
		}
		rt, ok := methods[method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.fail(w, r, &problem{
				status: http.StatusMethodNotAllowed, code: codeMethodNotAllowed,
				message: "this path does not know the method " + shorten(r.Method) + ": it knows " + strings.Join(allowed, ", "),
			})
			return
		}
		if err := s.serve(w, r, rt); err != nil {
			s.fail(w, r, err)
		}
	})
}

// serve checks what is the same for every route, then calls the handler.
func (s *server) serve(w http.ResponseWriter, r *http.Request, rt route) error {
	c := &call{w: w, r: r, load: s.Load}
	if rt.tag != tagOperations {
		if !s.Load.enter() {
			return cybervault.Errorf(cybervault.CodeUnavailable, "too many requests are under way; nothing was kept, try again")
		}
		defer s.Load.leave()
	}
	defer func() { s.Load.give(c.held) }()
	if rt.scope != "" {
		key, err := s.authenticate(w, r)
		if err != nil {
			return err
		}
		c.key = key
		if seen, ok := w.(*recorder); ok {
			seen.key = key.ID
		}
		if !key.Allows(rt.scope) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="cybervault", error="insufficient_scope", scope="`+string(rt.scope)+`"`)
			return cybervault.Errorf(cybervault.CodeForbidden, "this API key lacks the scope %q that the call needs", rt.scope)
		}
	}
	if c.key != nil {
		actor := cybervault.Actor{Kind: cybervault.ActorAPIKey, ID: c.key.ID.String(), Name: c.key.Name, Address: addressOf(r)}
		if a := c.key.Agent; a != nil {
			actor.Kind, actor.ID, actor.Name = cybervault.ActorAgent, a.ID.String(), a.Hostname
		}
		c.r = r.WithContext(cybervault.WithActor(r.Context(), actor))
	}
	query, err := readQuery(r, rt.params)
	if err != nil {
		return err
	}
	c.query = query
	return rt.handle(s, c)
}

// addressOf is where a request came from, without the port.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// authenticate finds the API key of the request (RFC 6750, section 2.1).
func (s *server) authenticate(w http.ResponseWriter, r *http.Request) (*cybervault.APIKey, error) {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	bearer = strings.TrimSpace(bearer)
	if !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		w.Header().Set("WWW-Authenticate", `Bearer realm="cybervault"`)
		return nil, cybervault.Errorf(cybervault.CodeUnauthorized, "an API key is needed: send the header \"Authorization: Bearer <API key>\"")
	}
	key, err := s.Keys.Authenticate(r.Context(), bearer)
	if cybervault.ErrorCode(err) == cybervault.CodeUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="cybervault", error="invalid_token"`)
	}
	return key, err
}

// observe wraps all requests: an id, headers, a line in the log, and an answer
// even when a handler panics.
func (s *server) observe(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := s.Now()
		id := requestID(r)
		seen := &recorder{ResponseWriter: w, id: id}
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		defer func() {
			if cause := recover(); cause != nil {
				s.recovered(seen, r, cause)
			}
			s.Logger.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path, "status", seen.status,
				"bytes", seen.bytes, "took", s.Now().Sub(started), "key", seen.key, "request_id", id)
		}()
		if r.URL.Path != "" && path.Clean(r.URL.Path) != strings.TrimSuffix(r.URL.Path, "/") && r.URL.Path != "/" {
			// The mux would redirect to the clean path, which turns a POST into a riddle.
			s.fail(seen, r, cybervault.Errorf(cybervault.CodeNotFound, "there is nothing at this path: it holds an empty, \".\" or \"..\" part"))
			return
		}
		mux.ServeHTTP(seen, r)
	})
}

func (s *server) recovered(w *recorder, r *http.Request, cause any) {
	if cause == http.ErrAbortHandler { //nolint:errorlint // the sentinel is passed to panic as it is
		panic(cause)
	}
	s.Logger.ErrorContext(r.Context(), "a handler panicked", "method", r.Method, "path", r.URL.Path, "request_id", w.id,
		"cause", cause, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler) // half an answer is out: break the connection, so that it is not taken for a whole one
	}
	writeProblem(w, &problem{status: http.StatusInternalServerError, code: string(cybervault.CodeInternal), message: internalMessage})
}

// recorder remembers what was answered, for the log.
type recorder struct {
	http.ResponseWriter
	id     string
	key    cybervault.APIKeyID
	status int
	bytes  int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += n
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// requestID takes the caller's X-Request-Id if it is harmless in a log, or makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id != "" && len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == "" {
		return id
	}
	return rand.Text()
}

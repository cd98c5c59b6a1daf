package dashboard

import (
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/cybervault/cybervault"
)

// maxFormBytes bounds the body of a POST; the largest field, a bundle of CA
// certificates, is far below it.
const maxFormBytes = 1 << 20

// Config is what the dashboard needs. Every service is required.
type Config struct {
	Webhooks  Webhooks
	Receivers Receivers
	Log       Log
	Replayer  Replayer
	Previewer Previewer
	Catalogue Catalogue
	Keys      Keys
	Actions   Actions
	System    System
	Fleet     Fleet
	Alerts    Alerts
	SignOn    SignOn // nil: nobody logs in by OpenID Connect
	Access    Access
	Changes   Changes
	Incidents Incidents
	Rules     Rules

	// PublicURL is where people reach the dashboard, https://host; empty: where the
	// request says.
	PublicURL string
	// RetrySchedule is what the server was told to use where a webhook has none
	// of its own; nil: cybervault.DefaultRetrySchedule.
	RetrySchedule []time.Duration

	Dev     bool             // the server runs with --dev: every page says so
	Version string           // shown at the foot of the navigation
	Now     func() time.Time // nil: time.Now
	Logger  *slog.Logger     // nil: slog.Default
}

func (c *Config) check() error {
	var errs []error
	need := func(name string, missing bool) {
		if missing {
			errs = append(errs, errors.New("dashboard: Config."+name+" is missing"))
		}
	}
	need("Webhooks", c.Webhooks == nil)
	need("Receivers", c.Receivers == nil)
	need("Log", c.Log == nil)
	need("Replayer", c.Replayer == nil)
	need("Previewer", c.Previewer == nil)
	need("Catalogue", c.Catalogue == nil)
	need("Keys", c.Keys == nil)
	need("Access", c.Access == nil)
	need("Changes", c.Changes == nil)
	need("Incidents", c.Incidents == nil)
	need("Rules", c.Rules == nil)
	need("Fleet", c.Fleet == nil)
	need("Alerts", c.Alerts == nil)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.RetrySchedule == nil {
		c.RetrySchedule = cybervault.DefaultRetrySchedule()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return errors.Join(errs...)
}

type dashboard struct {
	Config
	pages  map[string]*template.Template
	assets *assets
}

// New returns the handler of the dashboard, to be mounted at "/" beside the
// API. It is safe for concurrent use. It fails only when a service is missing
// or a template is broken.
func New(cfg Config) (http.Handler, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	assets, err := loadAssets()
	if err != nil {
		return nil, err
	}
	pages, err := parseTemplates(assets)
	if err != nil {
		return nil, err
	}
	d := &dashboard{Config: cfg, pages: pages, assets: assets}

	mux := http.NewServeMux()
	mux.Handle("GET /static/{file}", d.assets)
	for _, rt := range d.routes() {
		d.mount(mux, rt)
	}
	return d.protect(mux), nil
}

// action answers one request, or returns the error to be shown as a page.
type action func(w http.ResponseWriter, r *http.Request) error

// mount is the one place where it is checked who may do what: a request reaches the
// action of a route only with a session that has the route's permission, and the
// action knows no other workspace than the session's.
func (d *dashboard) mount(mux *http.ServeMux, rt route) {
	mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		if rt.permission != permitNobody {
			admitted, session, err := d.admit(r)
			switch {
			case err != nil:
				d.fail(w, r, err)
				return
			case session == nil:
				d.askToLogIn(w, r)
				return
			case session.Due && rt.permission != permitDue:
				http.Redirect(w, r, "/login/code?next="+url.QueryEscape(here(r)), http.StatusSeeOther)
				return
			case rt.permission != permitDue && !session.May(rt.permission):
				d.fail(w, admitted, cybervault.Errorf(cybervault.CodeForbidden, "This needs more than the role %q may do in this workspace.", session.Role))
				return
			}
			r = admitted
		}
		if err := rt.do(w, r); err != nil {
			d.fail(w, r, err)
		}
	})
}

func redirectTo(path string) action {
	return func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, path, http.StatusSeeOther)
		return nil
	}
}

func (d *dashboard) notFound(http.ResponseWriter, *http.Request) error {
	return cybervault.Errorf(cybervault.CodeNotFound, "There is no page at this address.")
}

package dashboard

import (
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

// maxFormBytes bounds the body of a POST; the largest field, a bundle of CA
// certificates, is far below it.
const maxFormBytes = 1 << 20

// Config is what the dashboard needs. Every service is required.
type Config struct {
	Workspace cybervault.WorkspaceID

	Webhooks  Webhooks
	Log       Log
	Replayer  Replayer
	Previewer Previewer
	Catalogue Catalogue
	Keys      Keys
	Sessions  Sessions
	Changes   Changes
	Incidents Incidents
	Rules     Rules

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
	need("Workspace", c.Workspace.IsZero())
	need("Webhooks", c.Webhooks == nil)
	need("Log", c.Log == nil)
	need("Replayer", c.Replayer == nil)
	need("Previewer", c.Previewer == nil)
	need("Catalogue", c.Catalogue == nil)
	need("Keys", c.Keys == nil)
	need("Sessions", c.Sessions == nil)
	need("Changes", c.Changes == nil)
	need("Incidents", c.Incidents == nil)
	need("Rules", c.Rules == nil)
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
	d.open(mux, "GET /login", d.showLogin)
	d.open(mux, "POST /login", d.login)
	d.open(mux, "POST /theme", d.setTheme)

	d.closed(mux, "POST /logout", d.logout)
	d.closed(mux, "GET /live", d.live)
	d.closed(mux, "GET /{$}", d.overview)
	d.closed(mux, "GET /deliveries", d.listDeliveries)
	d.closed(mux, "POST /deliveries", d.bulkDeliveries)
	d.closed(mux, "GET /deliveries/{id}", d.showDelivery)
	d.closed(mux, "POST /deliveries/{id}/replay", d.replayDelivery)
	d.closed(mux, "POST /deliveries/{id}/cancel", d.cancelDelivery)
	d.closed(mux, "GET /events", d.listEvents)
	d.closed(mux, "GET /events/{id}", d.showEvent)
	d.closed(mux, "GET /events/{id}/raw", d.rawEvent)

	d.closed(mux, "GET /incidents", d.listIncidents)
	d.closed(mux, "GET /incidents/{id}", d.showIncident)
	d.closed(mux, "POST /incidents/{id}", d.changeIncident)
	d.closed(mux, "POST /incidents/{id}/merge", d.mergeIncident)

	d.closed(mux, "GET /rules", d.listRules)
	d.closed(mux, "GET /rules/{id}", d.showRule)
	d.closed(mux, "POST /rules/{id}/status", d.setRule)
	d.closed(mux, "GET /rules/exceptions", d.listExceptions)
	d.closed(mux, "POST /rules/exceptions", d.addException)
	d.closed(mux, "POST /rules/exceptions/preview", d.previewException)
	d.closed(mux, "POST /rules/exceptions/{exception}/remove", d.removeException)

	const hooks = "/settings/integrations/webhooks"
	d.closed(mux, "GET /settings", redirectTo(hooks))
	d.closed(mux, "GET /settings/integrations", redirectTo(hooks))
	d.closed(mux, "GET "+hooks, d.listWebhooks)
	d.closed(mux, "POST "+hooks, d.createWebhook)
	d.closed(mux, "GET "+hooks+"/new", d.newWebhook)
	d.closed(mux, "POST "+hooks+"/preview", d.previewFilter)
	d.closed(mux, "GET "+hooks+"/{id}", d.showWebhook)
	d.closed(mux, "GET "+hooks+"/{id}/edit", d.editWebhook)
	d.closed(mux, "POST "+hooks+"/{id}/edit", d.updateWebhook)
	d.closed(mux, "POST "+hooks+"/{id}/status", d.setWebhookStatus)
	d.closed(mux, "POST "+hooks+"/{id}/verify", d.verifyWebhook)
	d.closed(mux, "POST "+hooks+"/{id}/test", d.testWebhook)
	d.closed(mux, "POST "+hooks+"/{id}/secret", d.revealSecret)
	d.closed(mux, "POST "+hooks+"/{id}/rotate", d.rotateSecret)
	d.closed(mux, "POST "+hooks+"/{id}/delete", d.deleteWebhook)

	d.closed(mux, "GET /settings/api-keys", d.listKeys)
	d.closed(mux, "POST /settings/api-keys", d.createKey)
	d.closed(mux, "POST /settings/api-keys/{id}/revoke", d.revokeKey)

	d.closed(mux, "/", d.notFound)
	return d.protect(mux), nil
}

// action answers one request, or returns the error to be shown as a page.
type action func(w http.ResponseWriter, r *http.Request) error

// open mounts an action that needs no session.
func (d *dashboard) open(mux *http.ServeMux, pattern string, do action) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		if err := do(w, r); err != nil {
			d.fail(w, r, err)
		}
	})
}

// closed mounts an action that needs a session.
func (d *dashboard) closed(mux *http.ServeMux, pattern string, do action) {
	d.open(mux, pattern, func(w http.ResponseWriter, r *http.Request) error {
		if !d.loggedIn(r) {
			d.askToLogIn(w, r)
			return nil
		}
		return do(w, r)
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

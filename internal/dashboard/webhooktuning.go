package dashboard

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// tuningForm is the part of a webhook's form that says how it is delivered to.
type tuningForm struct {
	Filter            string
	RateLimit         string
	Concurrency       string
	Ordered           bool
	ClientCertificate string
	Preview           *previewView // asked for with the button beside the filter
}

func newTuningForm(t *cybervault.Tuning) tuningForm {
	f := tuningForm{Filter: t.Filter, Ordered: t.Ordered}
	if t.RateLimit != 0 {
		f.RateLimit = formatRate(t.RateLimit)
	}
	if t.Concurrency != 0 {
		f.Concurrency = strconv.Itoa(t.Concurrency)
	}
	if t.ClientCertificate != "" {
		f.ClientCertificate = maskedValue
	}
	return f
}

// sentTuningForm is the form as it was sent.
func sentTuningForm(form url.Values) tuningForm {
	return tuningForm{
		Filter: form.Get("filter"), RateLimit: form.Get("rate_limit"), Concurrency: form.Get("concurrency"),
		Ordered: form.Get("ordered") != "", ClientCertificate: form.Get("client_certificate"),
	}
}

// any reports whether one of the settings is not the default.
func (f *tuningForm) any() bool {
	return f.Filter != "" || f.RateLimit != "" || f.Concurrency != "" || f.Ordered || f.ClientCertificate != ""
}

// read puts the settings into a change.
func (f *tuningForm) read(change *cybervault.WebhookChange) error {
	filter := strings.TrimSpace(normalLines(f.Filter))
	var rate float64
	var concurrency int
	var err error
	if text := strings.TrimSpace(f.RateLimit); text != "" {
		if rate, err = strconv.ParseFloat(text, 64); err != nil || rate <= 0 {
			return cybervault.Invalid("rate_limit", "%q is not a number above 0: write attempts a second, such as 10 or 0.5", cut(text, 60))
		}
	}
	if text := strings.TrimSpace(f.Concurrency); text != "" {
		if concurrency, err = strconv.Atoi(text); err != nil || concurrency <= 0 {
			return cybervault.Invalid("concurrency", "%q is not a whole number from 1 to %d", cut(text, 60), cybervault.MaxConcurrency)
		}
	}
	change.Filter, change.RateLimit, change.Concurrency, change.Ordered = &filter, &rate, &concurrency, &f.Ordered
	certificate := strings.TrimSpace(normalLines(f.ClientCertificate))
	if certificate == maskedValue {
		return nil // it stays
	}
	if certificate != "" {
		certificate += "\n"
	}
	change.ClientCertificate = &certificate
	return nil
}

// tuningWords says how a webhook is delivered to, for its page; empty where all
// is as usual.
func tuningWords(t *cybervault.Tuning) (words []string) {
	if t.RateLimit != 0 {
		words = append(words, "at most "+formatRate(t.RateLimit)+" attempts a second")
	}
	if t.Concurrency != 0 {
		words = append(words, "at most "+strconv.Itoa(t.Concurrency)+" at once")
	}
	if t.Ordered {
		words = append(words, "one after the other, in order")
	}
	return words
}

func formatRate(rate float64) string { return strconv.FormatFloat(rate, 'f', -1, 64) }

// previewView is what a filter would have done.
type previewView struct {
	Problem  string
	Examined int
	Matched  int
	Errors   int
	Sample   []verdictView
}

type verdictView struct {
	ID, Type, Why string
	Matched       bool
	At            moment
}

// previewFilter says what the filter in the form would have done: htmx puts that
// beside it; without JavaScript the form comes back with it.
func (d *dashboard) previewFilter(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	form := r.PostForm
	v := &webhookFormView{page: d.newPage(r, "webhooks", "Add webhook")}
	if text := form.Get("id"); text != "" {
		id, err := cybervault.ParseID[cybervault.WebhookID](text)
		if err != nil {
			return cybervault.Errorf(cybervault.CodeNotFound, "There is no such webhook.")
		}
		hook, err := d.Webhooks.Webhook(r.Context(), workspaceOf(r.Context()), id)
		if err != nil {
			return err
		}
		v.page = d.newPage(r, "webhooks", "Edit webhook")
		v.ID, v.Name, v.StoredAuth = hook.ID.String(), webhookName(hook), string(hook.Authentication.Type)
	}
	v.refill(form)
	v.Advanced = true
	v.offer(d.Catalogue.List(workspaceOf(r.Context())), form["events"])
	preview, err := d.Previewer.PreviewFilter(r.Context(), workspaceOf(r.Context()), strings.TrimSpace(normalLines(v.Filter)), chosenEvents(form["events"]), time.Time{})
	switch code := cybervault.ErrorCode(err); {
	case code == cybervault.CodeInvalid:
		_, message := fieldError(err)
		v.Preview = &previewView{Problem: message}
	case err != nil:
		return err
	default:
		v.Preview = d.previewView(preview)
	}
	if wantsPart(r) {
		return d.renderPart(w, "webhookform", "filter-preview", v)
	}
	return d.renderForm(w, http.StatusOK, v)
}

func (d *dashboard) previewView(p *cybervault.FilterPreview) *previewView {
	v := &previewView{Examined: p.Examined, Matched: p.Matched, Errors: p.Errors}
	for _, s := range p.Sample {
		v.Sample = append(v.Sample, verdictView{ID: s.Event.String(), Type: cut(s.Type, 100), Why: cut(s.Why, 300), Matched: s.Matched, At: d.moment(s.Event.Time())})
	}
	return v
}

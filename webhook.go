package cybervault

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"
)

// Limits on a webhook.
const (
	MaxURLBytes              = 2048
	MaxWebhookHeaders        = 32
	MaxHeaderValueBytes      = 4096
	MaxDescriptionBytes      = 1000
	MaxWebhooksPerWorkspace  = 100_000
	MaxRetrySteps            = 100
	MaxRetryDelay            = 30 * 24 * time.Hour
	DefaultConcurrency       = 32 // attempts under way at once to one webhook
	MaxConcurrency           = 512
	MaxRateLimit             = 100_000 // attempts a second
	MaxFilterBytes           = 4096
	AttemptTimeout           = 5 * time.Second
	MaxRetryAfter            = 24 * time.Hour
	MaxKeptResponseBodyBytes = 16 << 10
)

// WebhookStatus says whether a webhook is given new deliveries.
type WebhookStatus string

// The statuses of a webhook.
const (
	WebhookEnabled  WebhookStatus = "enabled"
	WebhookDisabled WebhookStatus = "disabled"
)

// DisabledByPerson is the DisabledReason of a webhook that a person disabled; any other
// is the server's.
const DisabledByPerson = "disabled by a person"

// Accept says which answers count as success.
type Accept string

// The choices of Accept.
const (
	AcceptDefault Accept = "default" // 200 and 201
	AcceptAny2xx  Accept = "any_2xx"
)

// Accepts reports whether the status code of an answer is success.
func (a Accept) Accepts(status int) bool {
	if a == AcceptAny2xx {
		return status >= 200 && status <= 299
	}
	return status == http.StatusOK || status == http.StatusCreated
}

// Header is one static header that the owner of a webhook configured.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Secret is one signing secret of a webhook, as it is shown ("whsec_…").
type Secret struct {
	Value     string    `json:"value"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // end of a rotation's overlap; zero while it is the newest
}

// Webhook is a configured destination: a URL, chosen event types, signing
// secrets, delivery settings. A value is never changed once it is shared:
// a change makes a new value.
type Webhook struct {
	ID             WebhookID
	Workspace      WorkspaceID
	URL            string
	Events         []string // names, "threat.*", "*"
	Description    string
	Status         WebhookStatus
	DisabledReason string // why it is disabled, in words; empty while enabled
	Accept         Accept
	Headers        []Header        // kept sealed
	Secrets        []Secret        // newest first, at least one; kept sealed
	RetrySchedule  []time.Duration // delays after the first, second … failed attempt; nil: the server's
	CACertificate  string          // PEM of the CAs to trust instead of the system's; empty: the system's
	Verification   bool            // deliveries are held until a test payload was accepted
	VerifiedAt     time.Time       // zero until then
	CreatedAt      time.Time
	UpdatedAt      time.Time
	DeletedAt      time.Time // zero while it exists; a deleted webhook stays for the log
	Revision       int64     // counts its changes in the store; 0 for one that is not stored yet
	Tuning
	Channel
}

// Tuning is how a webhook is delivered to, beyond what every one needs. The zero
// value is the default of each setting.
type Tuning struct {
	Filter            string  // CEL over the envelope, true for what is to be delivered; empty: everything
	RateLimit         float64 // attempts a second at most; 0: no limit
	Concurrency       int     // attempts under way at once; 0: DefaultConcurrency
	Ordered           bool    // one after the other in the order of commit, holding back behind a failure
	ClientCertificate string  // PEM of a certificate chain and its key, for mutual TLS; kept sealed
}

// Channel is the way to a webhook's receiver, and how the receiver recognises who
// takes it. The zero value is the default of each setting. All of it is kept sealed.
type Channel struct {
	Authentication Authentication // what Authorization is made from
	Signature      Signature      // of webhook-signature; empty: SignatureHMAC
	SigningKeys    []SigningKey   // newest first, at least one with SignatureEd25519, else none
	Proxy          string         // "http://user:password@host:port" that attempts go through; empty: none
}

// AttemptsAtOnce is how many attempts to the webhook may be under way at once.
func (w *Webhook) AttemptsAtOnce() int {
	switch {
	case w.Ordered:
		return 1
	case w.Concurrency > 0:
		return w.Concurrency
	}
	return DefaultConcurrency
}

// Polled reports whether the receiver fetches its deliveries, and none is sent.
func (w *Webhook) Polled() bool { return w.URL == PollURL }

// InLine reports whether deliveries stand in the order of their sequence numbers.
func (w *Webhook) InLine() bool { return w.Ordered || w.Polled() }

// Held reports whether deliveries wait for the webhook's verification.
func (w *Webhook) Held() bool { return w.Verification && w.VerifiedAt.IsZero() }

// Live reports whether the webhook takes deliveries now.
func (w *Webhook) Live() bool { return w.Status == WebhookEnabled && w.DeletedAt.IsZero() }

// Subscribes reports whether the webhook chose the event type.
func (w *Webhook) Subscribes(eventType string) bool {
	for _, choice := range w.Events {
		if MatchesEventType(choice, eventType) {
			return true
		}
	}
	return false
}

// SecretPrefix starts every signing secret; base64 of 32 random bytes follows,
// as Standard Webhooks 1.0 recommends.
const SecretPrefix = "whsec_"

// NewSecret makes a signing secret of 256 random bits.
func NewSecret(now time.Time) Secret {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	return Secret{Value: SecretPrefix + base64.StdEncoding.EncodeToString(raw), CreatedAt: now}
}

// Signature says what a webhook's webhook-signature is made with.
// X-CyberVault-Signature is an HMAC whatever it says.
type Signature string

// The choices of Signature.
const (
	SignatureHMAC    Signature = "hmac"    // "v1,…", with the secrets
	SignatureEd25519 Signature = "ed25519" // "v1a,…", with the signing keys
)

// SigningKey is a key pair of a webhook, of which the private half is kept.
type SigningKey struct {
	Private   string    `json:"private"` // "whsk_…"
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // end of a rotation's overlap; zero while it is the newest
}

// PublicKey is what receivers check the newest signature with, "whpk_…"; empty
// without signing keys.
func (c *Channel) PublicKey() string {
	if len(c.SigningKeys) == 0 {
		return ""
	}
	return PublicKey(c.SigningKeys[0].Private)
}

// reservedHeaders are set by CyberVault or by HTTP itself.
var reservedHeaders = map[string]bool{
	"Host": true, "Content-Type": true, "Content-Length": true, "User-Agent": true,
	"Webhook-Id": true, "Webhook-Timestamp": true, "Webhook-Signature": true,
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Expect": true, "Accept-Encoding": true,
}

// Check reports the first thing wrong with the settings of a webhook that needs
// no network and no configuration to see: the form of its URL, event choices,
// headers, schedule. Whether http:// or an address is allowed is outbound's to say.
func (w *Webhook) Check() error {
	if err := checkURL(w.URL); err != nil {
		return err
	}
	if len(w.Events) == 0 {
		return Invalid("events", "choose at least one event type: a name, a namespace such as \"threat.*\", or \"*\" for all")
	}
	for i, choice := range w.Events {
		name := strings.TrimSuffix(choice, ".*")
		if choice == "*" || name != choice && eventTypeName.MatchString(name+".x") {
			continue
		}
		if CheckEventTypeName(choice) != nil {
			return Invalid(fmt.Sprintf("events[%d]", i), "%q is no event type name, no namespace such as \"threat.*\", and not \"*\"", truncate(choice, 100))
		}
		if choice == EventWebhookTest {
			return Invalid(fmt.Sprintf("events[%d]", i), "%q cannot be subscribed to: it is sent on request, by verify", choice)
		}
	}
	if len(w.Description) > MaxDescriptionBytes {
		return Invalid("description", "is %d bytes long, more than %d", len(w.Description), MaxDescriptionBytes)
	}
	if w.Status != WebhookEnabled && w.Status != WebhookDisabled {
		return Invalid("status", "%q is not a status: use \"enabled\" or \"disabled\"", w.Status)
	}
	if w.Accept != AcceptDefault && w.Accept != AcceptAny2xx {
		return Invalid("accept", "%q is not a choice: use \"default\" (200 and 201) or \"any_2xx\"", w.Accept)
	}
	if err := CheckRetrySchedule(w.RetrySchedule); err != nil {
		return err
	}
	if err := w.Tuning.check(); err != nil {
		return err
	}
	if err := w.Channel.check(); err != nil {
		return err
	}
	if w.Polled() {
		if err := w.checkPolled(); err != nil {
			return err
		}
	}
	if err := checkHeaders(w.Headers); err != nil {
		return err
	}
	return w.checkAuthorization()
}

// checkAuthorization refuses what would send Authorization twice.
func (w *Webhook) checkAuthorization() error {
	if w.Authentication.Type == "" {
		return nil
	}
	for _, h := range w.Headers {
		if strings.EqualFold(h.Name, "Authorization") {
			return Invalid(`headers["Authorization"]`, "stands beside authentication, which sets this header: remove one of the two")
		}
	}
	return nil
}

// checkPolled refuses what could only mislead where nothing is sent.
func (w *Webhook) checkPolled() error {
	switch {
	case w.Verification:
		return Invalid("verification", "is of no use with the URL %q: nothing is sent that could be accepted; switch it off", PollURL)
	case w.CACertificate != "":
		return Invalid("ca_certificate", "is of no use with the URL %q: no connection is made; set it to null", PollURL)
	case w.ClientCertificate != "":
		return Invalid("client_certificate", "is of no use with the URL %q: no connection is made; set it to null", PollURL)
	case w.Proxy != "":
		return Invalid("proxy", "is of no use with the URL %q: no connection is made; set it to null", PollURL)
	case w.Authentication.Type != "":
		return Invalid("authentication", "is of no use with the URL %q: nothing is sent that it could authenticate; set it to null", PollURL)
	}
	return nil
}

func (t *Tuning) check() error {
	if len(t.Filter) > MaxFilterBytes {
		return Invalid("filter", "is %d bytes long, more than %d", len(t.Filter), MaxFilterBytes)
	}
	if t.RateLimit != 0 && !(t.RateLimit >= 0.001 && t.RateLimit <= MaxRateLimit) {
		return Invalid("rate_limit", "%v is not between 0.001 and %d attempts a second", t.RateLimit, MaxRateLimit)
	}
	if t.Concurrency < 0 || t.Concurrency > MaxConcurrency {
		return Invalid("concurrency", "%d is not between 1 and %d attempts at once", t.Concurrency, MaxConcurrency)
	}
	if t.Ordered && t.Concurrency > 1 {
		return Invalid("concurrency", "an ordered webhook has one attempt under way at once: leave concurrency out, or switch ordered off")
	}
	return nil
}

func (c *Channel) check() error {
	if c.Signature != "" && c.Signature != SignatureHMAC && c.Signature != SignatureEd25519 {
		return Invalid("signature", "%q is not a choice: use \"hmac\" or \"ed25519\"", truncate(string(c.Signature), 40))
	}
	if c.Proxy != "" {
		if _, err := ParseProxy(c.Proxy); err != nil {
			return err
		}
	}
	return c.Authentication.check()
}

func checkURL(raw string) error {
	if raw == "" {
		return Invalid("url", "is missing: give the https:// URL that is to receive the events")
	}
	if len(raw) > MaxURLBytes {
		return Invalid("url", "is %d bytes long, more than %d", len(raw), MaxURLBytes)
	}
	if raw == PollURL {
		return nil
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return Invalid("url", "cannot be read as a URL: use the form https://host/path")
	case u.Scheme != "https" && u.Scheme != "http":
		return Invalid("url", "has the scheme %q: only https:// is accepted", truncate(u.Scheme, 20))
	case u.Hostname() == "":
		return Invalid("url", "names no host: use the form https://host/path")
	case u.User != nil:
		return Invalid("url", "holds a user name or password: put credentials into a header instead")
	case u.Fragment != "":
		return Invalid("url", "has a fragment (#…), which is never sent: remove it")
	}
	return nil
}

func checkHeaders(headers []Header) error {
	if len(headers) > MaxWebhookHeaders {
		return Invalid("headers", "has %d headers, more than %d", len(headers), MaxWebhookHeaders)
	}
	seen := make(map[string]bool, len(headers))
	for _, h := range headers {
		name := textproto.CanonicalMIMEHeaderKey(h.Name)
		field := fmt.Sprintf("headers[%q]", truncate(h.Name, 60))
		switch {
		case !validHeaderName(h.Name):
			return Invalid(field, "is not a header name: letters, digits and dashes only")
		case reservedHeaders[name] || strings.HasPrefix(name, "X-Cybervault-"):
			return Invalid(field, "is set by CyberVault or by HTTP itself and cannot be configured")
		case seen[name]:
			return Invalid(field, "stands twice")
		case len(h.Value) > MaxHeaderValueBytes:
			return Invalid(field, "has a value of %d bytes, more than %d", len(h.Value), MaxHeaderValueBytes)
		case strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return Invalid(field, "has a control character in its value")
		}
		seen[name] = true
	}
	return nil
}

func validHeaderName(name string) bool {
	if name == "" || len(name) > 100 {
		return false
	}
	for _, c := range []byte(name) {
		// tchar of RFC 9110, section 5.6.2.
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return true
}

// SettingChanges is what was changed of the settings since a node looked last.
type SettingChanges struct {
	Last       int64          // the number of the newest change
	All        bool           // anything may have been changed
	Webhooks   map[int64]bool // the row keys of those that were changed
	EventTypes bool           // a workspace's own were changed
	APIKeys    bool           // some were revoked
}

// Any reports whether there is something to read anew.
func (c *SettingChanges) Any() bool {
	return c.All || c.EventTypes || c.APIKeys || len(c.Webhooks) > 0
}

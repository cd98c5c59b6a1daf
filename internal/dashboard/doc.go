// Package dashboard is the web interface for people: what happened in the last
// hour, incidents, the rules that find them, the delivery log, events, webhooks and
// API keys.
//
// It stands at the end of the flow, beside the API: it reads what the store has
// kept, and hands changes to the router and to access through the small
// interfaces in services.go. It owns its pages (one handler file, one view
// struct and one template a page), its style sheets, its few lines of script,
// and the session cookie.
//
// Every page is rendered on the server and works without JavaScript; htmx and
// app.js only save a reload. The Content-Security-Policy allows this host's own
// style sheets and scripts and nothing inline, so that no payload, header or
// name can ever run as code.
//
// It never opens a connection, never touches the database, never holds state
// besides its parsed templates, and never logs a payload, secret or key.
package dashboard

package dashboard

import (
	"io"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// liveGap is the least time between two signals of a live stream: two a
	// second at most, however many commits there are.
	liveGap = 500 * time.Millisecond
	// liveHeartbeat keeps proxies from closing a quiet stream, and finds a
	// session that has ended.
	liveHeartbeat = 20 * time.Second
)

// live is a stream of server-sent events that says "changed" when anything was
// committed, and nothing else: the page then asks for its own fragment again,
// with its own filters. It ends with the session, and when the server stops.
func (d *dashboard) live(w http.ResponseWriter, r *http.Request) error {
	changed, stop := d.Changes.Watch()
	defer stop()
	cookie, workspace := cookieOf(r), workspaceOf(r.Context())
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{}) // a stream outlives any deadline; not every writer has one
	send := func(text string) bool {
		_, err := io.WriteString(w, text)
		return err == nil && control.Flush() == nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the events back
	w.WriteHeader(http.StatusOK)
	if !send("retry: 2000\n\n") {
		return nil
	}
	heartbeat := time.NewTicker(liveHeartbeat)
	defer heartbeat.Stop()
	gap := time.NewTimer(0) // when it has run out, the next signal may go out
	defer gap.Stop()
	ready, pending := false, false
	for {
		select {
		case <-r.Context().Done():
			return nil
		case _, open := <-changed:
			if !open {
				return nil
			}
			pending = true
		case <-gap.C:
			ready = true
		case <-heartbeat.C:
			session, err := d.Access.Session(r.Context(), cookie)
			if cybervault.ErrorCode(err) == cybervault.CodeUnauthorized || err == nil && (session.Workspace != workspace || !session.May(cybervault.PermitRead)) {
				return nil
			}
			if !send(": still here\n\n") {
				return nil
			}
		}
		if pending && ready {
			if !send("event: changed\ndata: {}\n\n") {
				return nil
			}
			pending, ready = false, false
			gap.Reset(liveGap)
		}
	}
}

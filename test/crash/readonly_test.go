//go:build linux

package crash

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// A disk turns read-only under a server that publishes and delivers: publishing
// is refused, the log can be read, attempts that were under way are remembered, and
// all of it goes on by itself once the disk takes writes.
//
// A file system that turns read-only under open files, as after an error of the
// disk, cannot be had without privileges. A limit of no bytes on files refuses the
// same writes, by another errno that SQLite does not tell from EROFS.
func TestDiskTurnsReadOnly(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, "a disk that is read-only for a while", testenv.ServerOptions{Binary: testenv.Binary(t)})
	c.inbox.well = true
	c.make(200)
	c.publish()
	hold := c.inbox.holdAnswers()
	c.make(1)
	c.publish()
	<-hold.held // an attempt that will be answered while nothing can be recorded

	c.server.Limit(testenv.LimitFileSize, 0)
	for i := range 5 {
		checkRefused(t, c.server, i)
	}
	close(hold.release)
	testenv.Until(t, patience, func() error {
		if status, answer := c.server.Do(http.MethodGet, "/readyz", ""); status != http.StatusServiceUnavailable {
			return fmt.Errorf("GET /readyz of a server that cannot write: %d %s", status, answer)
		}
		return nil
	})
	before := c.acknowledged
	c.make(100)
	c.publish()
	if c.acknowledged != before {
		t.Errorf("%d events were acknowledged while nothing could be written", c.acknowledged-before)
	}
	for _, path := range []string{"/healthz", "/v1/events", "/v1/deliveries", "/v1/webhooks"} {
		if status, answer := c.server.Do(http.MethodGet, path, ""); status != http.StatusOK {
			t.Errorf("GET %s of a server that cannot write: %d %.200s", path, status, answer)
		}
	}
	if stored := storedEvents(t, c.server); len(stored) != c.acknowledged {
		t.Errorf("%d events are stored, %d were acknowledged", len(stored), c.acknowledged)
	}

	c.server.Limit(testenv.LimitFileSize, testenv.Unlimited)
	testenv.Until(t, patience, func() error {
		if status, _ := c.server.Do(http.MethodGet, "/readyz", ""); status != http.StatusOK {
			return errors.New("not ready although the disk takes writes again")
		}
		return nil
	})
	c.finish()
	if count := c.ledger.Count(); count.Duplicates > 0 {
		t.Errorf("%d events were sent twice: what was delivered on the read-only disk was forgotten", count.Duplicates)
	}
}

// checkRefused publishes, and checks that the answer says what to do.
func checkRefused(t *testing.T, server *testenv.Server, i int) {
	t.Helper()
	resp := publishLarge(t, server, i)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a publish on a read-only disk is answered with %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
}

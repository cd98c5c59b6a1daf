package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/cybervault/cybervault"
)

const (
	// runwayDays is for how long there should be room, as the database grows.
	runwayDays = 7
	// Differences between clocks. Receivers refuse a signature's time that is five
	// minutes off, and leases end by the clocks of the nodes.
	skewWarn = 5 * time.Second
	skewFail = 2 * time.Minute
)

func (s *Server) database(ctx context.Context) []cybervault.Check {
	checks := []cybervault.Check{ok("server", "", "is ready")}
	if err := s.Ready(ctx); err != nil {
		checks[0] = fail("server", "", "is not ready: "+said(err), tryLater)
	}
	d, err := s.Store.Diagnose(ctx)
	if err != nil {
		return append(checks, fail("database", "", "does not answer: "+said(err), tryLater))
	}
	checks = append(checks, Schema(d))
	if d.Clock {
		checks = append(checks, Clock("the database", d.ClockSkew))
	}
	if s.Disk != nil {
		age := int64(0)
		if !d.Oldest.IsZero() {
			age = int64(s.Now().Sub(d.Oldest) / day)
		}
		checks = append(checks, Room(s.Disk(), d, int64(s.Retention/day), age, runwayDays))
	}
	return checks
}

// Schema says whether this program and a database know each other.
func Schema(d Database) cybervault.Check {
	const name = "database"
	switch {
	case d.Schema > d.Known:
		return warn(name, "", fmt.Sprintf("its schema has version %d, this program knows %d", d.Schema, d.Known),
			"A newer CyberVault was here: bring this node up to date too. It does not start again as it is.")
	case d.Schema < d.Known:
		return warn(name, "", fmt.Sprintf("its schema has version %d, this program brings it to %d", d.Schema, d.Known),
			"It happens at the next start of 'cybervault serve': make a backup before.")
	}
	return ok(name, "", fmt.Sprintf("answers, with schema version %d", d.Schema))
}

// Clock judges how far somebody's clock is ahead of ours.
func Clock(whose string, skew time.Duration) cybervault.Check {
	const name = "clock"
	const remedy = "Let both machines follow time servers (chrony, systemd-timesyncd), and look which one is wrong."
	words := fmt.Sprintf("the clock of %s is %s ahead of this machine's", whose, skew.Abs().Round(time.Second/10))
	if skew < 0 {
		words = fmt.Sprintf("the clock of %s is %s behind this machine's", whose, skew.Abs().Round(time.Second/10))
	}
	switch {
	case skew.Abs() >= skewFail:
		return fail(name, "", words, remedy)
	case skew.Abs() >= skewWarn:
		return warn(name, "", words, remedy)
	}
	return ok(name, "", fmt.Sprintf("agrees with that of %s", whose))
}

// spareFiles is what is open besides the connections of callers: the store, and
// connections to receivers.
const spareFiles = 2000

func (s *Server) openFiles() []cybervault.Check {
	const name = "open files"
	if s.OpenFiles == nil {
		return nil
	}
	limit, err := s.OpenFiles()
	if err != nil {
		return []cybervault.Check{warn(name, "", "the limit cannot be read: "+said(err), tryLater)}
	}
	need := uint64(s.Connections) + spareFiles
	words := fmt.Sprintf("at most %d files may be open", limit)
	switch {
	case limit < 1024:
		return []cybervault.Check{fail(name, "", words, fmt.Sprintf("Raise the limit to %d (LimitNOFILE= in the systemd unit, ulimit -n): connections will fail.", need))}
	case limit < need:
		return []cybervault.Check{warn(name, "", words+fmt.Sprintf(", and %d connections are let in", s.Connections), fmt.Sprintf("Raise the limit to %d (LimitNOFILE= in the systemd unit, ulimit -n).", need))}
	}
	return []cybervault.Check{ok(name, "", words)}
}

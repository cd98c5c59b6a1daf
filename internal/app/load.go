package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/alert"
	"github.com/cybervault/cybervault/internal/api"
	"github.com/cybervault/cybervault/internal/observe"
	"github.com/cybervault/cybervault/internal/store"
)

// MaxConnections bounds the connections of callers, idle ones included. Further
// ones wait, in the operating system, until one ends.
const MaxConnections = 10_000

// diskEvery is the time between two looks at the disk.
const diskEvery = time.Second

// load gathers what the metrics show of the bounds.
func load(s *store.Store, l *api.Load) func() observe.Load {
	return func() observe.Load {
		disk, stats, calls := s.CheckDisk(), s.Stats(), l.Stats()
		return observe.Load{
			DiskFree: disk.Free, DiskReserve: disk.Reserve, BodyBytes: calls.BodyBytes, QueueBytes: stats.QueueBytes, Requests: calls.Requests,
			Refused: map[string]int64{
				"disk": stats.RefusedDisk, "database": stats.RefusedDatabase, "queue": stats.RefusedQueue,
				"memory": calls.RefusedMemory, "requests": calls.RefusedRequests,
			},
		}
	}
}

// diskWatch looks at the disk every second, and tells whoever chose system.alert
// when publishing ends for want of room, and when it goes on. The reserve has
// room for that.
type diskWatch struct {
	look      func() store.Disk
	judge     func(ctx context.Context, began time.Time, findings ...alert.Finding) error
	now       func() time.Time
	workspace cybervault.WorkspaceID
	log       *slog.Logger
}

// run looks until ctx ends.
func (d *diskWatch) run(ctx context.Context) {
	judged := false // what is wrong now; at the start it is unknown what fires
	for first := true; ; first = false {
		// While publishing is refused it is offered again and again: there may be just
		// enough room for it now.
		began := d.now()
		if disk := d.look(); disk.Low || judged || first {
			err := d.judge(ctx, began, diskLow(d.workspace, disk))
			if err != nil && ctx.Err() == nil && cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
				d.log.Error("the alert about the disk could not be stored", slog.Any("error", err))
			}
			judged = disk.Low || err != nil
		}
		if !rest(ctx, diskEvery) {
			return
		}
	}
}

func diskLow(ws cybervault.WorkspaceID, disk store.Disk) alert.Finding {
	f := alert.Finding{Code: alertDiskLow, Over: func(*cybervault.Alert) (string, bool) {
		return "There is room on the disk again, and publishing goes on.", true
	}}
	if disk.Low {
		f.Firing = []alert.Condition{{
			Workspace: ws, Subject: "disk", Severity: cybervault.SeverityCritical, Summary: disk.Problem,
			Remedy: "Free some space on the disk of the data directory, shorten --retention, or lower --disk-reserve. What was accepted goes on being delivered meanwhile.",
		}}
	}
	return f
}

// auditWait bounds how long a look at the audit log may take.
const auditWait = 2 * time.Second

// auditLog is how far the audit log has come, for the metrics.
func auditLog(s *store.Store) func() (observe.Audit, bool) {
	return func() (observe.Audit, bool) {
		ctx, cancel := context.WithTimeout(context.Background(), auditWait)
		defer cancel()
		state, err := s.AuditState(ctx)
		if err != nil {
			return observe.Audit{}, false
		}
		behind, err := s.AuditBehind(ctx)
		return observe.Audit{Entries: state.Size, Behind: behind}, err == nil
	}
}

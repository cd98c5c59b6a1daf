package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/cybervault/cybervault"
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
	publish   func(ctx context.Context, ws cybervault.WorkspaceID, req cybervault.PublishRequest) (cybervault.PublishReceipt, error)
	workspace cybervault.WorkspaceID
	now       func() time.Time
	log       *slog.Logger
}

// run looks until ctx ends.
func (d *diskWatch) run(ctx context.Context) {
	var (
		id     string                     // of the alert that is firing
		unsent *cybervault.PublishRequest // an alert that the store did not take; the newest only
	)
	for {
		disk := d.look()
		switch {
		case disk.Low && id == "":
			id = fmt.Sprintf("alr_disk_low_%d", d.now().UnixMicro())
			unsent = diskAlert(id, "firing", disk.Problem)
		case !disk.Low && id != "":
			unsent = diskAlert(id, "resolved", "There is room on the disk again, and publishing goes on.")
			id = ""
		}
		if unsent != nil {
			if _, err := d.publish(ctx, d.workspace, *unsent); err == nil {
				unsent = nil
			} else if cybervault.ErrorCode(err) != cybervault.CodeUnavailable {
				d.log.Error("the alert about the disk could not be published", slog.Any("error", err))
				unsent = nil
			}
		}
		if !rest(ctx, diskEvery) {
			return
		}
	}
}

func diskAlert(id, status, summary string) *cybervault.PublishRequest {
	data, err := json.Marshal(map[string]string{
		"alert_id": id, "code": "disk_low", "severity": "critical", "status": status, "summary": summary,
		"remedy":  "Free some space on the disk of the data directory, shorten --retention, or lower --disk-reserve. What was accepted goes on being delivered meanwhile.",
		"subject": "disk",
	})
	if err != nil {
		data = nil // strings always encode
	}
	return &cybervault.PublishRequest{Type: cybervault.EventSystemAlert, Data: data, IdempotencyKey: id + "_" + status}
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

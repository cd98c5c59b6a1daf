package cybervault

import "time"

// AlertStatus is whether what an alert is about goes on.
type AlertStatus string

// The statuses of an alert.
const (
	AlertFiring   AlertStatus = "firing"
	AlertResolved AlertStatus = "resolved"
)

// AlertStatuses lists them.
func AlertStatuses() []AlertStatus { return []AlertStatus{AlertFiring, AlertResolved} }

// Alert is CyberVault saying that it needs a person, and that it no longer does. Of one
// code and subject, one alert fires at a time.
type Alert struct {
	ID         string // alert_id of system.alert
	Workspace  WorkspaceID
	Code       string // stable, for programs
	Subject    string // what it is about: a webhook's id, a source's name, a disk
	Severity   Severity
	Status     AlertStatus
	Summary    string // as it was when it fired or, once it is resolved, ended
	Remedy     string
	FiredAt    time.Time
	ResolvedAt time.Time // zero while it fires
	Untold     bool      // its status has not been published yet
	Number     int64     // ascending in the order in which they fired
}

// AlertQuery selects alerts, newest first.
type AlertQuery struct {
	Workspace WorkspaceID
	Status    AlertStatus // empty: any
	Before    int64       // the number of the last row of the page before; 0 for the first page
	Limit     int
}

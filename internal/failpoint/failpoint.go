// Package failpoint names the places at which a crash would hurt most, so that
// the crash suite can kill the server exactly there.
//
// It stands outside the flow: every stage may call Hit. In an ordinary build Hit
// is empty and the compiler removes the call; only a program built with the tag
// failpoints, which is never released, looks at what it is asked to do. It never
// changes what the server does, but for ending it and for its clock.
package failpoint

// Environment names the variable that says where a program built with the tag
// failpoints kills itself: "name:N", at the N-th hit of a point.
const Environment = "CYBERVAULT_FAILPOINT"

// ClockEnvironment names the variable that says which file holds by how much the
// clock of such a program is off, "-24h"; it is read again and again.
const ClockEnvironment = "CYBERVAULT_CLOCK_OFFSET_FILE"

// The points.
const (
	// CommitBegun: a group's statements have run, and none is committed.
	CommitBegun = "commit-begun"
	// CommitDone: a group is on disk, and nobody has been told.
	CommitDone = "commit-done"
	// PublishStored: a publisher's events are on disk, and neither the
	// dispatcher nor the publisher knows.
	PublishStored = "publish-stored"
	// ClaimDone: deliveries are leased to this node, and no attempt has begun.
	ClaimDone = "claim-done"
	// AnswerReceived: a receiver has answered, and nothing of that is recorded.
	AnswerReceived = "answer-received"
	// CheckpointBegin: the write-ahead log is about to be carried over.
	CheckpointBegin = "checkpoint-begin"
	// CheckpointEnd: the write-ahead log has been carried over.
	CheckpointEnd = "checkpoint-end"
	// MigrationStep: between two steps of the schema, and before the first.
	MigrationStep = "migration-step"
	// SweepHalf: a sweep of the retention has removed the deliveries of events,
	// and not the events; none of it is committed.
	SweepHalf = "sweep-half"
	// SweepStep: between two steps of a sweep.
	SweepStep = "sweep-step"
	// StopBegin: the server was told to stop, and still takes calls.
	StopBegin = "stop-begin"
	// StopDrained: no attempt is under way any more, and the store is open.
	StopDrained = "stop-drained"
)

// All lists the points.
func All() []string {
	return []string{
		CommitBegun, CommitDone, PublishStored, ClaimDone, AnswerReceived, CheckpointBegin, CheckpointEnd,
		MigrationStep, SweepHalf, SweepStep, StopBegin, StopDrained,
	}
}

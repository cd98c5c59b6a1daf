package cybervault

import "time"

// Expiry says what is old enough to be removed. An event goes together with all
// its deliveries and their attempts, and stays while any of them has to.
type Expiry struct {
	Before            time.Time // nothing made since then goes
	DeadLettersBefore time.Time // no event with a dead letter made since then goes
}

// SweepPosition is how far a sweep has come. The zero value is the beginning.
type SweepPosition struct {
	After    int64 // row key of the last event that is done with
	Delivery int64 // row key of the last delivery that is done with, of the event that follows; 0: none
}

// Swept is what one step of a sweep removed.
type Swept struct {
	Events     int64
	Deliveries int64
	Attempts   int64
	Position   SweepPosition // to go on from
	Done       bool          // nothing that is old enough follows
}

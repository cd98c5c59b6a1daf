package cybervault

// MaxSequencePage is the most sequence numbers that are looked up at once.
const MaxSequencePage = 1000

// SequencePage tells what some sequence numbers of a webhook were.
type SequencePage struct {
	// Rows are the deliveries that have the numbers, lowest first. A number
	// whose delivery was removed by the retention is not among them.
	Rows []*Delivery
	// Next is the number to go on from, 0 when there is nothing further.
	Next int64
	// Last is the last number that the webhook has given out, 0 if none.
	Last int64
}

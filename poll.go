package cybervault

import "time"

// PollURL stands for the URL of a webhook whose receiver has no public address:
// it fetches its deliveries by polling, and nothing is ever sent to it.
const PollURL = "poll:"

// Limits on a poll.
const (
	MaxPollWait  = time.Minute
	MaxPollBytes = 4 << 20 // of the bodies in one answer, beyond its first
)

// ProtocolPoll is the protocol of an attempt that a poll acknowledged.
const ProtocolPoll = "poll"

// Poll is one call for the deliveries of a webhook.
type Poll struct {
	After  DeliveryID // the last one that was handed out and is acknowledged, with all before it; zero: none
	Limit  int        // 1 to MaxPageSize
	Caller string     // the address that it comes from, for the log
	Admin  bool       // the caller may poll webhooks that have a URL too
}

// PollAnswer is what a poll hands out, and what it acknowledged.
type PollAnswer struct {
	Webhook      *Webhook // as it was
	Deliveries   []*Assignment
	Acknowledged []*Result
}

// Handed is a delivery that a poll hands out, with the headers that an attempt
// over HTTP would carry.
type Handed struct {
	Assignment *Assignment
	Headers    []Header
}

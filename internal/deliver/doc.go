// Package deliver brings events to webhooks: it claims deliveries, signs and
// sends them, and records what was answered.
//
// It stands behind the store, which is its queue, and before outbound, which is
// its wire. The router hands it deliveries that were claimed at birth; retries,
// overflow and a lost node's deliveries it finds by query. First try and retry
// take the same path.
//
// Every webhook has a lane of its own: its own bounded window of claimed
// deliveries in memory, its own bound on attempts under way, its own clock for
// retries. A lane that waits for its receiver holds nothing that another lane
// needs. Within a lane the more severe delivery goes first, but every eighth turn
// is for whoever has waited longest.
//
// It never decides who gets an event, never dials, and never says that a
// delivery has ended before the store has it on disk.
package deliver

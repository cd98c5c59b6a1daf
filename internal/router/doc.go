// Package router takes events in and decides who gets them: it validates,
// recognises a repeated publish, matches webhooks from an index in memory, and
// commits the event together with its deliveries before the publisher is
// answered.
//
// It stands between those who raise events (the API, the threat engine) and the
// store; what is committed it hands to the dispatcher. It also owns the
// webhooks: their settings, secrets, verification, and the replays that people
// ask for.
//
// It never talks to a receiver, and keeps nothing that the store does not have.
package router

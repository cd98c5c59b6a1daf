// Package crash kills the real server at bad moments and checks that nothing
// acknowledged is lost. It stands outside the flow and holds tests only.
package crash

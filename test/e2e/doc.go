// Package e2e runs the real server as its users do: over HTTP, with a receiver
// of their own, on both databases. It stands outside the flow and holds tests
// only.
package e2e

// Package testenv gives end-to-end tests a real surrounding: a private
// PostgreSQL cluster, the real binary as a process that can be stopped and
// killed, and a receiver that records what it is sent.
//
// It stands outside the flow and is imported by tests only. It imports the
// standard library and pgx, never a stage, so that the tests of every package
// may use it. It never skips a test: what is missing fails, with the command
// that installs it. What it starts ends with the test binary, killed or not.
package testenv

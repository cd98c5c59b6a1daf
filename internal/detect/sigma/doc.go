// Package sigma finds attacks in records by Sigma rules.
//
// It stands beside detect/web and detect/login (telemetry -> detect -> router)
// and owns the Sigma format, version 2.1: it reads rules, correlations and
// filters, says by file and line why one cannot be used, compiles rules, and
// tells which of them a record matches.
//
//	YAML ─Parse─> Rule, Correlation, Filter ─Compile─> Engine ─Match─> Hit
//	Hits ─Correlator─> CorrelationHit
//
// CompileAll sends all of it through processing pipelines first, which change names
// of fields, and joins filters to the rules that they name.
//
// An Engine never changes, so whoever holds one swaps it for the next. What has
// to be remembered between records is the Correlator's, in event time and within
// a budget of bytes. The package publishes nothing, opens no socket, and never
// reads the clock.
package sigma

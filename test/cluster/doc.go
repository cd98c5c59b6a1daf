// Package cluster runs several nodes of the real server on one PostgreSQL, and
// has both in trouble: nodes are killed, and the database is restarted, killed,
// cut off, filled and replaced. Nodes of the next release join. It checks that nothing acknowledged is lost and
// that no node has to be restarted. It stands outside the flow and holds tests
// only.
package cluster

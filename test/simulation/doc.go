// Package simulation runs the real router, dispatcher and store on a simulated
// clock, network and set of receivers, all of which a seed decides: what is
// published, what is done to webhooks, how receivers answer and how long each call
// takes, which node is killed, stopped or stands still, when the clock is set and
// when the database is in trouble. A simple model, the ledger, is told of every
// instant and says what must not have happened.
//
// It stands outside the flow and is made of tests only. docs/decisions/0026 says
// what is real in it and what is not, how a seed replays, and what it cannot find.
//
//	go test ./test/simulation                                     # as CI does
//	make simulate SEEDS=100000 SEED_START=1                       # a long run
//	go test ./test/simulation -run '^TestSimulation$' -v -seed=42 # one seed, told step by step
package simulation

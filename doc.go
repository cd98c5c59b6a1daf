// Package cybervault is the dictionary of the product: what an event, a
// webhook, a delivery, an attempt, a record and a detection are, the rules they
// obey, and the state transitions they may take.
//
// It stands before every stage of the flow
//
//	telemetry -> detect -> router -> store -> deliver -> outbound -> the receiver
//
// and is imported by all of them, so that stages talk to each other in these
// types alone. It imports the standard library only, performs no I/O, keeps no
// global state, and never logs.
package cybervault

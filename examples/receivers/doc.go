// Package receivers runs the example receivers that are not written in Go, in
// its tests. It stands outside the flow, at the receiver's end, and holds
// nothing else.
package receivers

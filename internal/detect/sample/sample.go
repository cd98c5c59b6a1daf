// Package sample holds the telemetry that ships with the product: an hour and a
// half of a shop's access log and of its gateway's sshd log, made up, with
// addresses and names that are set aside for documentation. Among people
// shopping, a crawler and administrators at work there are an attack on the
// shop, a search for files that should not be there, a brute force, and one that
// gets in. It stands before telemetry, and does nothing of its own.
package sample

import (
	"bytes"
	_ "embed"
	"io"
)

//go:embed access.log
var accessLog []byte

//go:embed auth.log
var authLog []byte

// The names of the sources that the samples come from.
const (
	AccessLogSource = "shop.example.com"
	AuthLogSource   = "gate-1"
)

// AccessLog returns the web server's log, in the combined format, of 10 March 2026.
func AccessLog() io.Reader { return bytes.NewReader(accessLog) }

// AuthLog returns the sshd log. Its stamps name no year: read as of a time within
// a year after 10 March 2026 they are of the same morning.
func AuthLog() io.Reader { return bytes.NewReader(authLog) }

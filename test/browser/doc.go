// Package browser tests the dashboard in a real Chromium: what only a browser
// can tell, such as whether the Content-Security-Policy holds, a page fits a
// phone, a live update arrives, or a console is silent.
//
// The flows see a server only through its address, a log-in link and a way to
// publish an event (type server), so that they run against the handler with
// data in memory as well as against the whole binary.
package browser

//go:build !unix

package agent

func locked(string) (busy, known bool) { return false, false }

package telemetry

import (
	"bytes"
	"strings"
)

// nestedEnd returns where the object or list that b begins with ends, -1 if it
// does not within b. It follows brackets and strings only: whether what lies
// between is sound is for the scan to say.
func nestedEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth <= 0 {
				return i + 1
			}
		case '"':
			for {
				n := bytes.IndexByte(b[i+1:], '"')
				if n < 0 {
					return -1
				}
				i += n + 1
				slashes := 0
				for j := i - 1; b[j] == '\\'; j-- {
					slashes++
				}
				if slashes%2 == 0 {
					break
				}
			}
		}
	}
	return -1
}

// quoteEnd returns where the string that s continues ends, behind its quote; -1
// if it does not within s.
func quoteEnd(s string) int {
	for i := 0; ; {
		n := strings.IndexByte(s[i:], '"')
		if n < 0 {
			return -1
		}
		i += n + 1
		slashes := 0
		for j := i - 2; j >= 0 && s[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
}

package listen

import (
	"bytes"
	"testing"
	"testing/iotest"
)

// However the bytes are framed and cut, every message is within its bound, there
// are no more bytes in them than were sent, and the end is reached.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{"<1>a\n<2>b", "6 <1>abc5 <2>de", "6 <1>abc\n12 tokens\n", "0 <1>", "99999999999 <1>x", "5 <1>", "\x00\n\r", "123456789 "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		read := func(frames *framer) (all [][]byte, sum int) {
			for range len(input) + 2 {
				message, _, err := frames.next()
				if len(message) > MaxMessageBytes {
					t.Fatalf("a message of %d bytes", len(message))
				}
				if m := clean(message); len(m) > 0 {
					if bytes.ContainsAny(m, "\n\r\x00") {
						t.Fatalf("a message of several lines: %q", m)
					}
					all, sum = append(all, m), sum+len(m)
				}
				if err != nil {
					return all, sum
				}
			}
			t.Fatal("the end is not reached")
			return nil, 0
		}
		whole, sum := read(newFramer(bytes.NewReader(input)))
		if sum > len(input) {
			t.Errorf("%d bytes of messages out of %d", sum, len(input))
		}
		if cut, _ := read(newFramer(iotest.OneByteReader(bytes.NewReader(input)))); !equal(whole, cut) {
			t.Errorf("read at once: %q; byte by byte: %q", whole, cut)
		}
	})
}

func equal(a, b [][]byte) bool {
	return bytes.Equal(bytes.Join(a, []byte{0}), bytes.Join(b, []byte{0}))
}

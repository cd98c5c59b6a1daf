package listen

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxFrameBytes bounds the length that a sender may announce: beyond it the
// place of the next frame is not to be trusted.
const maxFrameBytes = 16 << 20

// errFrame ends a connection whose frames cannot be told apart any more.
var errFrame = errors.New("a frame announces more bytes than any message has")

// framer cuts a connection into messages. Each is framed by its length in front
// ("83 <34>1 2026-…", RFC 6587 section 3.4.1 and RFC 5425) or ends with its line
// (section 3.4.2); a connection may hold both.
type framer struct {
	in      *bufio.Reader
	buf     []byte
	counted bool // a length has been seen: from then on it need not be followed by a priority
}

func newFramer(r io.Reader) *framer { return &framer{in: bufio.NewReaderSize(r, 8<<10)} }

// next returns the next message, valid until the next call, and whether it was
// too long and is only the beginning. With an error there may be a last message.
func (f *framer) next() (message []byte, cut bool, err error) {
	f.buf = f.buf[:0]
	for { // what ends the frame before
		c, err := f.in.ReadByte()
		if err != nil {
			return nil, false, err
		}
		if c != '\n' && c != '\r' && c != 0 {
			_ = f.in.UnreadByte()
			break
		}
	}
	if n, head := f.length(); head > 0 {
		f.counted = true
		if n > maxFrameBytes {
			return nil, false, errFrame
		}
		_, _ = f.in.Discard(head)
		return f.octets(n)
	}
	return f.untilLineEnd()
}

// length reads the length that a frame may begin with, and how many bytes that
// takes: none where the frame begins with something else.
func (f *framer) length() (n, head int) {
	const most = 9 // digits, enough to find that they are too many
	for i := range most + 1 {
		b, err := f.in.Peek(i + 1)
		if err != nil {
			return 0, 0
		}
		switch c := b[i]; {
		case c >= '0' && c <= '9' && i < most && (i > 0 || c != '0'):
			n = 10*n + int(c-'0')
		case c == ' ' && i > 0:
			if f.counted {
				return n, i + 1
			}
			// A line may begin with a number as well, but not with a priority after it.
			if b, err = f.in.Peek(i + 2); err == nil && b[i+1] == '<' {
				return n, i + 1
			}
			return 0, 0
		default:
			return 0, 0
		}
	}
	return 0, 0
}

func (f *framer) octets(n int) (message []byte, cut bool, err error) {
	keep := min(n, MaxMessageBytes)
	for len(f.buf) < keep && err == nil {
		var part []byte
		part, err = f.in.Peek(min(keep-len(f.buf), f.in.Size()))
		f.buf = append(f.buf, part...)
		_, _ = f.in.Discard(len(part))
	}
	if err == nil && n > keep {
		_, err = f.in.Discard(n - keep)
	}
	return f.buf, n > keep, err
}

func (f *framer) untilLineEnd() (message []byte, cut bool, err error) {
	for {
		part, err := f.in.ReadSlice('\n')
		part = bytes.TrimSuffix(part, []byte("\n"))
		room := MaxMessageBytes - len(f.buf)
		f.buf = append(f.buf, part[:min(room, len(part))]...)
		cut = cut || len(part) > room
		if !errors.Is(err, bufio.ErrBufferFull) {
			return f.buf, cut, err
		}
	}
}

// clean copies a message without what its frame may leave behind. A line end
// within it becomes a space: what follows is not to pass for another message.
func clean(message []byte) []byte {
	message = bytes.Trim(message, "\x00\r\n\t ")
	data := bytes.Clone(message)
	for i, c := range data {
		if c == '\n' || c == '\r' || c == 0 {
			data[i] = ' '
		}
	}
	return data
}

package outbound

import (
	"errors"
	"io"
)

const (
	// inputBytes is the size of a read buffer: what most answers need in all.
	inputBytes = 4 << 10
	// maxChunkLine bounds the line before a chunk, extensions included.
	maxChunkLine = 2 << 10
	// maxTrailerBytes bounds what follows the last chunk.
	maxTrailerBytes = 2 << 10
	// maxChunkWaste bounds what a chunked body may hold beside its data.
	maxChunkWaste = 16 << 10
)

// input reads answers off a connection through a buffer that is lent for one
// exchange: between exchanges there is nothing to be buffered.
type input struct {
	from io.Reader
	buf  []byte
	r, w int // buf[r:w] is not yet used
}

func (in *input) reset(from io.Reader) {
	in.from, in.r, in.w = from, 0, 0
	if len(in.buf) != inputBytes {
		in.buf = make([]byte, inputBytes) // none yet, or one that long headers have stretched
	}
}

// fill reads once more behind what is there, in a longer buffer if need be.
func (in *input) fill() error {
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.w == len(in.buf) {
		to := in.buf
		if in.r < len(to)/2 {
			to = make([]byte, 2*len(to))
		}
		in.w = copy(to, in.buf[in.r:in.w])
		in.buf, in.r = to, 0
	}
	n, err := in.from.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// head reads one head into h and returns its bytes, which are valid until the
// next read. It takes off *left what it read, and ends with errLongHead below 0.
func (in *input) head(h *head, left *int) ([]byte, error) {
	h.reset()
	for {
		if in.w > in.r {
			// No more than may still be read is looked at.
			seen := in.buf[in.r:in.w]
			over := len(seen) > *left
			if over {
				seen = seen[:*left]
			}
			done, err := h.read(seen)
			if err != nil {
				return nil, err
			}
			if done {
				in.r += h.next
				*left -= h.next
				return seen[:h.next], nil
			}
			if over || len(seen) == *left {
				return nil, errLongHead
			}
		}
		if err := in.fill(); err != nil {
			if in.w > in.r {
				err = unexpected(err)
			}
			return nil, err
		}
	}
}

// line returns the next line without its CRLF.
func (in *input) line(limit int) ([]byte, error) {
	for scanned := 0; ; {
		for i := in.r + scanned; i < in.w; i++ {
			if in.buf[i] != '\n' {
				continue
			}
			line := in.buf[in.r:i]
			in.r = i + 1
			if n := len(line) - 1; n >= 0 && line[n] == '\r' {
				return line[:n], nil
			}
			return nil, errChunks // a bare LF ends no line here (RFC 9112, section 7.1)
		}
		if scanned = in.w - in.r; scanned >= limit {
			return nil, errChunks
		}
		if err := in.fill(); err != nil {
			return nil, unexpected(err)
		}
	}
}

var errChunks = errors.New("the chunks of the body are malformed")

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// answerBody reads the body of an answer to its exact end.
type answerBody struct {
	in     *input
	length int64 // what is left, or one of the constants
	chunk  int64 // what is left of a chunk
	begun  bool  // a chunk has been read
	waste  int64 // bytes that are not data, beyond what is reasonable
	err    error // of the end: io.EOF where that was reached
}

// Read gives io.EOF at the exact end of the body only.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.read(p)
	b.err = err
	return n, err
}

func (b *answerBody) read(p []byte) (int, error) {
	switch b.length {
	case 0:
		return 0, io.EOF
	case lengthUntilClose:
		return b.raw(p)
	case lengthChunked:
		if b.chunk == 0 {
			if err := b.nextChunk(); err != nil {
				return 0, err
			}
		}
		n, err := b.raw(p[:min(int64(len(p)), b.chunk)])
		b.chunk -= int64(n)
		return n, unexpected(err)
	}
	n, err := b.raw(p[:min(int64(len(p)), b.length)])
	if b.length -= int64(n); b.length == 0 {
		return n, io.EOF
	}
	return n, unexpected(err)
}

// raw reads what is there, or once off the connection.
func (b *answerBody) raw(p []byte) (int, error) {
	in := b.in
	if in.r == in.w {
		if len(p) >= len(in.buf) {
			n, err := in.from.Read(p)
			if n > 0 {
				err = nil // it comes again
			}
			return n, err
		}
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buf[in.r:in.w])
	in.r += n
	return n, nil
}

// nextChunk reads up to the data of the next chunk; io.EOF says that there is
// none and that the body has come to its end.
func (b *answerBody) nextChunk() error {
	if b.begun {
		if end, err := b.in.line(2); err != nil || len(end) != 0 {
			return firstError(err, errChunks)
		}
	}
	b.begun = true
	line, err := b.in.line(maxChunkLine)
	if err != nil {
		return err
	}
	b.waste += int64(len(line)) + 2
	size, ok := chunkSize(line)
	if !ok {
		return errChunks
	}
	b.waste = max(b.waste-16-2*size, 0)
	switch {
	case b.waste > maxChunkWaste:
		return errChunks
	case size == 0:
		return b.trailers()
	}
	b.chunk = size
	return nil
}

// trailers reads what follows the last chunk. Nobody is told of it.
func (b *answerBody) trailers() error {
	for left := maxTrailerBytes; left > 0; {
		line, err := b.in.line(left)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return io.EOF
		}
		for i, c := range line {
			if c == ':' && isToken(line[:i]) && isFieldValue(line[i+1:]) {
				break
			}
			if c == ':' || i == len(line)-1 {
				return errChunks
			}
		}
		left -= len(line) + 2
	}
	return errChunks
}

// chunkSize reads the size before a chunk; what follows a semicolon is left out.
func chunkSize(line []byte) (int64, bool) {
	for i, c := range line {
		if c == '\r' {
			return 0, false
		}
		if c == ';' {
			if !isFieldValue(line[i:]) {
				return 0, false
			}
			line = line[:i]
			break
		}
	}
	for len(line) > 0 && (line[len(line)-1] == ' ' || line[len(line)-1] == '\t') {
		line = line[:len(line)-1]
	}
	if len(line) == 0 || len(line) > 15 {
		return 0, false
	}
	n := int64(0)
	for _, c := range line {
		switch {
		case isDigit(c):
			n = n<<4 | int64(c-'0')
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			n = n<<4 | int64(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

func firstError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

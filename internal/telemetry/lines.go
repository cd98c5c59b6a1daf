package telemetry

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/cybervault/cybervault"
)

// lineReader reads lines of at most maxLine bytes out of at most maxBytes bytes.
type lineReader struct {
	in       *bufio.Reader
	buf      []byte // a line that did not fit in the reader's own buffer
	maxLine  int
	maxBytes int64
	read     int64
	parts    bool // hand out a long line in parts, for those who need no lines
	partial  bool // the line last handed out goes on
}

// next returns the next line without its end ("\n" or "\r\n"), valid until the
// next call. Of a line over the bound it returns the beginning, says so, and
// skips the rest. The last line needs no end.
func (l *lineReader) next() (line []byte, long bool, err error) {
	l.buf, l.partial = l.buf[:0], false
	for {
		part, err := l.in.ReadSlice('\n')
		l.read += int64(len(part))
		if l.maxBytes > 0 && l.read > l.maxBytes {
			return nil, false, cybervault.Errorf(cybervault.CodeTooLarge,
				"the telemetry is over %d bytes (counted after decompression): send it in several requests", l.maxBytes)
		}
		switch {
		case err == nil && len(l.buf) == 0 && !long:
			line = trimEnd(part)
			return line[:min(len(line), l.maxLine)], len(line) > l.maxLine, nil
		case errors.Is(err, bufio.ErrBufferFull) && l.parts && len(l.buf) == 0:
			l.partial = true
			return part, false, nil
		case errors.Is(err, bufio.ErrBufferFull):
			long = l.keep(part) || long
		case err == nil, errors.Is(err, io.EOF) && len(l.buf)+len(part) > 0:
			long = l.keep(trimEnd(part)) || long
			return l.buf, long, nil
		default:
			return nil, false, err
		}
	}
}

// keep appends part up to the bound and reports whether some of it was left out.
func (l *lineReader) keep(part []byte) bool {
	room := l.maxLine - len(l.buf)
	l.buf = append(l.buf, part[:min(room, len(part))]...)
	return len(part) > room
}

func trimEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

func itoa(n int) string { return strconv.Itoa(n) }

package outbound

import (
	"bytes"
	"fmt"
	"strconv"
)

// MaxAnswerHeaders bounds the headers of one answer; more are a protocol
// failure. It bounds what short ones cost beyond their bytes.
const MaxAnswerHeaders = 10_000

// answerError is an answer that breaks HTTP/1.1, in words for a person.
type answerError struct{ text string }

func (e *answerError) Error() string { return e.text }

// notHTTP is an answer that cannot be read; what is quoted was sent by a receiver.
func notHTTP(what string, quoted []byte) error {
	return &answerError{printable(fmt.Sprintf("the answer is not HTTP: %s %.80q", what, quoted), maxErrorText)}
}

var errLongHead = &answerError{fmt.Sprintf("the headers of the answer are longer than %d bytes", MaxAnswerHeaderBytes)}

// field is one header of an answer: where its name and value lie.
type field struct{ name, nameEnd, value, valueEnd int }

// Lengths of a body that no Content-Length gives.
const (
	lengthUntilClose = -1 - iota
	lengthChunked
)

// head reads the first part of an answer, line by line as it comes in, so that
// what is no HTTP is known at once. It is at least as strict as net/http, which
// a fuzz test compares it with. Its fields lie in the bytes that it read.
type head struct {
	next    int // where the next line begins
	scanned int // up to where there is no end of a line

	status     int
	minor      byte // the second digit of the version
	fields     []field
	length     int64 // of the body, or one of the constants
	keep       bool  // the connection may carry another request
	keepAlive  field // of the first of each, if there is one
	retryAfter field
	date       field

	lengths    int // how many Content-Length
	coded      int // how many Transfer-Encoding
	chunked    bool
	closes     bool // Connection: close
	persistent bool // Connection: keep-alive
}

func (h *head) reset() { *h = head{fields: h.fields[:0], length: lengthUntilClose} }

// read goes on with b, which begins with the head and has grown since, and
// reports whether the head is complete: it ends at h.next. It brings the names
// in b into their usual form.
func (h *head) read(b []byte) (bool, error) {
	for {
		end := bytes.IndexByte(b[h.scanned:], '\n')
		if end < 0 {
			h.scanned = len(b)
			if start := b[:min(len(b), len("HTTP/"))]; h.status == 0 && string(start) != "HTTP/"[:len(start)] {
				return false, notHTTP("malformed HTTP response", b)
			}
			return false, nil
		}
		start, end := h.next, h.scanned+end
		h.next, h.scanned = end+1, end+1
		if end > start && b[end-1] == '\r' {
			end--
		}
		switch {
		case h.status == 0:
			if err := h.statusLine(b[start:end]); err != nil {
				return false, err
			}
		case start == end:
			return true, h.finish(b)
		default:
			if err := h.field(b, start, end); err != nil {
				return false, err
			}
		}
	}
}

// statusLine reads HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112,
// section 4); the last space is often left out.
func (h *head) statusLine(line []byte) error {
	version, rest, _ := bytes.Cut(line, []byte(" "))
	if len(version) != len("HTTP/1.1") || !bytes.HasPrefix(version, []byte("HTTP/1.")) || !isDigit(version[7]) {
		return notHTTP("malformed HTTP response", line)
	}
	code, reason, _ := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	if len(code) != 3 || !isDigit(code[0]) || !isDigit(code[1]) || !isDigit(code[2]) || code[0] == '0' {
		return notHTTP("malformed HTTP status code", code)
	}
	if !isFieldValue(reason) {
		return notHTTP("malformed HTTP response", line)
	}
	h.minor = version[7] - '0'
	h.status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// field reads the header that is b[start:end].
func (h *head) field(b []byte, start, end int) error {
	line := b[start:end]
	if line[0] == ' ' || line[0] == '\t' {
		return notHTTP("header folded over two lines", line)
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !isToken(line[:colon]) || !isFieldValue(line[colon+1:]) {
		return notHTTP("malformed header", line)
	}
	if len(h.fields) == MaxAnswerHeaders {
		return &answerError{fmt.Sprintf("the answer has more than %d headers", MaxAnswerHeaders)}
	}
	canonicalise(line[:colon])
	value := start + colon + 1
	for value < end && (b[value] == ' ' || b[value] == '\t') {
		value++
	}
	for end > value && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	f := field{start, start + colon, value, end}
	kept, err := h.note(b, f)
	if kept {
		h.fields = append(h.fields, f)
	}
	return err
}

// canonicalise spells a header's name as net/http does: Content-Type.
func canonicalise(name []byte) {
	upper := true
	for i, c := range name {
		if upper && c >= 'a' && c <= 'z' {
			name[i] = c - 'a' + 'A'
		} else if !upper && c >= 'A' && c <= 'Z' {
			name[i] = c - 'A' + 'a'
		}
		upper = c == '-'
	}
}

// note takes from a header what the exchange needs, and reports whether it is
// recorded beside that.
func (h *head) note(b []byte, f field) (bool, error) {
	value := b[f.value:f.valueEnd]
	switch string(b[f.name:f.nameEnd]) {
	case "Content-Length":
		return h.contentLength(value)
	case "Transfer-Encoding":
		if h.minor == 0 {
			return false, nil // HTTP/1.0 knows none: the body ends with the connection
		}
		if h.coded++; h.coded > 1 || !bytes.EqualFold(value, []byte("chunked")) {
			return false, notHTTP("transfer encoding other than chunked:", value)
		}
		h.chunked = true
		return false, nil
	case "Connection":
		h.closes = h.closes || hasToken(value, "close")
		h.persistent = h.persistent || hasToken(value, "keep-alive")
	case "Keep-Alive":
		first(&h.keepAlive, f)
	case "Retry-After":
		first(&h.retryAfter, f)
	case "Date":
		first(&h.date, f)
	}
	return true, nil
}

func first(into *field, f field) {
	if *into == (field{}) {
		*into = f
	}
}

// contentLength takes one length, repeated or not (RFC 9112, section 6.3).
func (h *head) contentLength(value []byte) (bool, error) {
	if len(value) == 0 || len(value) > 18 {
		return false, notHTTP("bad Content-Length", value)
	}
	n := int64(0)
	for _, c := range value {
		if !isDigit(c) {
			return false, notHTTP("bad Content-Length", value)
		}
		n = n*10 + int64(c-'0')
	}
	if h.lengths++; h.lengths > 1 {
		if n != h.length {
			return false, notHTTP("differing Content-Length", value)
		}
		return false, nil
	}
	h.length = n
	return true, nil
}

// hasToken looks for a word in a list of words and commas.
func hasToken(list []byte, word string) bool {
	for len(list) > 0 {
		var part []byte
		part, list, _ = bytes.Cut(list, []byte(","))
		if part = trimSpace(part); len(part) == len(word) && bytes.EqualFold(part, []byte(word)) {
			return true
		}
	}
	return false
}

// bodyless reports whether the status alone says that there is no body.
func (h *head) bodyless() bool { return h.status <= 199 || h.status == 204 || h.status == 304 }

// finish concludes what no single header says (RFC 9112, sections 6.3 and 9.3).
func (h *head) finish(b []byte) error {
	h.keep = !h.closes
	if h.minor == 0 {
		h.keep = !h.closes && h.persistent
	}
	if h.chunked && h.lengths > 0 {
		h.keep = false // where one ends is in dispute: nothing may follow on this connection
	}
	switch {
	case h.bodyless():
		h.length = 0
		h.keep = h.keep && h.status != 101
	case h.chunked:
		h.length = lengthChunked
	case h.length == lengthUntilClose:
		h.keep = false
	}
	return h.leaveOut(b)
}

// leaveOut removes what net/http too keeps for itself.
func (h *head) leaveOut(b []byte) error {
	fields := h.fields[:0]
	for _, f := range h.fields {
		switch string(b[f.name:f.nameEnd]) {
		case "Content-Length":
			if h.length == lengthChunked {
				continue
			}
		case "Trailer":
			if h.chunked {
				value := b[f.value:f.valueEnd]
				if hasToken(value, "transfer-encoding") || hasToken(value, "trailer") || hasToken(value, "content-length") {
					return notHTTP("bad trailer", value)
				}
				continue
			}
		case "Connection":
			if h.closes && h.minor > 0 {
				continue
			}
		}
		fields = append(fields, f)
	}
	h.fields = fields
	return nil
}

// protocol is the version of the answer: "HTTP/1.1".
func (h *head) protocol() string {
	switch h.minor {
	case 0:
		return "HTTP/1.0"
	case 1:
		return "HTTP/1.1"
	}
	return "HTTP/1." + strconv.Itoa(int(h.minor))
}

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/cybervault/cybervault"
)

// Limits on the body of a request, in bytes. One event has cybervault.MaxEventBytes.
const (
	MaxRequestBytes   = 1 << 20  // of a call that is not named below
	MaxBatchBytes     = 32 << 20 // of a batch
	MaxTelemetryBytes = 64 << 20 // of telemetry, as it is sent (before gzip is undone)
)

// drainBytes is how much of a body that is too large is read and thrown away,
// so that the caller gets to read the answer before the connection closes.
const drainBytes = 1 << 20

// readBody reads the whole body, or fails with CodeTooLarge.
func readBody(c *call, limit int64) ([]byte, error) {
	if encoding := c.r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		c.w.Header().Set("Accept-Encoding", "identity")
		return nil, &problem{
			status: http.StatusUnsupportedMediaType, code: codeUnsupportedMedia,
			message: "the body has the Content-Encoding " + shorten(encoding) + ": send it as it is",
		}
	}
	if c.r.ContentLength > limit {
		_, _ = io.CopyN(io.Discard, c.r.Body, min(c.r.ContentLength, limit+drainBytes))
		return nil, bodyTooLarge(limit)
	}
	if err := c.roomFor(max(c.r.ContentLength, 0)); err != nil {
		c.discard(limit)
		return nil, err
	}
	body, err := readAll(c, limit)
	if int64(len(body)) > limit {
		_, _ = io.CopyN(io.Discard, c.r.Body, drainBytes)
		return nil, bodyTooLarge(limit)
	}
	return body, err
}

// readAll reads the body, up to one byte more than the limit, and holds room for
// what has come: a body that comes slowly holds no more than it has sent.
func readAll(c *call, limit int64) ([]byte, error) {
	whole := limit + 1
	if c.r.ContentLength >= 0 {
		whole = c.r.ContentLength + 1 // the last byte is for finding the end
	}
	size := min(whole, firstRead)
	if c.r.ContentLength < 0 {
		size = min(size, bytes.MinRead)
	}
	if err := c.hold(size); err != nil {
		c.discard(limit)
		return nil, err
	}
	body := make([]byte, 0, size)
	for int64(len(body)) <= limit {
		n, err := c.r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return nil, bodyBroken(err)
		}
		if len(body) < cap(body) {
			continue
		}
		next := min(2*size, limit+1)
		if size < whole {
			next = min(next, whole)
		}
		if err := c.hold(next - size); err != nil {
			c.discard(limit)
			return nil, err
		}
		size = next
		body = append(make([]byte, 0, size), body...)
	}
	return body, nil
}

func bodyBroken(err error) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge
	}
	return unreadable("the body broke off before its end")
}

// readJSON reads a body that must be JSON: one value, valid UTF-8, nothing behind it.
func readJSON(c *call, limit int64) ([]byte, error) {
	if err := wantMedia(c, "application/json"); err != nil {
		return nil, err
	}
	body, err := readBody(c, limit)
	if err != nil {
		return nil, err
	}
	return body, checkJSON(body)
}

// curlMedia is what curl -d says of every body that it is not told the type of.
const curlMedia = "application/x-www-form-urlencoded"

// wantMedia refuses a Content-Type that is plainly something else. None at all
// is fine, and so is what curl says by itself: the body is then judged for
// itself. A form of a browser gains nothing by that, since every call wants a
// header that no form can send.
func wantMedia(c *call, wanted ...string) error {
	given := c.r.Header.Get("Content-Type")
	if given == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(given)
	if media == curlMedia {
		return nil
	}
	charset := strings.ToLower(params["charset"])
	if err == nil && (charset == "" || charset == "utf-8" || charset == "us-ascii") {
		for _, w := range wanted {
			if media == w || w == "application/json" && strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json") {
				return nil
			}
		}
	}
	return &problem{
		status: http.StatusUnsupportedMediaType, code: codeUnsupportedMedia,
		message: "the Content-Type " + shorten(given) + " is not one that this call reads: send " + strings.Join(wanted, " or "),
	}
}

// checkJSON reports what is wrong with body as one JSON value.
func checkJSON(body []byte) error {
	if len(bytes.TrimLeft(body, " \t\r\n")) == 0 {
		return unreadable("the body is empty: send JSON")
	}
	if !utf8.Valid(body) {
		return unreadable("the body is not JSON: it is not valid UTF-8")
	}
	if json.Valid(body) {
		return nil
	}
	var value json.RawMessage
	err := json.Unmarshal(body, &value)
	message := "the body is not JSON"
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		line, column := position(body, syntax.Offset)
		message += ": " + syntax.Error() + ", at line " + itoa(line) + ", column " + itoa(column)
	}
	return unreadable(message)
}

// position turns the offset of a syntax error, which counts the byte that broke
// it, into a line and a column, both from 1.
func position(body []byte, offset int64) (line, column int) {
	before := body[:min(max(offset-1, 0), int64(len(body)))]
	line = bytes.Count(before, []byte{'\n'}) + 1
	return line, len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
}

// member is one name and value of a JSON object, the value as it was sent.
type member struct {
	name  string
	value json.RawMessage
}

// members splits a valid JSON object into its members. into is appended to, so
// that a caller on the hot path can bring its own room.
func members(object []byte, into []member) ([]member, error) {
	i := skipSpace(object, 0)
	if object[i] != '{' {
		return nil, cybervault.Errorf(cybervault.CodeInvalid, "the body is %s: send a JSON object", kindOf(object[i:]))
	}
	i = skipSpace(object, i+1)
	for object[i] != '}' {
		end := valueEnd(object, i)
		name := unquote(object[i:end])
		i = skipSpace(object, skipSpace(object, end)+1) // past the colon
		end = valueEnd(object, i)
		for _, m := range into {
			if m.name == name {
				return nil, cybervault.Invalid(shorten(name), "stands twice in the object")
			}
		}
		into = append(into, member{name: name, value: object[i:end]})
		if len(into) > 1000 {
			return nil, cybervault.Errorf(cybervault.CodeInvalid, "the object has more than 1000 members")
		}
		if i = skipSpace(object, end); object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
	return into, nil
}

// elements splits a valid JSON array.
func elements(array []byte) []json.RawMessage {
	var all []json.RawMessage
	i := skipSpace(array, skipSpace(array, 0)+1)
	for array[i] != ']' {
		end := valueEnd(array, i)
		all = append(all, array[i:end])
		if i = skipSpace(array, end); array[i] == ',' {
			i = skipSpace(array, i+1)
		}
	}
	return all
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns the index behind the value that begins at b[i]; b is valid JSON.
func valueEnd(b []byte, i int) int {
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		for depth := 0; ; {
			switch b[i] {
			case '"':
				i = stringEnd(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
	}
	for i < len(b) && strings.IndexByte(",]} \n\t\r", b[i]) < 0 {
		i++
	}
	return i
}

// stringEnd returns the index behind the string that begins at b[i]: behind the
// first quotation mark with an even number of backslashes before it.
func stringEnd(b []byte, i int) int {
	for start := i + 1; ; {
		end := start + bytes.IndexByte(b[start:], '"')
		escapes := 0
		for b[end-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return end + 1
		}
		start = end + 1
	}
}

// unquote decodes a valid JSON string.
func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil { // it was found valid before
		panic(err)
	}
	return s
}

// kindOf names a JSON value for an error.
func kindOf(value []byte) string {
	switch value[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// readOptionalJSON reads a body that may be absent; nil if it is.
func readOptionalJSON(c *call) ([]byte, error) {
	body, err := readBody(c, MaxRequestBytes)
	if err != nil || len(bytes.TrimLeft(body, " \t\r\n")) == 0 {
		return nil, err
	}
	if err := wantMedia(c, "application/json"); err != nil {
		return nil, err
	}
	return body, checkJSON(body)
}

// wantNoFields accepts no body, and an empty object.
func wantNoFields(c *call) error {
	body, err := readOptionalJSON(c)
	if err != nil || body == nil {
		return err
	}
	_, err = fields[struct{}]{}.decode(body, bodyOptions{})
	return err
}

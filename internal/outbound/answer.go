package outbound

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cybervault/cybervault"
)

// bodyPool lends buffers for reading bodies.
type bodyPool struct{ pool sync.Pool }

type bodyBuffer [cybervault.MaxKeptResponseBodyBytes]byte

// read returns the first cybervault.MaxKeptResponseBodyBytes of a body, as they
// came (an encoded body stays encoded, so that nothing can be inflated), and
// whether there was, or should have been, more. It reads a bounded amount
// further, so that the connection can be used again.
func (p *bodyPool) read(from io.Reader) (body []byte, cut bool) {
	buffer, _ := p.pool.Get().(*bodyBuffer)
	if buffer == nil {
		buffer = new(bodyBuffer)
	}
	defer p.pool.Put(buffer)
	n := 0
	var err error
	for n < len(buffer) && err == nil {
		var more int
		more, err = from.Read(buffer[n:])
		n += more
	}
	if n > 0 {
		body = append(body, buffer[:n]...)
	}
	switch err {
	case io.EOF:
		return body, false
	case nil:
		return body, drain(from, buffer) > 0
	}
	return body, true // broken off, or out of time
}

// drain reads on to MaxReadBodyBytes in all and returns how much it read, at
// least 1 if the end was not reached.
func drain(body io.Reader, buffer *bodyBuffer) int {
	total := 0
	for total <= MaxReadBodyBytes-len(buffer) {
		n, err := body.Read(buffer[:])
		total += n
		if err == io.EOF {
			return total
		}
		if err != nil {
			break
		}
	}
	return max(total, 1)
}

// keptHeaders returns an answer's headers sorted by name, within the limits.
func keptHeaders(header http.Header) []cybervault.Header {
	if len(header) == 0 {
		return nil
	}
	out := make([]cybervault.Header, 0, min(len(header), MaxKeptAnswerHeaders))
	size := 0
	var names [32]string
	sorted := names[:0]
	for name := range header {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		for _, value := range header[name] {
			size += len(name) + len(value)
			if len(out) == MaxKeptAnswerHeaders || size > MaxKeptAnswerHeaderBytes {
				return out
			}
			// Bytes of any encoding may come; the store and JSON take UTF-8.
			out = append(out, cybervault.Header{Name: strings.ToValidUTF8(name, "?"), Value: strings.ToValidUTF8(value, "?")})
		}
	}
	return out
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3) of a 429 or 503: a
// number of seconds or a date. A past or unreadable one is zero; more than
// cybervault.MaxRetryAfter is that.
func retryAfter(answer *http.Response, now time.Time) time.Duration {
	if !mayAskToWait(answer.StatusCode) {
		return 0
	}
	return retryDelay(answer.Header.Get("Retry-After"), answer.Header.Get("Date"), now)
}

func mayAskToWait(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

func retryDelay(value, date string, now time.Time) time.Duration {
	if value = strings.TrimSpace(value); value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseUint(value, 10, 64)
		if err != nil || seconds > uint64(cybervault.MaxRetryAfter/time.Second) {
			return cybervault.MaxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// The receiver's own clock, where it gives it, so that a difference
	// between the clocks does not count.
	if theirs, err := http.ParseTime(date); err == nil {
		now = theirs
	}
	return min(max(at.Sub(now), 0), cybervault.MaxRetryAfter)
}

// noteKeepAlive remembers how long the peer says it keeps an idle connection
// ("Keep-Alive: timeout=5"; Node.js closes after 5 s, which is just when a
// first retry comes), less a margin for the way there.
func noteKeepAlive(c *conn, header http.Header) {
	if value := header["Keep-Alive"]; len(value) > 0 {
		c.noteKeepAlive(value[0])
	}
}

func (c *conn) noteKeepAlive(value string) {
	for part := range strings.SplitSeq(value, ",") {
		name, number, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(name, "timeout") {
			continue
		}
		if seconds, err := strconv.ParseUint(strings.Trim(number, `"`), 10, 16); err == nil {
			keep := time.Duration(seconds) * time.Second
			c.keep.Store(int64(max(keep-max(keep/5, 500*time.Millisecond), time.Millisecond)))
		}
	}
}

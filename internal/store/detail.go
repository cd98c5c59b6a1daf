package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// detail is what is kept of an exchange beside the columns: read on the page of
// one delivery only, never searched.
type detail struct {
	URL      string   `json:"url"`
	Request  string   `json:"req,omitempty"` // "Name: value" lines
	Answer   string   `json:"ans,omitempty"`
	Error    string   `json:"err,omitempty"`
	Cut      bool     `json:"cut,omitempty"`
	Remote   string   `json:"addr,omitempty"`
	Protocol string   `json:"proto,omitempty"`
	Timings  [4]int64 `json:"us"` // dns, connect, tls, first byte; microseconds
}

func encodeDetail(x *cybervault.Exchange) []byte {
	b, err := json.Marshal(detail{
		URL: x.URL, Request: joinHeaders(x.Request), Answer: joinHeaders(x.Answer), Error: x.Error, Cut: x.BodyCut,
		Remote: x.RemoteAddr, Protocol: x.Protocol,
		Timings: [4]int64{x.Timings.DNS.Microseconds(), x.Timings.Connect.Microseconds(), x.Timings.TLS.Microseconds(), x.Timings.FirstByte.Microseconds()},
	})
	if err != nil {
		panic(fmt.Sprintf("store: encode the detail of an attempt: %v", err)) // strings and integers only
	}
	return b
}

func decodeDetail(b []byte, x *cybervault.Exchange) error {
	var d detail
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("read the detail of an attempt: %w", err)
	}
	us := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	x.URL, x.Error, x.BodyCut, x.RemoteAddr, x.Protocol = d.URL, d.Error, d.Cut, d.Remote, d.Protocol
	x.Request, x.Answer = splitHeaders(d.Request), splitHeaders(d.Answer)
	x.Timings = cybervault.Timings{DNS: us(d.Timings[0]), Connect: us(d.Timings[1]), TLS: us(d.Timings[2]), FirstByte: us(d.Timings[3])}
	return nil
}

func joinHeaders(headers []cybervault.Header) string {
	size := 0
	for _, h := range headers {
		size += len(h.Name) + len(h.Value) + 3
	}
	var b strings.Builder
	b.Grow(size)
	for _, h := range headers {
		b.WriteString(h.Name)
		b.WriteString(": ")
		b.WriteString(h.Value)
		b.WriteByte('\n')
	}
	return b.String()
}

func splitHeaders(s string) []cybervault.Header {
	headers := make([]cybervault.Header, 0, strings.Count(s, "\n"))
	for line := range strings.Lines(s) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		headers = append(headers, cybervault.Header{Name: name, Value: value})
	}
	return headers
}

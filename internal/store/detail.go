package store

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cybervault/cybervault"
)

// What is kept of an exchange beside the columns is read on the page of one
// delivery only and never searched, so it is packed into one value: a format
// byte, then strings with their length before them and integers as varints.
// Unlike JSON it keeps header values that are not UTF-8, and costs a tenth.

// detailFormat starts every packed detail, so that the format can change.
const detailFormat = 1

func encodeDetail(x *cybervault.Exchange) []byte {
	size := 64 + len(x.URL) + len(x.Error) + len(x.RemoteAddr) + len(x.Protocol)
	for _, headers := range [2][]cybervault.Header{x.Request, x.Answer} {
		for i := range headers {
			size += len(headers[i].Name) + len(headers[i].Value) + 4
		}
	}
	b := append(make([]byte, 0, size), detailFormat, byte(boolInt(x.BodyCut)))
	for _, s := range [...]string{x.URL, x.Error, x.RemoteAddr, x.Protocol} {
		b = appendText(b, s)
	}
	for _, d := range [...]time.Duration{x.Timings.DNS, x.Timings.Connect, x.Timings.TLS, x.Timings.FirstByte, x.RetryAfter} {
		b = binary.AppendVarint(b, d.Microseconds())
	}
	for _, headers := range [2][]cybervault.Header{x.Request, x.Answer} {
		b = binary.AppendUvarint(b, uint64(len(headers)))
		for i := range headers {
			b = appendText(appendText(b, headers[i].Name), headers[i].Value)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func decodeDetail(b []byte, x *cybervault.Exchange) error {
	if len(b) < 2 || b[0] != detailFormat {
		return errors.New("the detail of an attempt is damaged or of an unknown format")
	}
	x.BodyCut = b[1] != 0
	r := detailReader{rest: b[2:]}
	for _, s := range [...]*string{&x.URL, &x.Error, &x.RemoteAddr, &x.Protocol} {
		*s = r.text()
	}
	for _, d := range [...]*time.Duration{&x.Timings.DNS, &x.Timings.Connect, &x.Timings.TLS, &x.Timings.FirstByte, &x.RetryAfter} {
		*d = r.duration()
	}
	x.Request, x.Answer = r.headers(), r.headers()
	if r.damaged || len(r.rest) != 0 {
		return errors.New("the detail of an attempt is damaged")
	}
	return nil
}

// detailReader reads what encodeDetail wrote. After damage it reads zeros.
type detailReader struct {
	rest    []byte
	damaged bool
}

func (r *detailReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	return v * r.take(n)
}

func (r *detailReader) duration() time.Duration {
	v, n := binary.Varint(r.rest)
	return time.Duration(v*int64(r.take(n))) * time.Microsecond
}

// take passes over a varint of n bytes and returns 1, or 0 when it is damaged.
func (r *detailReader) take(n int) uint64 {
	if n <= 0 {
		r.damaged, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return 1
}

func (r *detailReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.damaged, r.rest = true, nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *detailReader) headers() []cybervault.Header {
	n := r.uvarint()
	if n > uint64(len(r.rest)) { // each takes two bytes at least
		r.damaged, r.rest = true, nil
		return nil
	}
	headers := make([]cybervault.Header, n)
	for i := range headers {
		headers[i] = cybervault.Header{Name: r.text(), Value: r.text()}
	}
	return headers
}

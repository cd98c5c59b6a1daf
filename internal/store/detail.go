package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"time"

	"github.com/cybervault/cybervault"
)

// What is kept of an exchange beside the columns is read on the page of one
// delivery only and never searched, so it is packed into one value: a format
// byte, then strings with their length before them, integers as varints, and
// headers as headers.go packs them. Unlike JSON it keeps header values that are
// not UTF-8, and costs a tenth.

// A format byte starts every packed detail, so that the format can change.
const (
	detailPlain  = 1 // headers as texts, and no certificate; read, never written
	detailFormat = 2
)

// The second byte of a packed detail.
const (
	detailBodyCut = 1 << iota
	detailTLS     // ends with a certificate; never of detailPlain
)

func encodeDetail(x *cybervault.Exchange) []byte {
	var buffer [1024]byte // most fit, and the copy at the end has the size they need
	flags := byte(boolInt(x.BodyCut)) * detailBodyCut
	if x.TLS != nil {
		flags |= detailTLS
	}
	b := append(buffer[:0], detailFormat, flags)
	for _, s := range [...]string{x.URL, x.Error, x.RemoteAddr} {
		b = appendText(b, s)
	}
	b = appendPacked(b, x.Protocol)
	for _, d := range [...]time.Duration{x.Timings.DNS, x.Timings.Connect, x.Timings.TLS, x.Timings.FirstByte, x.RetryAfter} {
		b = binary.AppendVarint(b, d.Microseconds())
	}
	b = appendHeaders(appendHeaders(b, x.Request), x.Answer)
	if x.TLS != nil {
		b = appendPeer(b, x.TLS)
	}
	return bytes.Clone(b)
}

func appendPeer(b []byte, p *cybervault.PeerTLS) []byte {
	fingerprint, _ := hex.DecodeString(p.Fingerprint) // half as long
	for _, s := range [...]string{p.Version, p.CipherSuite, p.Subject, p.Issuer, string(fingerprint)} {
		b = appendText(b, s)
	}
	b = binary.AppendVarint(binary.AppendVarint(b, p.NotBefore.Unix()), p.NotAfter.Unix())
	b = binary.AppendUvarint(b, uint64(len(p.Names)))
	for _, name := range p.Names {
		b = appendText(b, name)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func decodeDetail(b []byte, x *cybervault.Exchange) error {
	if len(b) < 2 || b[0] != detailFormat && b[0] != detailPlain {
		return errors.New("the detail of an attempt is damaged or of an unknown format")
	}
	flags := b[1]
	x.BodyCut, x.TLS = flags&detailBodyCut != 0, nil
	r := detailReader{rest: b[2:]}
	value := r.packed // how protocol and headers are read
	if b[0] == detailPlain {
		value = r.text
	}
	for _, s := range [...]*string{&x.URL, &x.Error, &x.RemoteAddr} {
		*s = r.text()
	}
	x.Protocol = value()
	for _, d := range [...]*time.Duration{&x.Timings.DNS, &x.Timings.Connect, &x.Timings.TLS, &x.Timings.FirstByte, &x.RetryAfter} {
		*d = r.duration()
	}
	x.Request, x.Answer = r.headers(value), r.headers(value)
	if b[0] != detailPlain && flags&detailTLS != 0 {
		x.TLS = r.peer()
	}
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

func (r *detailReader) damage() { r.damaged, r.rest = true, nil }

func (r *detailReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	return v * r.take(n)
}

func (r *detailReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	return v * int64(r.take(n))
}

func (r *detailReader) duration() time.Duration { return time.Duration(r.varint()) * time.Microsecond }

func (r *detailReader) peer() *cybervault.PeerTLS {
	p := &cybervault.PeerTLS{}
	for _, s := range [...]*string{&p.Version, &p.CipherSuite, &p.Subject, &p.Issuer, &p.Fingerprint} {
		*s = r.text()
	}
	p.Fingerprint = hex.EncodeToString([]byte(p.Fingerprint))
	p.NotBefore, p.NotAfter = time.Unix(r.varint(), 0).UTC(), time.Unix(r.varint(), 0).UTC()
	n := r.uvarint()
	if n > uint64(len(r.rest)) { // each takes a byte at least
		r.damaged, r.rest = true, nil
		return nil
	}
	p.Names = make([]string, n)
	for i := range p.Names {
		p.Names[i] = r.text()
	}
	return p
}

// take passes over a varint of n bytes and returns 1, or 0 when it is damaged.
func (r *detailReader) take(n int) uint64 {
	if n <= 0 {
		r.damage()
		return 0
	}
	r.rest = r.rest[n:]
	return 1
}

// bytes returns the next n, nil where there are not as many.
func (r *detailReader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.damage()
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *detailReader) octet() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *detailReader) text() string {
	n := r.uvarint()
	return string(r.bytes(int(min(n, math.MaxInt32))))
}

// headers reads a list whose names and values are read by value.
func (r *detailReader) headers(value func() string) []cybervault.Header {
	n := r.uvarint()
	if n > uint64(len(r.rest)) { // each takes two bytes at least
		r.damage()
		return nil
	}
	headers := make([]cybervault.Header, n)
	for i := range headers {
		headers[i] = cybervault.Header{Name: value(), Value: value()}
	}
	return headers
}

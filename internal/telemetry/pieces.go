package telemetry

import (
	"bufio"
	"bytes"
	"context"
	"fmt"

	"github.com/cybervault/cybervault"
)

// Pieces reads telemetry that comes in pieces, such as the records of a stream
// engine: each is read as if it were the whole input, so that a broken one
// spoils no other, but what a format remembers from line to line (sshd's
// connections, the lines of one event of the audit system) lasts from piece to piece. It is for one goroutine.
type Pieces struct {
	p  *parser
	in *bufio.Reader
	// refused is the yield's or the context's error, apart from the input's.
	refused error
}

// NewPieces returns a reader of pieces. The error is Parse's for a Format that
// is not known. Options.MaxBytes bounds each piece.
func NewPieces(opts Options) (*Pieces, error) {
	p, err := newParser(opts, nil)
	if err != nil {
		return nil, err
	}
	p.pieces = true
	return &Pieces{p: p, in: bufio.NewReaderSize(nil, 64<<10)}, nil
}

// Read reads one piece and hands its records to yield. What cannot be read, up
// to the whole piece, is counted and sampled in the Summary, which is of this
// piece alone. The error is the yield's, or the context's.
func (r *Pieces) Read(ctx context.Context, piece []byte, yield func(*cybervault.Record) error) (sum Summary, err error) {
	p := r.p
	p.sum, p.line, p.nested, p.partial, r.refused = Summary{}, 0, 0, false, nil
	p.now = p.opts.Now()
	p.doc.abandon()
	p.yield = func(rec *cybervault.Record) error {
		r.refused = yield(rec)
		return r.refused
	}
	defer func() {
		// A line that the parser cannot bear is that line's fault, and must not
		// come again for ever.
		if cause := recover(); cause != nil && r.refused == nil {
			p.unreadable(max(p.line, 1), fmt.Sprintf("the parser failed: %v", cause), piece)
			sum = p.sum
		}
	}()
	if err := ctx.Err(); err != nil {
		return p.sum, err
	}
	r.in.Reset(bytes.NewReader(piece))
	if err := p.read(ctx, r.in); err != nil {
		if r.refused != nil || ctx.Err() != nil {
			return p.sum, err
		}
		p.unreadable(max(p.line, 1), err.Error(), piece)
	}
	return p.sum, nil
}

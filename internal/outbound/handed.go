package outbound

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
)

// parcel is a connection that was dialled and turned out to speak HTTP/2, on
// its way to the transport: its dial for the same exchange finds it.
type parcel struct {
	conn  *conn
	state atomic.Int32 // one of the constants
}

const (
	parcelWaits int32 = iota
	parcelTaken
	parcelWithdrawn
)

type parcelKey struct{}

var errWithdrawn = errors.New("the exchange has found another connection")

// handed returns the connection that was dialled for the exchange, nil if there
// is none or it was used before, when the transport needs another. The
// exchange may have ended without it: then it is closed and nobody waits.
func handed(ctx context.Context) (net.Conn, error) {
	p, ok := ctx.Value(parcelKey{}).(*parcel)
	if !ok {
		return nil, nil
	}
	if p.state.CompareAndSwap(parcelWaits, parcelTaken) {
		return p.conn.session, nil
	}
	if p.state.Load() == parcelWithdrawn {
		return nil, errWithdrawn
	}
	return nil, nil
}

// withdraw closes the connection if the transport had no use for it.
func (p *parcel) withdraw() {
	if p.state.CompareAndSwap(parcelWaits, parcelWithdrawn) {
		_ = p.conn.session.Close()
	}
}

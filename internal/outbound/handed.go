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

// handed returns the connection that was dialled for the exchange. It is not
// found if there is none or it was used before, when the transport needs
// another. The exchange may have ended without it: then nobody waits for any.
func handed(ctx context.Context) (c net.Conn, found bool, err error) {
	p, ok := ctx.Value(parcelKey{}).(*parcel)
	switch {
	case !ok:
		return nil, false, nil
	case p.state.CompareAndSwap(parcelWaits, parcelTaken):
		return p.conn.session, true, nil
	case p.state.Load() == parcelWithdrawn:
		return nil, false, errWithdrawn
	}
	return nil, false, nil
}

// withdraw closes the connection if the transport had no use for it.
func (p *parcel) withdraw() {
	if p.state.CompareAndSwap(parcelWaits, parcelWithdrawn) {
		_ = p.conn.session.Close()
	}
}

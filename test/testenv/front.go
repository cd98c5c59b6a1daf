package testenv

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// Front is a reverse proxy whose address is known before the server behind it runs, as
// a server that is told its public address needs.
type Front struct {
	URL    string
	behind atomic.Pointer[url.URL]
}

// NewFront starts one. It answers 502 until Behind is called.
func NewFront(t testing.TB) *Front {
	t.Helper()
	f := &Front{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		behind := f.behind.Load()
		if behind == nil {
			http.Error(w, "nothing is behind it", http.StatusBadGateway)
			return
		}
		(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host
		}}).ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	f.URL = s.URL
	return f
}

// Behind says where requests go.
func (f *Front) Behind(t testing.TB, server string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	f.behind.Store(u)
}

// Away has nothing be behind it any more, as when the network is cut.
func (f *Front) Away() { f.behind.Store(nil) }

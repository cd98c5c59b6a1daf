package outbound

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// While the first exchange with a host is handed to net/http's transport, which
// then sets itself up, others dial: the two share nothing that changes. The race
// detector is what tells.
func TestFirstExchangesAtOnce(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	for range 10 {
		client := newClient(t, Config{Dev: true, RootCAs: roots})
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				x, err := client.Do(t.Context(), Request{URL: s.URL})
				if err != nil || x.Status != http.StatusOK || x.Protocol != "HTTP/2.0" {
					t.Errorf("%+v, %v", x, err)
				}
			})
		}
		wg.Wait()
	}
}

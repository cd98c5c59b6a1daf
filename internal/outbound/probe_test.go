package outbound_test

import (
	"net/netip"
	"testing"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/outbound"
	"github.com/cybervault/cybervault/test/testenv"
)

func probed(t *testing.T, config outbound.Config, r outbound.Request) cybervault.Exchange {
	t.Helper()
	client := outbound.New(config)
	defer client.Close()
	x, err := client.Probe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A probe finds what an attempt would, and sends nothing.
func TestProbe(t *testing.T) {
	t.Parallel()
	receiver, plain := testenv.NewReceiver(t), testenv.NewPlainReceiver(t)
	loopback := outbound.Config{AllowDestinations: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	x := probed(t, loopback, outbound.Request{URL: receiver.URL + "/in", CACertificate: receiver.CAPEM})
	if x.Failure != "" || x.TLS == nil || x.TLS.NotAfter.IsZero() || x.RemoteAddr == "" {
		t.Errorf("a receiver that is there: %+v", x)
	}
	if x := probed(t, outbound.Config{Dev: true}, outbound.Request{URL: plain.URL}); x.Failure != "" || x.TLS != nil {
		t.Errorf("without TLS: %+v", x)
	}
	gone := testenv.Nobody(t)
	for want, r := range map[cybervault.Failure]outbound.Request{
		cybervault.FailureTLS:            {URL: receiver.URL},
		cybervault.FailureConnect:        {URL: "https://" + gone},
		cybervault.FailureBlockedAddress: {URL: "https://10.0.0.1/"},
		cybervault.FailureDNS:            {URL: "https://no-such-name.invalid/"},
	} {
		if x := probed(t, loopback, r); x.Failure != want || x.Error == "" {
			t.Errorf("%s: %+v", want, x)
		}
	}
	if len(receiver.Received())+len(plain.Received()) > 0 {
		t.Error("a receiver was sent something")
	}
}

package cluster

import (
	"testing"

	"github.com/cybervault/cybervault/test/testenv"
)

// behindProxy starts a site of one node that reaches its own PostgreSQL through
// a proxy, with publishing under way.
func behindProxy(t *testing.T, settings ...string) (*site, *testenv.PostgresServer, *testenv.Proxy) {
	t.Helper()
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{Settings: settings})
	proxy := pg.Proxy()
	s := newSite(t, testenv.PostgresURL(nil, proxy), 1, "")
	s.publish()
	s.waitAcks(50)
	return s, pg, proxy
}

// PostgreSQL is restarted, in both ways, and killed, while a node publishes and
// delivers: the node goes on by itself and nothing is lost.
func TestPostgresIsRestarted(t *testing.T) {
	t.Parallel()
	s, pg, _ := behindProxy(t)
	node := s.nodes[0]
	for _, mode := range []string{"fast", "immediate"} {
		pg.Stop(mode)
		s.refuses(node, lists...)
		pg.Start()
		s.recovers(node)
	}
	pg.Kill()
	s.refuses(node, lists...)
	pg.Start()
	s.recovers(node)
	s.finish()
}

// The network resets every connection, takes none for a while, and comes back.
func TestNetworkIsCut(t *testing.T) {
	t.Parallel()
	s, _, proxy := behindProxy(t)
	node := s.nodes[0]
	for range 3 {
		proxy.Cut()
		s.recovers(node)
	}
	proxy.Set(testenv.Fault{Refuse: true})
	proxy.Cut()
	s.refuses(node, lists...)
	proxy.Set(testenv.Fault{})
	s.recovers(node)
	s.finish()
}

// The network swallows what is sent, and ends nothing: the node notices, refuses
// at once what comes after that, and goes on when the network does.
func TestNetworkSwallows(t *testing.T) {
	t.Parallel()
	s, _, proxy := behindProxy(t)
	node := s.nodes[0]
	proxy.Set(testenv.Fault{Swallow: true})
	s.refuses(node, lists...)
	proxy.Set(testenv.Fault{})
	s.recovers(node)
	s.finish()
}

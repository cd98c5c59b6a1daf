package geo_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/cybervault/cybervault/internal/detect/geo"
	"github.com/cybervault/cybervault/internal/detect/login"
)

// database writes a database of one network.
func database(t *testing.T, kind, network string, value mmdbtype.Map) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, n, err := net.ParseCIDR(network)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Insert(n, value); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), kind+".mmdb")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLocate(t *testing.T) {
	t.Parallel()
	place := func(accuracy uint16) mmdbtype.Map {
		return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String("SE")},
			"location": mmdbtype.Map{"latitude": mmdbtype.Float64(59.3), "longitude": mmdbtype.Float64(18.1), "accuracy_radius": mmdbtype.Uint16(accuracy)}}
	}
	db, err := geo.Open(database(t, "City", "203.0.113.0/25", place(20)), database(t, "Vague", "203.0.113.128/25", place(800)),
		database(t, "ASN", "203.0.113.0/24", mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64500)}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	for address, want := range map[string]login.Place{
		"203.0.113.9":        {Country: "SE", Lat: 59.3, Lon: 18.1, Located: true, Exact: true, Network: "AS64500"},
		"::ffff:203.0.113.9": {Country: "SE", Lat: 59.3, Lon: 18.1, Located: true, Exact: true, Network: "AS64500"},
		"203.0.113.200":      {Country: "SE", Lat: 59.3, Lon: 18.1, Located: true, Network: "AS64500"},
		"192.0.2.1":          {},
		"gate.example":       {},
	} {
		if got := db.Locate(address, login.Place{}); got != want {
			t.Errorf("%s is at %+v, want %+v", address, got, want)
		}
	}
	if got := db.Locate("203.0.113.9", login.Place{Country: "NO"}); got.Country != "NO" || !got.Located {
		t.Errorf("the record's word was not kept: %+v", got)
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "broken.mmdb")
	if err := os.WriteFile(name, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := geo.Open(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("opened with %v", err)
	}
}

// Package geo tells where an address is, from databases in MaxMind's format
// (MaxMind DB 2.0) that the operator gives.
//
// It stands within the detect stage, beside login, whose habits it gives places
// to. It ships no data and fetches none, and judges nothing.
package geo

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/cybervault/cybervault/internal/detect/login"
)

// exactWithin is the accuracy, in kilometres, up to which a position is a town's.
const exactWithin = 200

// DB is one or more open databases: of cities or countries, and of autonomous
// systems. Safe for concurrent use until it is closed.
type DB struct{ readers []*maxminddb.Reader }

// Open opens databases. The error names the file.
func Open(files ...string) (*DB, error) {
	db := &DB{}
	for _, name := range files {
		r, err := maxminddb.Open(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the GeoIP database %s cannot be read, it must be in MaxMind's format (.mmdb): %w", name, err), db.Close())
		}
		db.readers = append(db.readers, r)
	}
	return db, nil
}

// Close closes the databases.
func (db *DB) Close() error {
	var errs []error
	for _, r := range db.readers {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// entry is what the databases of all kinds say, as far as it is asked for.
type entry struct {
	Country struct {
		ISO string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Location struct {
		Lat      *float64 `maxminddb:"latitude"`
		Lon      *float64 `maxminddb:"longitude"`
		Accuracy uint16   `maxminddb:"accuracy_radius"`
	} `maxminddb:"location"`
	ASN uint `maxminddb:"autonomous_system_number"`
}

// Locate adds to what is known of an address what the databases say. What is
// known already stays: the record's own word is better.
func (db *DB) Locate(address string, known login.Place) login.Place {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return known
	}
	for _, r := range db.readers {
		var e entry
		if err := r.Lookup(ip.Unmap()).Decode(&e); err != nil {
			continue // a damaged database is no reason to lose the record
		}
		if known.Country == "" {
			known.Country = e.Country.ISO
		}
		if !known.Located && e.Location.Lat != nil && e.Location.Lon != nil {
			known.Lat, known.Lon, known.Located = *e.Location.Lat, *e.Location.Lon, true
			known.Exact = e.Location.Accuracy <= exactWithin
		}
		if known.Network == "" && e.ASN != 0 {
			known.Network = "AS" + strconv.FormatUint(uint64(e.ASN), 10)
		}
	}
	return known
}

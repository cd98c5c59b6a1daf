package login

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Thresholds of what breaks with a user's habits.
const (
	KnownLogins = 5                   // a user is known once so many logins …
	KnownDays   = 2                   // … on so many days were seen
	CountryFor  = 90 * 24 * time.Hour // a country is forgotten after this long

	// TravelSpeed is faster than any airliner, in kilometres an hour, from door to
	// door. TravelLeast is a distance that the databases do not mistake: they place
	// an address in the wrong town, or at the provider's, by up to a country's width.
	TravelSpeed  = 1000.0
	TravelLeast  = 500.0
	CountryWidth = 1500.0 // is taken off where only the countries are known
	TravelWithin = 24 * time.Hour
)

// Place is where an address is, by the record's word or a database's. The zero
// value is not known.
type Place struct {
	Country  string  // ISO 3166-1 alpha-2
	Lat, Lon float64 // degrees
	Exact    bool    // Lat and Lon are a town's, not the middle of the country
	Located  bool    // Lat and Lon are known
	Network  string  // autonomous system, as "AS64500", or "" if not known
}

// profile is what is remembered of one user's logins.
type profile struct {
	Countries []visit
	Networks  []visit // by Place.Network, or the public network of the address
	Logins    int
	Days      int
	LastDay   int64
	Last      Place
	LastFrom  string
	LastAt    time.Time
	Told      time.Time // of impossible travel
}

type visit struct {
	Name        string
	First, Last time.Time
	Logins      int
}

const maxVisits = 24

func costOfProfile(key string, p *profile) int {
	return entryBytes + len(key) + 300 + 88*(cap(p.Countries)+cap(p.Networks))
}

// habits compares a login with those before it, and remembers it.
func (t *Tracker) habits(a Attempt) []Conclusion {
	if a.User == "" {
		return nil
	}
	e := t.profiles.get(a.Scope + "\x00" + strings.ToLower(a.User))
	defer func() { t.profiles.charge(e, costOfProfile(e.key, &e.value)) }()
	p := &e.value
	network := a.Place.Network
	if network == "" {
		network = publicNetwork(a.Address)
	}
	known := p.Logins >= KnownLogins && p.Days >= KnownDays
	var out []Conclusion
	newNetwork := network != "" && !visited(p.Networks, network, a.Time)
	if c, ok := p.travel(a, newNetwork); ok {
		out = append(out, c)
	}
	if known && a.Place.Country != "" && !visited(p.Countries, a.Place.Country, a.Time) && len(p.Countries) > 0 {
		out = append(out, Conclusion{Pattern: NewCountry, Address: a.Address, User: a.User, New: true, First: a.Time, Count: 1, Total: 1, Users: 1,
			Detail: fmt.Sprintf("logged in from %s for the first time; %d logins before were from %s", a.Place.Country, p.Logins, names(p.Countries))})
	}
	p.remember(a, network)
	return out
}

// travel finds that nobody can have gone from the place of the login before to
// that of this one in the time between. A network that the user has long been
// seen in, such as the company's VPN, is not a place.
func (p *profile) travel(a Attempt, newNetwork bool) (Conclusion, bool) {
	if !p.Last.Located || !a.Place.Located || a.Address == p.LastFrom || !newNetwork {
		return Conclusion{}, false
	}
	apart := a.Time.Sub(p.LastAt).Abs()
	km := kilometres(p.Last, a.Place)
	if !p.Last.Exact || !a.Place.Exact {
		if p.Last.Country == a.Place.Country {
			return Conclusion{}, false
		}
		km -= CountryWidth
	}
	if km < TravelLeast || apart > TravelWithin || km <= TravelSpeed*apart.Hours() {
		return Conclusion{}, false
	}
	c := Conclusion{Pattern: ImpossibleTravel, Address: a.Address, User: a.User, New: a.Time.After(p.Told), First: p.LastAt, Count: 1, Total: 2, Users: 1, Sources: 2,
		Detail: fmt.Sprintf("logged in from %s (%s), and %s later from %s (%s), at least %.0f km away",
			where(p.Last), p.LastFrom, apart.Round(time.Second), where(a.Place), a.Address, km)}
	if c.New {
		c.Count = 2
	}
	p.Told = a.Time.Add(QuietAfter)
	return c, true
}

func where(p Place) string {
	if p.Country == "" {
		return fmt.Sprintf("%.1f,%.1f", p.Lat, p.Lon)
	}
	return p.Country
}

func (p *profile) remember(a Attempt, network string) {
	p.Logins++
	if day := a.Time.Unix() / 86400; day > p.LastDay {
		p.LastDay = day
		p.Days++
	}
	p.Countries = visitNow(p.Countries, a.Place.Country, a.Time)
	p.Networks = visitNow(p.Networks, network, a.Time)
	if a.Place.Located && !a.Time.Before(p.LastAt) {
		p.Last, p.LastAt, p.LastFrom = a.Place, a.Time, a.Address
	}
}

func visited(all []visit, name string, at time.Time) bool {
	return slices.ContainsFunc(all, func(v visit) bool { return v.Name == name && at.Sub(v.Last) <= CountryFor })
}

func visitNow(all []visit, name string, at time.Time) []visit {
	if name == "" {
		return all
	}
	if i := slices.IndexFunc(all, func(v visit) bool { return v.Name == name }); i >= 0 {
		all[i].Logins++
		if at.After(all[i].Last) {
			all[i].Last = at
		}
		return all
	}
	if len(all) >= maxVisits {
		oldest := 0
		for i := range all {
			if all[i].Last.Before(all[oldest].Last) {
				oldest = i
			}
		}
		all = slices.Delete(all, oldest, oldest+1)
	}
	return append(all, visit{name, at, at, 1})
}

func names(all []visit) string {
	out := make([]string, 0, 5)
	for _, v := range all[:min(len(all), 5)] {
		out = append(out, v.Name)
	}
	return strings.Join(out, ", ")
}

// kilometres between two places on a sphere (haversine).
func kilometres(a, b Place) float64 {
	const radius, degree = 6371, math.Pi / 180
	dLat, dLon := (b.Lat-a.Lat)*degree, (b.Lon-a.Lon)*degree
	h := math.Pow(math.Sin(dLat/2), 2) + math.Cos(a.Lat*degree)*math.Cos(b.Lat*degree)*math.Pow(math.Sin(dLon/2), 2)
	return 2 * radius * math.Asin(math.Min(1, math.Sqrt(h)))
}

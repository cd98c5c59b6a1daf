package sigma

import (
	"net/netip"
	"strconv"
	"time"
)

// testKind is how a field is compared.
type testKind uint8

const (
	testPattern  testKind = iota
	testRegexp            // sought anywhere in the value
	testCIDR              // the value is an address of the network
	testNumber            // the value, or a part of it as a time, is a number that compares so
	testExists            // the field has a value, or has none
	testFieldRef          // the value is that of another field
)

// number reads a value as a number, in decimal or as 0x…, without ever making an
// error that would have to be allocated.
func number(s string) (float64, bool) {
	if len(s) > 2 && len(s) <= 18 && s[0] == '0' && s[1]|0x20 == 'x' {
		var n uint64
		for _, c := range []byte(s[2:]) {
			switch {
			case c >= '0' && c <= '9':
				n = n<<4 | uint64(c-'0')
			case c|0x20 >= 'a' && c|0x20 <= 'f':
				n = n<<4 | uint64(c|0x20-'a'+10)
			default:
				return 0, false
			}
		}
		return float64(n), true
	}
	digits, dots := 0, 0
	for i, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			dots++
		case (c == '-' || c == '+') && i == 0:
		case (c == 'e' || c == 'E') && digits > 0 && i+1 < len(s):
			if !exponent(s[i+1:]) {
				return 0, false
			}
			f, err := strconv.ParseFloat(s, 64)
			return f, err == nil
		default:
			return 0, false
		}
	}
	if digits == 0 || dots > 1 || len(s) > 300 {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

func exponent(s string) bool {
	if s[0] == '-' || s[0] == '+' {
		s = s[1:]
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 3
}

func ordered(op string, a, b float64) bool {
	switch op {
	case "lt":
		return a < b
	case "lte":
		return a <= b
	case "gt":
		return a > b
	case "gte":
		return a >= b
	}
	return a == b
}

// address reads an IP address; a mapped one as the IPv4 address it stands for.
func address(s string) (netip.Addr, bool) {
	dots, colons := 0, 0
	for _, c := range []byte(s) {
		switch {
		case c == '.':
			dots++
		case c == ':':
			colons++
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'f':
		case c == '%' && colons > 1:
			a, err := netip.ParseAddr(s)
			return a.WithZone("").Unmap(), err == nil
		default:
			return netip.Addr{}, false
		}
	}
	if dots != 3 && colons < 2 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil
}

// timePart takes a part out of a time as it is written, whatever its zone:
// 2006-01-02, with T or a space and 15:04 behind it, or seconds or milliseconds since 1970.
func timePart(s, part string) (float64, bool) {
	if n, ok := number(s); ok {
		if n >= 1e11 {
			n /= 1000
		}
		if n < 1e8 || n > 1e11 {
			return 0, false
		}
		return partOf(time.Unix(int64(n), 0).UTC(), part)
	}
	year, ok1 := digits(s, 0, 4)
	month, ok2 := digits(s, 5, 2)
	day, ok3 := digits(s, 8, 2)
	if !ok1 || !ok2 || !ok3 || s[4] != '-' || s[7] != '-' || month < 1 || month > 12 || day < 1 || day > 31 {
		return 0, false
	}
	hour, minute := 0, 0
	if len(s) > 10 {
		var ok4, ok5 bool
		hour, ok4 = digits(s, 11, 2)
		minute, ok5 = digits(s, 14, 2)
		if !ok4 || !ok5 || s[10] != 'T' && s[10] != ' ' || s[13] != ':' || hour > 23 || minute > 59 {
			return 0, false
		}
	} else if part == "hour" || part == "minute" {
		return 0, false
	}
	return partOf(time.Date(year, time.Month(month), day, hour, minute, 0, 0, time.UTC), part)
}

func partOf(t time.Time, part string) (float64, bool) {
	switch part {
	case "minute":
		return float64(t.Minute()), true
	case "hour":
		return float64(t.Hour()), true
	case "day":
		return float64(t.Day()), true
	case "week":
		_, week := t.ISOWeek()
		return float64(week), true
	case "month":
		return float64(t.Month()), true
	case "year":
		return float64(t.Year()), true
	}
	return 0, false
}

func digits(s string, at, n int) (int, bool) {
	if len(s) < at+n {
		return 0, false
	}
	v := 0
	for _, c := range []byte(s[at : at+n]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, true
}

package cybervault

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"
)

// isNumber reports whether s is a number as JSON writes it.
func isNumber(s string) bool {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return false
	}
	return strings.TrimSpace(s) == s && json.Valid([]byte(s))
}

// compareNumbers orders two numbers. Whole ones are compared by their digits: ids
// and counters are larger than what a float64 tells apart.
func compareNumbers(a, b string) int {
	if isWhole(a) && isWhole(b) {
		return compareWhole(a, b)
	}
	x, _ := strconv.ParseFloat(a, 64) // out of range: infinite, which is right
	y, _ := strconv.ParseFloat(b, 64)
	return cmp.Compare(x, y)
}

func isWhole(s string) bool { return !strings.ContainsAny(s, ".eE") }

func compareWhole(a, b string) int {
	x, negative := strings.CutPrefix(a, "-")
	y, otherNegative := strings.CutPrefix(b, "-")
	if x == "0" {
		negative = false
	}
	if y == "0" {
		otherNegative = false
	}
	if negative != otherNegative {
		if negative {
			return -1
		}
		return 1
	}
	order := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
	if negative {
		return -order
	}
	return order
}

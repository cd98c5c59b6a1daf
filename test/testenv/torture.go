package testenv

import (
	"os"
	"strconv"
)

// Torture says how many times as much as in the suite of every day a test is to
// do: 1, unless the environment variable CYBERVAULT_TORTURE says more, as `make
// torture` has it.
func Torture() int {
	n, err := strconv.Atoi(os.Getenv("CYBERVAULT_TORTURE"))
	if err != nil {
		return 1
	}
	return max(n, 1)
}

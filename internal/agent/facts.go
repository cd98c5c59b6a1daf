package agent

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// Facts says what machine this is, as far as it can be told.
func Facts(hostname, version string) cybervault.HostFacts {
	f := cybervault.HostFacts{Hostname: hostname, OS: osName(), Version: version, Addresses: addresses()}
	if f.Hostname == "" {
		if name, err := os.Hostname(); err == nil {
			f.Hostname = name
		}
	}
	if f.Hostname == "" {
		f.Hostname = "unknown"
	}
	return f
}

// osName is what the system calls itself (os-release(5)), or else what it is.
func osName() string {
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		name := prettyName(bufio.NewScanner(f))
		_ = f.Close() // it was only read
		if name != "" {
			return name
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}

func prettyName(s *bufio.Scanner) string {
	for s.Scan() {
		value, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME=")
		if !ok {
			continue
		}
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		return strings.Trim(value, `'`)
	}
	return ""
}

// addresses are those that other machines may reach this one by.
func addresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var list []string
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if addr := prefix.Addr().Unmap().WithZone(""); addr.IsGlobalUnicast() && len(list) < cybervault.MaxAddresses {
			list = append(list, addr.String())
		}
	}
	return list
}

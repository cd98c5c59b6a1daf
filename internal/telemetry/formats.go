package telemetry

import (
	"slices"
	"strings"

	"github.com/cybervault/cybervault"
)

// The formats of JSON that Options.Format may name, beside FormatHTTP. Lists and
// packings of such records are unpacked as they are where nothing is told.
const (
	FormatCloudTrail = "cloudtrail"
	FormatEntra      = "entra" // sign-in, audit, risk and activity logs of Entra and Azure
	FormatFalco      = "falco"
	FormatJSON       = "json" // any JSON; text is refused
	FormatOkta       = "okta"
	FormatSuricata   = "suricata"
	FormatWindows    = "windows"
)

// formats are the words for Options.Format.
var formats = []string{
	FormatAccess, FormatCloudTrail, FormatEntra, FormatFalco, FormatHTTP, FormatJSON, FormatOkta, FormatSuricata, FormatSyslog, FormatWindows,
}

// Formats returns the words that Options.Format may be, sorted.
func Formats() []string { return slices.Clone(formats) }

// jsonOnly reports whether a format has no text lines.
func jsonOnly(format string) bool {
	return format != "" && format != FormatAccess && format != FormatSyslog
}

// toldOtherwise says why a record is not of the format that was told; "" if it is.
func toldOtherwise(format string, rec *cybervault.Record) string {
	ok := true
	switch format {
	case FormatCloudTrail, FormatFalco, FormatOkta:
		ok = rec.Service == format
	case FormatEntra:
		ok = rec.Product == "azure"
	case FormatSuricata:
		ok = rec.Product == format
	case FormatWindows:
		ok = rec.Product == "windows" && rec.Fields["EventID"] != "" || rec.Service == "sysmon"
	}
	if ok {
		return ""
	}
	return "a record of the format " + format + " was expected"
}

// checkFormat refuses a word that is no format.
func checkFormat(format string) error {
	if format == "" || slices.Contains(formats, format) {
		return nil
	}
	return cybervault.Invalid("format", "%q is not a format: use one of %s, or leave it out to have each line recognised", shorten(format, 60), strings.Join(formats, ", "))
}

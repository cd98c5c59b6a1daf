// Package rules holds the Sigma rules that the product ships.
//
// Each NAME.yml has beside it telemetry that it must match, NAME.hit.log or
// NAME.hit.json, and telemetry of the same log source that it must not match,
// NAME.miss.log or NAME.miss.json. The folders are the kinds of log source. The
// package owns the files and nothing else: internal/detect/sigma reads them.
package rules

import (
	"embed"
	"io/fs"
)

//go:embed */*.yml
var files embed.FS

// FS returns the rules, without their telemetry.
func FS() fs.FS { return files }

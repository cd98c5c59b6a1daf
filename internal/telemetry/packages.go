package telemetry

import (
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// Fields of a package manager's record.
const (
	fieldPackage = "package"
	fieldVersion = "version"
	fieldAction  = "action"
)

// dpkgActions are the words of dpkg.log that are followed by a package.
var dpkgActions = map[string]bool{"install": true, "upgrade": true, "remove": true, "purge": true, "configure": true, "trigproc": true, "disappear": true, "status": true, "conffile": true}

// dpkg reads what follows the time in a line of dpkg.log: "install nmap:amd64
// <none> 7.94", "status installed nmap:amd64 7.94".
func dpkg(at time.Time, s string) *cybervault.Record {
	words := strings.Fields(s)
	if len(words) == 0 {
		return nil
	}
	f := map[string]string{fieldAction: words[0], cybervault.FieldMessage: s}
	rec := &cybervault.Record{Product: "linux", Service: "dpkg", Time: at, Fields: f}
	switch {
	case words[0] == "startup" && len(words) == 3:
		return rec
	case !dpkgActions[words[0]] || len(words) < 3:
		return nil
	case words[0] == "conffile":
		f["path"] = words[1]
		return rec
	case words[0] == "status":
		if len(words) != 4 {
			return nil
		}
		f["status"], words = words[1], words[1:]
	case len(words) != 4:
		return nil
	}
	if !strings.Contains(words[1], ":") && words[len(words)-1] != "<none>" && words[len(words)-1][0] > '9' {
		return nil // a sentence that begins with one of the words
	}
	f[fieldPackage], f["architecture"], _ = strings.Cut(words[1], ":")
	version := words[len(words)-1]
	if len(words) == 4 && (version == "<none>" || words[0] == "remove" || words[0] == "purge") {
		version = words[2]
	}
	if len(words) == 4 && words[2] != version && words[2] != "<none>" {
		f["previous_version"] = words[2]
	}
	if version != "<none>" {
		f[fieldVersion] = version
	}
	return rec
}

// aptStanza is what the lines of a stanza of apt's history.log say of the ones that follow.
type aptStanza struct {
	at            time.Time
	command, user string
}

// aptLine reports whether a line is of apt's history.log, and the record of one
// that says what was done. The other lines say when, by what command and for whom.
func (p *parser) aptLine(s string) (rec *cybervault.Record, ours bool) {
	name, value, ok := strings.Cut(s, ": ")
	if !ok {
		return nil, false
	}
	switch name {
	case "Start-Date":
		at, err := time.ParseInLocation("2006-01-02 15:04:05", strings.Join(strings.Fields(value), " "), p.opts.Location)
		if err != nil || !inRange(at) {
			return nil, false
		}
		p.apt = aptStanza{at: at.UTC()}
		return nil, true
	case "Commandline", "Requested-By", "End-Date", "Error", "Install", "Reinstall", "Upgrade", "Downgrade", "Remove", "Purge":
	default:
		return nil, false
	}
	if p.apt.at.IsZero() {
		return nil, false
	}
	switch name {
	case "Commandline":
		p.apt.command = value
		return nil, true
	case "Requested-By":
		p.apt.user, _, _ = strings.Cut(value, " (")
		return nil, true
	case "End-Date":
		p.apt = aptStanza{}
		return nil, true
	}
	f := map[string]string{fieldAction: strings.ToLower(name), cybervault.FieldMessage: s}
	set(f, "CommandLine", p.apt.command)
	set(f, "User", p.apt.user)
	rec = &cybervault.Record{Product: "linux", Service: "apt", Time: p.apt.at, User: p.apt.user, Fields: f}
	if name == "Error" {
		return rec, true
	}
	var packages, versions []string
	for item := range strings.SplitSeq(value, "), ") { // nmap:amd64 (7.94, automatic)
		pkg, version, _ := strings.Cut(strings.TrimSuffix(item, ")"), " (")
		pkg, _, _ = strings.Cut(pkg, ":")
		version = strings.TrimSuffix(version, ", automatic")
		if _, after, upgraded := strings.Cut(version, ", "); upgraded {
			version = after
		}
		packages, versions = append(packages, pkg), append(versions, version)
	}
	if len(packages) == 1 {
		f[fieldPackage], f[fieldVersion] = packages[0], versions[0]
	} else {
		rec.Multi = map[string][]string{fieldPackage: packages, fieldVersion: versions}
	}
	return rec, true
}

package web

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// secRule is a rule of CRS as far as the screen needs it: a link of a chain, or
// a rule of its own.
type secRule struct {
	id         string
	vars       []string
	op, arg    string // "@rx" and the pattern, "!@rx" and the pattern …
	transforms []string
	paranoia   int // 0 where the rule names none
}

var (
	ruleLine   = regexp.MustCompile(`^SecRule\s+(\S+)\s+"((?:[^"\\]|\\.)*)"\s*(?:"((?:[^"\\]|\\.)*)")?\s*$`)
	ruleID     = regexp.MustCompile(`\bid:(\d+)`)
	ruleLevel  = regexp.MustCompile(`paranoia-level/(\d)`)
	ruleChain  = regexp.MustCompile(`(?:^|,)\s*chain\s*(?:,|$)`)
	ruleTransf = regexp.MustCompile(`\bt:(\w+)`)
)

// readRules reads every SecRule of the named files, each chain as one list.
func readRules(files fs.FS, names []string) ([][]secRule, error) {
	var out [][]secRule
	for _, name := range names {
		text, err := fs.ReadFile(files, "@owasp_crs/"+name+".conf")
		if err != nil {
			return nil, err
		}
		chain := false
		for line := range strings.SplitSeq(string(bytes.ReplaceAll(text, []byte("\\\n"), nil)), "\n") {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "SecRule ") {
				continue
			}
			m := ruleLine.FindStringSubmatch(line)
			if m == nil {
				return nil, fmt.Errorf("%s: a rule that cannot be read: %.80s", name, line)
			}
			r := secRule{vars: strings.Split(m[1], "|"), op: "@rx", arg: m[2]}
			if strings.HasPrefix(m[2], "@") || strings.HasPrefix(m[2], "!") {
				r.op, r.arg, _ = strings.Cut(m[2], " ")
			}
			r.arg = strings.ReplaceAll(r.arg, `\"`, `"`)
			if id := ruleID.FindStringSubmatch(m[3]); id != nil {
				r.id = id[1]
			}
			if l := ruleLevel.FindStringSubmatch(m[3]); l != nil {
				r.paranoia = int(l[1][0] - '0')
			}
			for _, t := range ruleTransf.FindAllStringSubmatch(m[3], -1) {
				r.transforms = append(r.transforms, t[1])
			}
			if chain {
				out[len(out)-1] = append(out[len(out)-1], r)
			} else {
				out = append(out, []secRule{r})
			}
			chain = ruleChain.MatchString(m[3])
		}
	}
	return out, nil
}

// phrases returns, in lower case, what @pm or @pmFromFile looks for.
func (r secRule) phrases(files fs.FS) ([]string, error) {
	if r.op == "@pm" {
		return strings.Fields(strings.ToLower(r.arg)), nil
	}
	var out []string
	for name := range strings.FieldsSeq(r.arg) {
		text, err := fs.ReadFile(files, "@owasp_crs/"+name)
		if err != nil {
			return nil, err
		}
		scan := bufio.NewScanner(bytes.NewReader(text))
		for scan.Scan() {
			if line := strings.TrimSpace(scan.Text()); line != "" && line[0] != '#' {
				out = append(out, strings.ToLower(line))
			}
		}
		if err := scan.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

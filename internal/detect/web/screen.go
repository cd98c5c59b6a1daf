package web

import (
	"io/fs"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/corazawaf/libinjection-go"
	ahocorasick "github.com/petar-dambovaliev/aho-corasick"
)

// screen tells, without Coraza, that a part of a request can match no rule. It
// is derived from the rules themselves when they are loaded:
//
// A part is looked at only if each byte of it is of a small alphabet. Of the
// rules that look at such a part, most ask for a byte outside the alphabet and
// cannot match whatever the part says; that is proven on the syntax tree of
// their patterns. The few that are left are tried, with the transformations
// that they name applied as Coraza applies them. A transformation or operator
// that is not known here, or whose result is not certain, leaves the part to
// Coraza. So the screen may say "I do not know", and never wrongly "clean".
type screen struct {
	alphabet [128]bool
	trials   []trial
	hopeless bool // a rule that cannot be tried looks at every such part
}

// trial is a rule that could match a part.
type trial struct {
	matches    func(string) bool
	transforms []string
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// What the screens look at: the variables of the rules that see the part, and
// the alphabet. A plus sign needs the space that it may stand for.
var (
	pathPart    = screenedPart{[]string{"REQUEST_FILENAME", "REQUEST_BASENAME", "REQUEST_URI", "REQUEST_URI_RAW"}, "/._~-", false}
	linePart    = screenedPart{[]string{"REQUEST_LINE"}, "/._~- ", false}
	agentPart   = screenedPart{[]string{"REQUEST_HEADERS", "REQUEST_HEADERS:User-Agent"}, " /._;:(),+-", true}
	refererPart = screenedPart{[]string{"REQUEST_HEADERS", "REQUEST_HEADERS:Referer"}, "/._~:?=&-", true}
	hostPart    = screenedPart{[]string{"REQUEST_HEADERS", "REQUEST_HEADERS:Host"}, ".-:", true}
)

type screenedPart struct {
	vars   []string
	extra  string
	header bool // chains that begin at the parameters are the request line's to judge, see the gate
}

func allArgs(vars []string) bool {
	for _, v := range vars {
		if !strings.HasPrefix(v, "ARGS") {
			return false
		}
	}
	return true
}

// newScreen derives the screen of a part from the rules of paranoia level 1.
func newScreen(rules [][]secRule, files fs.FS, part screenedPart) *screen {
	s := &screen{}
	for _, c := range alphanumeric + part.extra {
		s.alphabet[c] = true
	}
	for _, chain := range rules {
		if chain[0].paranoia > 1 || !known(chain[0].id) {
			continue
		}
		// A chain matches only if each link does, so one link that looks at the
		// part and cannot match is enough, and the first can stand for all. A
		// chain that begins elsewhere is judged by the links that look here.
		link := -1
		impossible := false
		for i, r := range chain {
			further := link >= 0 && strings.HasPrefix(r.vars[0], "MATCHED_VAR") // of the values the links above matched
			if !looksAt(r.vars, part.vars) && !further {
				continue
			}
			if link < 0 {
				link = i
			}
			impossible = impossible || !s.possible(r, files)
		}
		if link < 0 || impossible || part.header && link > 0 && allArgs(chain[0].vars) {
			continue
		}
		t, ok := newTrial(chain[link], files)
		if !ok {
			s.hopeless = true
			return s
		}
		s.trials = append(s.trials, t)
	}
	return s
}

// known reports whether a rule's number is one that Inspect would tell of.
func known(id string) bool {
	n := 0
	for _, c := range id {
		n = n*10 + int(c-'0')
	}
	_, ok := vectorOf(n)
	return ok && n%1000 >= 100 // below that they only skip others
}

// looksAt reports whether a rule's variables include one of those given.
func looksAt(vars, part []string) bool {
	found := false
	for _, v := range vars {
		for _, p := range part {
			switch {
			case v == "!"+p && p != "REQUEST_HEADERS":
				return false
			case v == p, strings.HasPrefix(v, "REQUEST_HEADERS:/") && strings.HasPrefix(p, "REQUEST_HEADERS"):
				found = true
			}
		}
	}
	return found
}

// Transformations whose result over an alphabet is over the same alphabet.
var closed = map[string]bool{
	"none": true, "lowercase": true, "urlDecodeUni": true, "urlDecode": true, "utf8toUnicode": true, "htmlEntityDecode": true,
	"jsDecode": true, "cssDecode": true, "escapeSeqDecode": true, "removeNulls": true, "replaceComments": true,
	"removeCommentsChar": true, "normalizePath": true, "normalizePathWin": true, "normalisePath": true, "normalisePathWin": true,
	"cmdLine": true, "removeWhitespace": true, "compressWhitespace": true, "trim": true,
}

// possible reports whether a rule could match a part over the alphabet.
func (s *screen) possible(r secRule, files fs.FS) bool {
	for _, t := range r.transforms {
		if !closed[t] {
			return true
		}
	}
	switch r.op {
	case "@rx":
		re, err := syntax.Parse("(?sm)"+r.arg, syntax.Perl)
		return err != nil || possible(re, &s.alphabet)
	case "@pm", "@pmFromFile":
		phrases, err := r.phrases(files)
		if err != nil {
			return true
		}
		return slices.ContainsFunc(phrases, s.covers)
	}
	return true
}

// possible reports whether a pattern can match some string over the alphabet. It
// errs on the side of yes: anchors and word boundaries are taken to hold.
func possible(re *syntax.Regexp, a *[128]bool) bool {
	switch re.Op {
	case syntax.OpNoMatch:
		return false
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if r >= 128 || !a[r] { // the alphabets hold both cases of each letter
				return re.Flags&syntax.FoldCase != 0 && r >= 128 // K and S have further ones
			}
		}
		return true
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1] && r < 128; r++ {
				if a[r] {
					return true
				}
			}
		}
		return false
	case syntax.OpCapture, syntax.OpPlus:
		return possible(re.Sub[0], a)
	case syntax.OpRepeat:
		return re.Min == 0 || possible(re.Sub[0], a)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !possible(sub, a) {
				return false
			}
		}
		return true
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if possible(sub, a) {
				return true
			}
		}
		return false
	default:
		return true
	}
}

// newTrial makes a rule's operator; false if it is not one that is known here.
func newTrial(r secRule, files fs.FS) (trial, bool) {
	t := trial{transforms: r.transforms}
	switch r.op {
	case "@rx":
		re, err := regexp.Compile("(?sm)" + r.arg)
		if err != nil {
			return t, false
		}
		t.matches = re.MatchString
	case "@pm", "@pmFromFile":
		phrases, err := r.phrases(files)
		if err != nil {
			return t, false
		}
		builder := ahocorasick.NewAhoCorasickBuilder(ahocorasick.Opts{AsciiCaseInsensitive: true, MatchKind: ahocorasick.LeftMostLongestMatch, DFA: true})
		find := builder.Build(phrases)
		t.matches = func(s string) bool { return find.Iter(s).Next() != nil }
	case "@contains":
		t.matches = func(s string) bool { return strings.Contains(s, r.arg) }
	case "@detectSQLi":
		t.matches = func(s string) bool { found, _ := libinjection.IsSQLi(s); return found }
	case "@detectXSS":
		t.matches = libinjection.IsXSS
	default:
		return t, false
	}
	return t, true
}

func (s *screen) covers(text string) bool {
	for i := range len(text) {
		if text[i] >= 128 || !s.alphabet[text[i]] {
			return false
		}
	}
	return true
}

// clean reports whether the part certainly matches no rule.
func (s *screen) clean(part string) bool {
	if s == nil || s.hopeless || len(part) > 2048 || !s.covers(part) {
		return false
	}
	for i := range s.trials {
		if !s.trials[i].clean(part) {
			return false
		}
	}
	return true
}

// clean tries the rule on the part as it is and after each transformation, which
// covers the rules that ask for all stages (multiMatch) and those that do not.
func (t *trial) clean(part string) bool {
	if t.matches(part) {
		return false
	}
	for _, name := range t.transforms {
		next, certain := transform(name, part)
		if !certain || next != part && t.matches(next) {
			return false
		}
		part = next
	}
	return true
}

// transform applies a transformation as Coraza does, where its result is certain
// without a full implementation: mostly because there is nothing to undo.
func transform(name, s string) (out string, certain bool) {
	without := func(bytes string) (string, bool) { return s, !strings.ContainsAny(s, bytes) }
	switch name {
	case "none":
		return s, true
	case "lowercase":
		return strings.ToLower(s), true
	case "urlDecodeUni", "urlDecode":
		return strings.ReplaceAll(s, "+", " "), strings.IndexByte(s, '%') < 0
	case "htmlEntityDecode":
		return without("&")
	case "jsDecode", "cssDecode", "escapeSeqDecode":
		return without(`\`)
	case "removeNulls":
		return without("\x00")
	case "utf8toUnicode":
		for i := range len(s) {
			if s[i] >= 128 {
				return s, false
			}
		}
		return s, true
	case "replaceComments":
		return s, !strings.Contains(s, "/*")
	case "removeCommentsChar":
		return s, !strings.Contains(s, "/*") && !strings.Contains(s, "*/") && !strings.Contains(s, "--") && strings.IndexByte(s, '#') < 0
	case "normalizePath", "normalisePath", "normalizePathWin", "normalisePathWin":
		if strings.Contains(s, "//") || strings.IndexByte(s, '\\') >= 0 || strings.Contains(s, "./") || strings.HasSuffix(s, ".") {
			return s, false
		}
		return s, true
	case "removeWhitespace":
		return strings.Join(strings.Fields(s), ""), true
	case "cmdLine":
		return cmdLine(s), true
	case "base64Decode":
		return unbase64Strict(s), true
	}
	return s, false
}

// cmdLine undoes what shells let stand between the letters of a command.
func cmdLine(s string) string {
	out := make([]byte, 0, len(s))
	space := false
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\'', '\\', '^':
		case ' ', ',', ';', '\t', '\r', '\n':
			if !space {
				out = append(out, ' ')
			}
			space = true
		case '/', '(':
			if space {
				out = out[:len(out)-1]
			}
			out, space = append(out, c), false
		default:
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			out, space = append(out, c), false
		}
	}
	return string(out)
}

// unbase64Strict decodes up to the first byte that is not base64.
func unbase64Strict(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var out []byte
	x, n := 0, 0
	for i := range len(s) {
		if s[i] == '\r' || s[i] == '\n' {
			continue
		}
		v := strings.IndexByte(alphabet, s[i])
		if v < 0 {
			break
		}
		x, n = x<<6|v, n+1
		if n == 4 {
			out = append(out, byte(x>>16), byte(x>>8), byte(x))
			x, n = 0, 0
		}
	}
	switch n {
	case 2:
		out = append(out, byte(x>>4))
	case 3:
		out = append(out, byte(x>>10), byte(x>>2))
	}
	return string(out)
}

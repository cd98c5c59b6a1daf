package model

import (
	"math/bits"
	"strings"

	"github.com/cybervault/cybervault/internal/detect/decode"
)

// Structural features stand before the hashed ones. Their order is part of the
// weights' format.
const (
	featBias        = 0
	featLength      = 1  // by powers of two
	featSpecial     = 13 // share of signs, in sixths
	featEncoding    = 20
	featEncodingEnd = 28
	structural      = 96 // with room for more
)

const (
	featLayers2 = iota + featEncodingEnd
	featLayers3
	featNull
	featComment
	featTautology
	featAfterSeparator
	featHiddenCommand
	featClimb1
	featClimb2
	featClimb3
	featSensitive
	featTag
	featScriptTag
	featHandler
	featScheme
	featOddSingle
	featOddDouble
	featParens
	featCall
	featCharCalls
	featForeign
	featRun
	featOnlyWords
	featEmail
	featURL
	featSQL1
	featSQL2
	featSQL3
	featCommand1
	featCommand2
	featCode1
	featCode2
	featLineHeader
)

// Said of a feature where a person reads why.
var featureWords = map[uint32]string{
	featLayers2: "encoded twice", featLayers3: "encoded three times or more", featNull: "a zero byte", featComment: "a comment between words",
	featTautology: "a comparison of a thing with itself", featAfterSeparator: "a program's name after a shell's separator",
	featHiddenCommand: "a program's name broken up by quotes", featClimb1: "a step up the directories", featClimb2: "two steps up the directories",
	featClimb3: "three or more steps up the directories", featSensitive: "a file that attacks read", featTag: "an HTML element",
	featScriptTag: "a script element", featHandler: "an event handler", featScheme: "a URL that runs script", featOddSingle: "a quote that is not closed",
	featOddDouble: "a double quote that is not closed", featParens: "brackets that do not match", featCall: "a call of a function that attacks use",
	featCharCalls: "text spelled out by character codes", featRun: "a long run of one character", featSQL2: "two words of SQL", featSQL3: "three or more words of SQL",
	featCommand1: "a program's name", featCommand2: "several programs' names", featCode1: "a word of server-side code", featCode2: "several words of server-side code",
	featLineHeader: "a header after a line break",
}

const (
	hashBits = 14
	features = structural + 1<<hashBits
)

// extractor collects the features of one text. Its memory is used again.
type extractor struct {
	seen   [(features + 63) / 64]uint64
	found  []uint32
	tokens []token
	names  map[uint32]string // where someone wants to know what a feature stood for
}

func (x *extractor) add(f uint32) {
	if w, b := f/64, uint64(1)<<(f%64); x.seen[w]&b == 0 {
		x.seen[w] |= b
		x.found = append(x.found, f)
	}
}

func (x *extractor) reset() {
	for _, f := range x.found {
		x.seen[f/64] = 0
	}
	x.found = x.found[:0]
}

// extract returns the features of a text that was decoded. They hold until the
// next call.
func (x *extractor) extract(text string, undone []decode.Encoding) []uint32 {
	x.reset()
	s := strings.ToLower(text)
	x.add(featBias)
	x.add(featLength + uint32(min(bits.Len(uint(len(s))), 11)))
	for i, e := range undone {
		x.add(featEncoding + uint32(e)&7)
		if i > 0 && e == undone[i-1] {
			x.add(featLayers2)
		}
	}
	x.addIf(len(undone) >= 3, featLayers3)
	if strings.IndexByte(s, 0) >= 0 {
		x.add(featNull)
		s = strings.ReplaceAll(s, "\x00", "")
	}
	s = x.uncomment(s)
	x.signs(s)
	x.tokens = tokenise(s)
	x.grams()
	x.shapes()
	x.shell(s)
	for _, f := range sensitive {
		if strings.Contains(s, f) {
			x.add(featSensitive)
			break
		}
	}
	return x.found
}

func (x *extractor) addIf(is bool, f uint32) {
	if is {
		x.add(f)
	}
}

// uncomment takes comments out of SQL, which stand there for spaces. What MySQL
// runs although it is in a comment (/*!50000union*/) stays.
func (x *extractor) uncomment(s string) string {
	if !strings.Contains(s, "/*") {
		return s
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "/*")
		body, after, closed := strings.Cut(rest, "*/")
		if !ok || !closed {
			b.WriteString(s)
			return b.String()
		}
		x.add(featComment)
		b.WriteString(before + " ")
		if run, special := strings.CutPrefix(body, "!"); special {
			b.WriteString(strings.TrimLeft(run, "0123456789") + " ")
		}
		s = after
	}
}

// signs looks at single characters.
func (x *extractor) signs(s string) {
	special, run, single, double, parens := 0, 0, 0, 0, 0
	foreign, low := false, false
	for i := range len(s) {
		c := s[i]
		if !letter(c) && !digit(c) && c != ' ' {
			special++
		}
		if i > 0 && c == s[i-1] {
			if run++; run == 40 {
				x.add(featRun)
			}
		} else {
			run = 0
		}
		switch c {
		case '\'':
			if i == 0 || i+1 == len(s) || !letter(s[i-1]) || !letter(s[i+1]) {
				single++
			}
		case '"':
			double++
		case '(', '[', '{':
			parens++
		case ')', ']', '}':
			parens--
			low = low || parens < 0
		}
		foreign = foreign || c >= 0x80
	}
	x.addIf(foreign, featForeign)
	x.addIf(single%2 == 1, featOddSingle)
	x.addIf(double%2 == 1, featOddDouble)
	x.addIf(parens != 0 || low, featParens)
	x.addIf(special == 0, featOnlyWords)
	if len(s) > 0 {
		x.add(featSpecial + uint32(6*special/len(s)))
	}
	x.addIf(strings.IndexByte(s, '@') > 0 && strings.IndexByte(s, ' ') < 0, featEmail)
	x.addIf(strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://"), featURL)
	for _, scheme := range []string{"javascript:", "vbscript:", "data:text/html", "livescript:"} {
		x.addIf(strings.Contains(s, scheme), featScheme)
	}
}

// grams adds each token and each run of two to four, as they are and by the
// category of their words.
func (x *extractor) grams() {
	const start, end = "^", "$"
	n := len(x.tokens)
	at := func(i int) string {
		switch {
		case i < 0:
			return start
		case i >= n:
			return end
		}
		return x.tokens[i].text
	}
	kind := func(i int) string {
		if i >= 0 && i < n && x.tokens[i].kind != 0 {
			k := x.tokens[i].kind
			return kinds[k : k+1]
		}
		return at(i)
	}
	for i := -1; i < n; i++ {
		h, g := uint32(offset), uint32(offset)^0x9e3779b9
		dull, same := true, true
		for size := range 4 {
			j := i + size
			if j > n {
				break
			}
			t, k := at(j), kind(j)
			h, g = mix(h, t), mix(g, k)
			dull = dull && (t == "w" || t == "v" || t == "0")
			same = same && t == k
			if size == 0 && i < 0 || dull && size > 1 {
				continue
			}
			x.gram(h, i, j)
			if !same {
				x.gram(g, i, j)
			}
		}
	}
}

// kinds lets a category stand as a one-letter string without allocating.
var kinds = func() string {
	b := make([]byte, 128)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}()

const offset = 2166136261

// mix is FNV-1a over a token and a mark of its end.
func mix(h uint32, s string) uint32 {
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return (h ^ 0xff) * 16777619
}

func (x *extractor) gram(h uint32, from, to int) {
	h ^= h >> 15 // FNV's low bits alone are too regular
	h *= 0x2c1b3c6d
	h ^= h >> 12
	f := structural + h>>(32-hashBits)
	x.add(f)
	if x.names == nil {
		return
	}
	if _, named := x.names[f]; !named {
		x.names[f] = x.spell(from, to)
	}
}

// spell is what stands in the text from one token to another.
func (x *extractor) spell(from, to int) string {
	var b strings.Builder
	if from < 0 {
		b.WriteString("(start) ")
	}
	for i := max(from, 0); i <= to && i < len(x.tokens); i++ {
		if x.tokens[i].gap && b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(x.tokens[i].raw)
	}
	if to >= len(x.tokens) {
		b.WriteString(" (end)")
	}
	return strings.TrimSpace(b.String())
}

// What a file that attacks read is called, with either slash.
var sensitive = []string{
	"etc/passwd", "etc/shadow", "etc\\passwd", "etc/hosts", "etc/group", "etc/issue", "proc/self", "proc/version", "win.ini", "boot.ini", "system.ini", "web-inf", "windows/system32", "windows\\system32", "winnt/system32",
	"winnt\\system32", "wp-config.php", ".htaccess", ".htpasswd", ".git/config", ".ssh/", "id_rsa", "/.env", "bin/sh", "bin/bash", "bin/cat", "bin/id", "cmd.exe", "web.config", "php://", "autoexec.bat", "etcpasswd", "global.asa", "access_log", "access.log", "error.log", "repair/sam", "config/sam",
}

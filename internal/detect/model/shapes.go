package model

import "strings"

// shapes looks at what tokens do to each other.
func (x *extractor) shapes() {
	count := map[byte]int{}
	climbs, chars := 0, 0
	for i, t := range x.tokens {
		if t.kind != 0 {
			count[t.kind]++
		}
		switch {
		case t.text == ".." && (x.slash(i-1) || x.slash(i+1)):
			climbs++
		case t.text == "on*":
			x.add(featHandler)
		case (t.text == "<" || t.text == "</") && x.word(i+1) && !x.tokens[i+1].gap:
			x.add(featTag)
			x.addIf(x.tokens[i+1].text == "script", featScriptTag)
		case t.text == "=" || t.text == "==" || t.text == "like" || t.text == "<" || t.text == "rlike":
			x.addIf(x.tautology(i), featTautology)
		case t.kind == kindCommand && x.separated(i):
			x.add(featAfterSeparator)
		case t.text == "nl" && i+2 < len(x.tokens) && x.word(i+1) && x.tokens[i+2].text == ":":
			x.add(featLineHeader)
		case (t.text == "char" || t.text == "chr") && i+2 < len(x.tokens) && x.tokens[i+1].text == "(" && x.tokens[i+2].text == "0":
			chars++
		}
		if t.kind == kindSQLFunc || t.kind == kindCode || t.kind == kindScript {
			x.addIf(i+1 < len(x.tokens) && x.tokens[i+1].text == "(" && !x.tokens[i+1].gap, featCall)
		}
	}
	x.addIf(chars > 1, featCharCalls)
	x.atLeast(climbs, featClimb1, featClimb2, featClimb3)
	x.atLeast(count[kindSQL]+count[kindSQLFunc], featSQL1, featSQL2, featSQL3)
	x.atLeast(count[kindCommand], featCommand1, featCommand2)
	x.atLeast(count[kindCode], featCode1, featCode2)
}

// atLeast adds the feature of each number up to n.
func (x *extractor) atLeast(n int, of ...uint32) {
	for _, f := range of[:min(n, len(of))] {
		x.add(f)
	}
}

func (x *extractor) slash(i int) bool {
	return i >= 0 && i < len(x.tokens) && (x.tokens[i].raw[0] == '/' || x.tokens[i].raw[0] == '\\')
}

func (x *extractor) word(i int) bool {
	if i >= len(x.tokens) {
		return false
	}
	t := x.tokens[i]
	return t.kind != 0 || t.text == "w" || t.text == "v"
}

// tautology reports whether the same thing stands on both sides of an operator.
func (x *extractor) tautology(op int) bool {
	side := func(i, step int) string {
		for i += step; i >= 0 && i < len(x.tokens); i += step {
			switch x.tokens[i].raw {
			case "'", `"`, "(", ")", "''", `""`, "((", "))", "`", "%":
				continue
			}
			return x.tokens[i].raw
		}
		return ""
	}
	left, right := side(op, -1), side(op, 1)
	return left != "" && left == right && left[0] != '='
}

// separated reports whether a program's name stands where a shell would run it.
func (x *extractor) separated(i int) bool {
	for i--; i >= 0; i-- {
		switch x.tokens[i].text {
		case ";", "|", "||", "&", "&&", "`", "nl", "|&":
			return true
		case "(", "{", "<(":
			return i > 0 && strings.HasPrefix(x.tokens[i-1].text, "$")
		case "/", "\\", "'", `"`: // a path to it, or a quote before it
		default:
			if x.tokens[i].text != "bin" && x.tokens[i].text != "usr" && x.tokens[i].text != "sbin" {
				return false
			}
		}
	}
	return false
}

// shell looks for names of programs that are broken up by what a shell drops:
// w'h'oami, c\at, who$@ami.
func (x *extractor) shell(s string) {
	if !strings.ContainsAny(s, "'\"\\^$`") {
		return
	}
	had := map[string]bool{}
	for _, t := range x.tokens {
		had[t.raw] = true
	}
	s = strings.NewReplacer("$@", "", "$*", "", "${ifs}", " ", "$ifs", " ", "''", "", `""`, "", "'", "", `"`, "", `\`, "", "^", "", "$()", "", "``", "").Replace(s)
	for _, t := range tokenise(s) {
		if t.kind == kindCommand && len(t.raw) > 2 && !had[t.raw] {
			x.add(featHiddenCommand)
			return
		}
	}
}

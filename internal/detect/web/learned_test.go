package web

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"testing"
)

// The same attack, wherever a client can put it and however it is wrapped.
func TestAttacksAreFoundInEveryPart(t *testing.T) {
	t.Parallel()
	in, _ := inspectors()
	const attack = `"><svg onload=confirm(document.domain)>`
	b64 := base64.StdEncoding.EncodeToString([]byte(attack))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte(`{"a":{"b":["x","` + b64 + `"]}}`)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	post := func(kind, body string, headers ...[2]string) *Request {
		return &Request{Method: "POST", Target: "/form", Headers: append([][2]string{{"Host", "www.example.com"}, {"Content-Type", kind}}, headers...), Body: body}
	}
	for name, r := range map[string]*Request{
		"REQUEST_FILENAME":           get("/" + b64 + "/x"),
		"ARGS_GET:q":                 get("/?q=" + b64),
		"REQUEST_COOKIES:c":          get("/", "Cookie", "a=1; c="+b64),
		"REQUEST_HEADERS:X-Id":       get("/", "X-Id", b64),
		"ARGS_POST:f":                post("application/x-www-form-urlencoded", "f="+b64),
		"ARGS_POST:json.a.b":         post("application/json", `{"n":1,"a":{"b":["x","`+b64+`"]}}`),
		"ARGS_POST:json.a.b, zipped": post("application/json", zipped.String(), [2]string{"Content-Encoding", "gzip"}),
		"XML:a.b":                    post("text/xml", "<a><b>"+b64+"</b></a>"),
		"XML:@c":                     post("text/xml", `<a c="`+b64+`"/>`),
		"ARGS_POST:m":                post("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"m\"\r\n\r\n"+b64+"\r\n--x--\r\n"),
		"REQUEST_BODY":               post("text/plain", b64),
	} {
		where, _, _ := strings.Cut(name, ",")
		found := false
		for _, m := range in.Inspect(r) {
			found = found || m.ID() == "model.xss" && m.Where == where && m.Encoding == "base64" && m.Why != "" && m.Score > 0.9
		}
		if !found {
			t.Errorf("%s: %+v", name, in.Inspect(r))
		}
	}
}

func TestLearnedVectors(t *testing.T) {
	t.Parallel()
	in, _ := inspectors()
	m := in.Inspect(get("/?u=*)(uid=*))(%7C(uid=*"))
	if name, _, technique := Verdict(m); name != "ldap_injection" || technique != exploit {
		t.Errorf("%q, %q, %s", name, technique, ids(m))
	}
	if m := in.Inspect(get("/?name=O%27Brien&note=select+a+seat+from+the+table")); len(m) != 0 {
		t.Errorf("a name and a sentence: %s", ids(m))
	}
}

func FuzzValues(f *testing.F) {
	f.Add("application/json", `{"$where":["a",{"b":"%27"}]}`)
	f.Add("multipart/form-data; boundary=x", "--x\r\n\r\na\r\n--x--")
	f.Add("text/xml", "<!DOCTYPE a><a b='c'>d</a></x>")
	f.Add("", "\x1f\x8b")
	f.Fuzz(func(t *testing.T, kind, body string) {
		vs := values(&Request{Method: "POST", Target: "/?" + body, Headers: [][2]string{{"Content-Type", kind}, {"Cookie", body}}, Body: body})
		if len(vs) > maxValues || len(views(vs)) > maxViews {
			t.Errorf("%d values", len(vs))
		}
	})
}

package outbound

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

// parsed is what became of the bytes of an answer.
type parsed struct {
	Status   int
	Protocol string
	Header   []cybervault.Header
	Body     string
	Whole    bool   // the body was read to its end
	Keep     bool   // another answer may follow
	Rest     string // what follows, if Keep
}

// parse reads one answer as an exchange does.
func parse(from io.Reader) (parsed, error) {
	w := &wire{}
	w.in.reset(from)
	left := MaxAnswerHeaderBytes
	for {
		b, err := w.in.head(&w.head, &left)
		if err != nil {
			return parsed{}, err
		}
		if w.head.status < 200 && w.head.status != 101 {
			continue
		}
		p := parsed{Status: w.head.status, Protocol: w.head.protocol(), Header: w.head.kept(b), Whole: true, Keep: w.head.keep}
		if w.head.length != 0 {
			body := answerBody{in: &w.in, length: w.head.length}
			all, err := io.ReadAll(&body)
			p.Body, p.Whole = string(all), err == nil
		}
		if p.Keep = p.Keep && p.Whole; p.Keep {
			rest, err := io.ReadAll(io.MultiReader(bytes.NewReader(w.in.buf[w.in.r:w.in.w]), from))
			if err != nil {
				return p, err
			}
			p.Rest = string(rest)
		}
		return p, nil
	}
}

// parseStandard reads it as net/http does.
func parseStandard(b []byte) (parsed, error) {
	from := bytes.NewReader(b)
	br := bufio.NewReader(from)
	for {
		answer, err := http.ReadResponse(br, &http.Request{Method: http.MethodPost})
		if err != nil {
			return parsed{}, err
		}
		if answer.StatusCode >= 100 && answer.StatusCode <= 199 && answer.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		p := parsed{Status: answer.StatusCode, Protocol: answer.Proto, Header: keptHeaders(answer.Header), Keep: !answer.Close}
		body, err := io.ReadAll(answer.Body)
		p.Body, p.Whole = string(body), err == nil
		rest, _ := io.ReadAll(io.MultiReader(br, from))
		p.Rest = string(rest)
		return p, nil
	}
}

// Whatever our reader accepts, net/http accepts with the same status, headers
// and body, and finds the next answer where we do. The other way round it need
// not be so. We are stricter in these: headers folded over two lines, a number
// of headers above MaxAnswerHeaders, versions other than HTTP/1.x, a status
// below 100, more than one kind of CR, and long or unclean lines between chunks. And
// net/http adds Cache-Control to an answer with Pragma; we record what came.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 201 Created\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\ntrailer: X-A\r\n\r\n2;a=b\r\nok\r\n0\r\nX-A: b\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\nhello",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n\x00\x01",
		"HTTP/1.1 200\r\nConnection: a, close\r\nX-Ä: 1\r\n\r\n",
		"HTTP/1.1 200 \r\npragma: no-cache\r\nset-cookie: a=\xff\r\nSet-Cookie:  b\t\r\n\r\nuntil close",
		"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
		"HTTP/1.9 599 x\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "HTTP/1.1 +20 OK\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parse(bytes.NewReader(b))
		slow, slowErr := parse(iotest.OneByteReader(bytes.NewReader(b)))
		if diff := cmp.Diff(got, slow); diff != "" || (err == nil) != (slowErr == nil) {
			t.Fatalf("%q: the same bytes, one at a time, are read otherwise: %v, %v\n%s", b, err, slowErr, diff)
		}
		if err != nil {
			return
		}
		want, err := parseStandard(b)
		if err != nil {
			t.Fatalf("%q: we read %+v, net/http says: %v", b, got, err)
		}
		if !got.Whole {
			want.Body, want.Whole, want.Rest = got.Body, false, "" // as far as it came, which is a matter of buffers
		}
		if got.Keep && !want.Keep {
			t.Fatalf("%q: we would use the connection again, net/http would not", b)
		}
		if !got.Keep {
			want.Keep, want.Rest = false, ""
		}
		want.Header = withoutInvented(want.Header, got.Header)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-net/http +ours):\n%s", b, diff)
		}
	})
}

// withoutInvented removes the Cache-Control that net/http adds.
func withoutInvented(list, sent []cybervault.Header) []cybervault.Header {
	for _, h := range sent {
		if h.Name == "Cache-Control" {
			return list
		}
	}
	var out []cybervault.Header
	for _, h := range list {
		if h.Name != "Cache-Control" {
			out = append(out, h)
		}
	}
	return out
}

func TestHeadRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ answer, says string }{
		"no HTTP at all":               {"garbage", "not HTTP"},
		"HTTP/2 in HTTP/1.1's clothes": {"HTTP/2.0 200 OK\r\n\r\n", "not HTTP"},
		"no status":                    {"HTTP/1.1\r\n\r\n", "status code"},
		"a short status":               {"HTTP/1.1 20 OK\r\n\r\n", "status code"},
		"a signed status":              {"HTTP/1.1 +20 OK\r\n\r\n", "status code"},
		"a status below 100":           {"HTTP/1.1 099 OK\r\n\r\n", "status code"},
		"no colon":                     {"HTTP/1.1 200 OK\r\nnone\r\n\r\n", "malformed header"},
		"no name":                      {"HTTP/1.1 200 OK\r\n: x\r\n\r\n", "malformed header"},
		"a space before the colon":     {"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", "malformed header"},
		"a folded header":              {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "folded"},
		"a folded first header":        {"HTTP/1.1 200 OK\r\n A: b\r\n\r\n", "folded"},
		"a bare CR":                    {"HTTP/1.1 200 OK\r\nA: b\rB: c\r\n\r\n", "malformed header"},
		"a NUL":                        {"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n", "malformed header"},
		"differing lengths":            {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "differing Content-Length"},
		"a list of lengths":            {"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", "bad Content-Length"},
		"an empty length":              {"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\na", "bad Content-Length"},
		"a signed length":              {"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", "bad Content-Length"},
		"a length in hex":              {"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\na", "bad Content-Length"},
		"a length beyond all":          {"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\na", "bad Content-Length"},
		"gzip as transfer encoding":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "other than chunked"},
		"chunked twice":                {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "other than chunked"},
		"a length as trailer":          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A, content-length\r\n\r\n", "bad trailer"},
		"too many headers":             {"HTTP/1.1 200 OK\r\n" + strings.Repeat("a:\r\n", MaxAnswerHeaders+1) + "\r\n", "more than 10000 headers"},
		"too long a header":            {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", MaxAnswerHeaderBytes), "longer than 65536 bytes"},
		"too many small answers":       {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 3000), "longer than 65536 bytes"},
	} {
		_, err := parse(strings.NewReader(test.answer))
		var broken *answerError
		if !errors.As(err, &broken) || !strings.Contains(broken.text, test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
}

// The bound on headers counts to the byte, and what follows them does not count.
func TestHeadBound(t *testing.T) {
	t.Parallel()
	const frame = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nA: \r\n\r\n"
	body := strings.Repeat("b", 100_000)
	for _, over := range []int{0, 1} {
		answer := strings.Replace(frame, "A: ", "A: "+strings.Repeat("a", MaxAnswerHeaderBytes-len(frame)+over), 1) + body
		p, err := parse(strings.NewReader(answer))
		if over == 0 && (err != nil || p.Body != body) || over == 1 && !errors.Is(err, errLongHead) {
			t.Errorf("%d over: %v, %d bytes of body", over, err, len(p.Body))
		}
	}
}

func TestChunkedBodies(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body, want string
		whole      bool
	}{
		"plain":                  {"3\r\nabc\r\n0\r\n\r\n", "abc", true},
		"upper and lower":        {"A\r\n0123456789\r\na \t\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", true},
		"with trailers":          {"1\r\na\r\n0\r\nX-A: b\r\nX-B: c\r\n\r\n", "a", true},
		"no end":                 {"1\r\na\r\n", "a", false},
		"no last line":           {"1\r\na\r\n0\r\n", "a", false},
		"a bare LF":              {"1\na\r\n0\r\n\r\n", "", false},
		"a CR in the line":       {"1;\rx\r\na\r\n0\r\n\r\n", "", false},
		"more than announced":    {"1\r\nab\r\n0\r\n\r\n", "a", false},
		"a negative size":        {"-1\r\na\r\n0\r\n\r\n", "", false},
		"a size beyond all":      {"ffffffffffffffff\r\na", "", false},
		"no size":                {"\r\na\r\n0\r\n\r\n", "", false},
		"a broken trailer":       {"1\r\na\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n", "a", false},
		"endless trailers":       {"1\r\na\r\n0\r\n" + strings.Repeat("X-A: b\r\n", 1000) + "\r\n", "a", false},
		"an endless extension":   {"1;" + strings.Repeat("x", 5000) + "\r\na\r\n0\r\n\r\n", "", false},
		"mostly extensions":      {strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\na\r\n", 40) + "0\r\n\r\n", strings.Repeat("a", 16), false},
		"one byte at a time, OK": {strings.Repeat("1\r\na\r\n", 5000) + "0\r\n\r\n", strings.Repeat("a", 5000), true},
	} {
		p, err := parse(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + test.body))
		if err != nil || p.Body != test.want || p.Whole != test.whole || p.Keep != test.whole {
			t.Errorf("%s: %v, %d bytes %.20q, whole %v, keep %v; want %d, whole %v", name, err, len(p.Body), p.Body, p.Whole, p.Keep, len(test.want), test.whole)
		}
	}
}

func TestHeadKeepsTheConnection(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                                                   true,
		"HTTP/1.1 204 No Content\r\n\r\n":                                                                true,
		"HTTP/1.1 200 OK\r\n\r\n":                                                                        false,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n":                              false,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x\r\nConnection: keep-alive, close\r\n\r\n": false,
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n":                                                   false,
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n":                         true,
		"HTTP/1.1 101 Switching Protocols\r\n\r\n":                                                       false,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":            false,
	} {
		if p, err := parse(strings.NewReader(answer)); err != nil || p.Keep != want {
			t.Errorf("%q: keep %v, %v; want %v", answer, p.Keep, err, want)
		}
	}
}

// No header can end its line early, whoever let it through.
func TestAppendRequestRefuses(t *testing.T) {
	t.Parallel()
	target, err := New(Config{}).target("https://example.com/a b?c d")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []cybervault.Header{
		{Name: "X-A", Value: "a\r\nX-B: b"}, {Name: "X-A", Value: "a\nb"}, {Name: "X-A", Value: "\x00"}, {Name: "X-A\r\nX-B", Value: "b"},
		{Name: "X A", Value: "b"}, {Name: "", Value: "b"}, {Name: "X-A:", Value: "b"}, {Name: "Ä", Value: "b"},
	} {
		b, err := appendRequest(nil, target, []cybervault.Header{h}, 0)
		if err == nil {
			t.Errorf("%q was taken: %q", h, b)
		} else if h.Value != "b" && strings.Contains(err.Error(), h.Value) {
			t.Errorf("the error shows the value: %v", err)
		}
	}
	b, err := appendRequest(nil, target, []cybervault.Header{{Name: "x-ODD", Value: " \ta b\t"}, {Name: "TE", Value: "x"}}, 7)
	want := "POST /a%20b?c%20d HTTP/1.1\r\nHost: example.com\r\nx-ODD: a b\r\nUser-Agent: CyberVault-Webhooks\r\nContent-Length: 7\r\n\r\n"
	if err != nil || string(b) != want {
		t.Errorf("%q, %v; want %q", b, err, want)
	}
	x := do(t, newClient(t, Config{Dev: true}), Request{URL: "http://127.0.0.1:1/", Header: []cybervault.Header{{Name: "X-A", Value: "a\nb"}}})
	if x.Failure != cybervault.FailureProtocol || !strings.Contains(x.Error, "X-A") {
		t.Errorf("exchange = %+v", x)
	}
}

func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	r := recent[int, string]{limit: 10}
	for i := range 1000 {
		r.put(i, fmt.Sprint(i))
		if v, ok := r.get(0); !ok || v != "0" { // in use all the time
			t.Fatalf("0 was forgotten after %d", i)
		}
	}
	if n := len(r.young) + len(r.old); n > 20 {
		t.Errorf("%d entries, want 20 at most", n)
	}
	if _, ok := r.get(500); ok {
		t.Error("500 is still there")
	}
	r.forget(0)
	if _, ok := r.get(0); ok {
		t.Error("0 was not forgotten")
	}
}

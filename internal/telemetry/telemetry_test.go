package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cybervault/cybervault"
)

var asOf = func() time.Time { return time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC) }

// read parses text and fails the test on an error.
func read(t testing.TB, text string, opts Options) ([]*cybervault.Record, Summary) {
	t.Helper()
	if opts.Now == nil {
		opts.Now = asOf
	}
	var out []*cybervault.Record
	sum, err := Parse(context.Background(), strings.NewReader(text), opts, func(r *cybervault.Record) error {
		out = append(out, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Records != len(out) {
		t.Fatalf("summary says %d records, %d were handed on", sum.Records, len(out))
	}
	return out, sum
}

// one parses text that holds one record.
func one(t testing.TB, text string) *cybervault.Record {
	t.Helper()
	out, sum := read(t, text, Options{})
	if len(out) != 1 {
		t.Fatalf("%d records from %q: %+v", len(out), text, sum)
	}
	return out[0]
}

func TestAccessLines(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 10, 8, 12, 33, 0, time.UTC)
	for name, c := range map[string]struct {
		line string
		want map[string]string
	}{
		"combined": {
			`192.0.2.7 - ann [10/Mar/2026:09:12:33 +0100] "GET /a/b.html?x=1&y=%20z HTTP/1.1" 200 512 "https://example.com/" "Mozilla/5.0 (X11)"`,
			map[string]string{"c-ip": "192.0.2.7", "cs-username": "ann", "cs-method": "GET", "cs-uri": "/a/b.html?x=1&y=%20z", "cs-uri-stem": "/a/b.html",
				"cs-uri-query": "x=1&y=%20z", "cs-version": "HTTP/1.1", "sc-status": "200", "sc-bytes": "512", "cs-referer": "https://example.com/", "cs-user-agent": "Mozilla/5.0 (X11)"},
		},
		"common": {
			`2001:db8::7 - - [10/Mar/2026:08:12:33 +0000] "HEAD / HTTP/1.0" 304 -`,
			map[string]string{"c-ip": "2001:db8::7", "cs-method": "HEAD", "cs-uri": "/", "cs-uri-stem": "/", "cs-version": "HTTP/1.0", "sc-status": "304"},
		},
		"virtual host in front": {
			`www.example.com:443 192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] "GET / HTTP/2.0" 200 1 "-" "-"`,
			map[string]string{"c-ip": "192.0.2.7", "cs-host": "www.example.com:443", "cs-method": "GET", "cs-uri": "/", "cs-uri-stem": "/", "cs-version": "HTTP/2.0", "sc-status": "200", "sc-bytes": "1"},
		},
		"a name for the client, and more fields at the end": {
			`host.example.net - - [10/Mar/2026:08:12:33 +0000] "GET / HTTP/1.1" 200 1 "-" "agent" 0.004 "192.0.2.1"`,
			map[string]string{"c-dns": "host.example.net", "cs-method": "GET", "cs-uri": "/", "cs-uri-stem": "/", "cs-version": "HTTP/1.1", "sc-status": "200", "sc-bytes": "1", "cs-user-agent": "agent"},
		},
		"forwarded clients": {
			`192.0.2.7, 198.51.100.1 - - [10/Mar/2026:08:12:33 +0000] "GET / HTTP/1.1" 200 1 "-" "-"`,
			map[string]string{"c-ip": "192.0.2.7", "cs-method": "GET", "cs-uri": "/", "cs-uri-stem": "/", "cs-version": "HTTP/1.1", "sc-status": "200", "sc-bytes": "1"},
		},
		"escapes of Apache": {
			`192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] "GET /\"x\" HTTP/1.1" 404 1 "-" "a \"b\" \\ \t\x41\xff"`,
			map[string]string{"c-ip": "192.0.2.7", "cs-method": "GET", "cs-uri": `/"x"`, "cs-uri-stem": `/"x"`, "cs-version": "HTTP/1.1", "sc-status": "404", "sc-bytes": "1", "cs-user-agent": "a \"b\" \\ \tA\xff"},
		},
		"spaces in the target": {
			`192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] "GET /?q=1 OR 1=1 HTTP/1.1" 200 1 "-" "-"`,
			map[string]string{"c-ip": "192.0.2.7", "cs-method": "GET", "cs-uri": "/?q=1 OR 1=1", "cs-uri-stem": "/", "cs-uri-query": "q=1 OR 1=1", "cs-version": "HTTP/1.1", "sc-status": "200", "sc-bytes": "1"},
		},
		"no HTTP at all": {
			`192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] "\x16\x03\x01\x02" 400 157 "-" "-"`,
			map[string]string{"c-ip": "192.0.2.7", "cs-uri": "\x16\x03\x01\x02", "sc-status": "400", "sc-bytes": "157"},
		},
		"absolute form": {
			`192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] "GET http://shop.example.com/a?b HTTP/1.1" 200 1 "-" "-"`,
			map[string]string{"c-ip": "192.0.2.7", "cs-method": "GET", "cs-host": "shop.example.com", "cs-uri": "/a?b", "cs-uri-stem": "/a", "cs-uri-query": "b", "cs-version": "HTTP/1.1", "sc-status": "200", "sc-bytes": "1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := one(t, c.line)
			if d := cmp.Diff(c.want, rec.Fields); d != "" {
				t.Error(d)
			}
			if !rec.Time.Equal(at) || rec.Category != "webserver" || string(rec.Raw) != c.line || rec.Line != 1 {
				t.Errorf("time %v, category %q, line %d, raw %q", rec.Time, rec.Category, rec.Line, rec.Raw)
			}
		})
	}
}

func TestHTTPRequests(t *testing.T) {
	t.Parallel()
	first := `{"method":"POST","url":"https://api.example.com/v1/items?x=1","headers":{"User-Agent":"curl/8","Cookie":"a=b","X-Many":["1","2"]},"body":"{\"q\":1}","client_ip":"192.0.2.7","timestamp":"2026-03-10T08:00:00.5Z","status":201}`
	pretty := "{\n  \"url\": \"/x\",\n  \"headers\": [[\"Host\", \"www.example.com\"], [\"A\", \"b\"]],\n  \"body\": {\"k\": \"}{\"},\n  \"timestamp\": 1773129600\n}"
	for name, text := range map[string]string{
		"a line each":            first + "\n" + strings.ReplaceAll(pretty, "\n", ""),
		"one after another":      first + pretty,
		"pretty-printed":         strings.ReplaceAll(first, ",\"", ",\n \"") + "\n" + pretty + "\n",
		"an array":               "[" + first + ",\n" + pretty + "]",
		"an array, pretty":       "[\n" + first + "\n,\n" + pretty + "\n]\n",
		"with a byte order mark": "\xef\xbb\xbf" + first + "\r\n" + strings.ReplaceAll(pretty, "\n", "\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, sum := read(t, text, Options{Source: "api"})
			if len(out) != 2 || sum.Unreadable != 0 {
				t.Fatalf("%d records, %+v", len(out), sum)
			}
			want := map[string]string{"cs-method": "POST", "cs-host": "api.example.com", "cs-uri": "/v1/items?x=1", "cs-uri-stem": "/v1/items", "cs-uri-query": "x=1",
				"cs-user-agent": "curl/8", "cs-cookie": "a=b", "cs-headers": "Cookie: a=b\nUser-Agent: curl/8\nX-Many: 1\nX-Many: 2\n", "cs-body": `{"q":1}`, "c-ip": "192.0.2.7", "sc-status": "201"}
			if d := cmp.Diff(want, out[0].Fields); d != "" {
				t.Error(d)
			}
			if !out[0].Time.Equal(time.Date(2026, 3, 10, 8, 0, 0, 5e8, time.UTC)) || out[0].Source != "api" {
				t.Errorf("time %v, source %q", out[0].Time, out[0].Source)
			}
			if got := out[1].Fields; got["cs-method"] != "GET" || got["cs-host"] != "www.example.com" || got["cs-body"] != `{"k": "}{"}` || got["cs-headers"] != "Host: www.example.com\nA: b\n" {
				t.Errorf("second: %q", got)
			}
			if !out[1].Time.Equal(time.Unix(1773129600, 0)) {
				t.Errorf("second: time %v", out[1].Time)
			}
		})
	}
}

func TestUnreadableLinesSpoilNothing(t *testing.T) {
	t.Parallel()
	good := `192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] "GET / HTTP/1.1" 200 1 "-" "-"`
	text := strings.Join([]string{
		good,                                // 1
		"# a comment",                       // 2
		"",                                  // 3
		"no log line",                       // 4
		`{"url": "/cut off`,                 // 5
		good,                                // 6
		`{"no": value}`,                     // 7
		`{"url": 7, "client_ip": "nobody"}`, // 8: a number is taken in its own spelling, the address is not one
		strings.Repeat("x", 300),            // 9: over the bound set below
		`{"url":"/a"`,                       // 10: cut off by the next line
		`{"url":"/b"}`,                      // 11
		`192.0.2.7 - - [40/Mar/2026:08:12:33 +0000] "GET / HTTP/1.1" 200 1`, // 12
		`{"url":"/c"`, // 13: cut off by the end
	}, "\n")
	out, sum := read(t, text, Options{MaxLine: 200})
	if len(out) != 3 || sum.Ignored != 2 {
		t.Errorf("%d records, %+v", len(out), sum)
	}
	var lines []int
	for _, s := range sum.Samples {
		lines = append(lines, s.Line)
		if s.Reason == "" || len(s.Text) > maxSampleText+4 {
			t.Errorf("sample %+v", s)
		}
	}
	if d := cmp.Diff([]int{4, 5, 7, 8, 9, 10, 12, 13}, lines); d != "" {
		t.Error(d)
	}
	if sum.Unreadable != len(lines) {
		t.Errorf("unreadable %d", sum.Unreadable)
	}
	_, sum = read(t, strings.Repeat("nonsense\n", 100), Options{})
	if sum.Unreadable != 100 || len(sum.Samples) != cybervault.MaxUnreadableSamples {
		t.Errorf("%d unreadable, %d samples", sum.Unreadable, len(sum.Samples))
	}
}

func TestFormatTold(t *testing.T) {
	t.Parallel()
	access := `192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] "GET / HTTP/1.1" 200 1 "-" "-"`
	syslog := `Mar 10 08:00:00 gate sshd[7]: Invalid user a from 192.0.2.7 port 22`
	request := `{"url":"/"}`
	for format, want := range map[string]int{FormatAccess: 1, FormatSyslog: 1, FormatHTTP: 1, FormatJSON: 1, FormatWindows: 0, "": 3} {
		out, sum := read(t, strings.Join([]string{access, syslog, request}, "\n"), Options{Format: format})
		if len(out) != want || sum.Unreadable != 3-want {
			t.Errorf("%q: %d records, %d unreadable", format, len(out), sum.Unreadable)
		}
	}
	_, err := Parse(context.Background(), strings.NewReader(""), Options{Format: "csv"}, nil)
	if cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("unknown format: %v", err)
	}
}

func TestGzipAndBounds(t *testing.T) {
	t.Parallel()
	line := `192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] "GET / HTTP/1.1" 200 1 "-" "-"` + "\n"
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	if _, err := zw.Write(bytes.Repeat([]byte(line), 5000)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	parse := func(b []byte, opts Options) (Summary, error) {
		return Parse(context.Background(), bytes.NewReader(b), opts, func(*cybervault.Record) error { return nil })
	}
	sum, err := parse(zipped.Bytes(), Options{})
	if err != nil || sum.Records != 5000 || sum.Bytes != int64(5000*len(line)) {
		t.Errorf("%+v, %v", sum, err)
	}
	sum, err = parse(zipped.Bytes(), Options{MaxBytes: int64(100 * len(line))})
	if cybervault.ErrorCode(err) != cybervault.CodeTooLarge || sum.Records != 100 {
		t.Errorf("over the bound: %d records, %v", sum.Records, err)
	}
	if sum, err = parse(zipped.Bytes(), Options{MaxBytes: int64(5000 * len(line))}); err != nil || sum.Records != 5000 {
		t.Errorf("at the bound: %d records, %v", sum.Records, err)
	}
	if _, err = parse(zipped.Bytes()[:zipped.Len()/2], Options{}); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("cut off: %v", err)
	}
	if _, err = parse([]byte("\x1f\x8b and no gzip"), Options{}); cybervault.ErrorCode(err) != cybervault.CodeInvalid {
		t.Errorf("not gzip: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Parse(ctx, strings.NewReader(line), Options{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	stop := errors.New("stop")
	if _, err := Parse(context.Background(), strings.NewReader(line), Options{}, func(*cybervault.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("yield's error: %v", err)
	}
}

func TestTimesWithoutAYear(t *testing.T) {
	t.Parallel()
	at := func(now time.Time, stamp string, loc *time.Location) time.Time {
		out, _ := read(t, stamp+" gate sshd[7]: Connection from 192.0.2.7 port 1", Options{Now: func() time.Time { return now }, Location: loc})
		if len(out) != 1 {
			t.Fatalf("%s: %d records", stamp, len(out))
		}
		return out[0].Time
	}
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	east := time.FixedZone("east", 5*3600)
	for _, c := range []struct {
		stamp string
		loc   *time.Location
		want  time.Time
	}{
		{"Jan  2 02:59:59", nil, time.Date(2026, 1, 2, 2, 59, 59, 0, time.UTC)},
		{"Jan  3 02:59:59", nil, time.Date(2026, 1, 3, 2, 59, 59, 0, time.UTC)}, // less than a day ahead
		{"Jan  3 03:00:01", nil, time.Date(2025, 1, 3, 3, 0, 1, 0, time.UTC)},
		{"Dec 31 23:59:59", nil, time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC)},
		{"Feb 29 10:00:00", nil, time.Date(2024, 2, 29, 10, 0, 0, 0, time.UTC)},
		{"Jan 2 02:59:59", nil, time.Date(2026, 1, 2, 2, 59, 59, 0, time.UTC)}, // unpadded
		{"Jan  2 05:00:00", east, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)},
		{"2026-01-02T03:04:05.25+01:00", nil, time.Date(2026, 1, 2, 2, 4, 5, 25e7, time.UTC)},
		{"2026-01-02 03:04:05", east, time.Date(2026, 1, 1, 22, 4, 5, 0, time.UTC)},
		{"Jan 2 2019 03:04:05", nil, time.Date(2019, 1, 2, 3, 4, 5, 0, time.UTC)},
	} {
		if got := at(now, c.stamp, c.loc); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", c.stamp, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/access.log", "testdata/sshd.log", "testdata/requests.json", "testdata/windows.json"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "")
	}
	f.Add([]byte("[{\"url\":\"/\"}, {\n"), FormatHTTP)
	f.Add([]byte(`{"Records":[{"eventSource":"s","eventName":"n","eventVersion":"1"},{"message":"{\"log\":\"x\"}"}],"a":{}}`), FormatCloudTrail)
	f.Add([]byte(`{"method":"GET","path":"/","status":200,"remote_addr":"192.0.2.1"}{"verb":"get","auditID":"1","sourceIPs":["192.0.2.1"]}`), "")
	f.Fuzz(func(t *testing.T, b []byte, format string) {
		opts := Options{Format: format, Now: asOf, MaxLine: 4096, MaxBytes: 1 << 20}
		n := 0
		sum, err := Parse(context.Background(), bytes.NewReader(b), opts, func(r *cybervault.Record) error {
			n++
			if len(r.Raw) == 0 || len(r.Raw) > 4096 || r.Line < 1 || r.Fields == nil {
				t.Errorf("record %+v", r)
			}
			if !r.Time.IsZero() && (r.Time.Year() < 1969 || r.Time.Year() > 2200 || r.Time.Location() != time.UTC) {
				t.Errorf("time %v", r.Time)
			}
			return nil
		})
		if err != nil && cybervault.ErrorCode(err) == cybervault.CodeInternal {
			t.Errorf("error without a code: %v", err)
		}
		if sum.Records != n || len(sum.Samples) > cybervault.MaxUnreadableSamples || len(sum.Samples) > sum.Unreadable {
			t.Errorf("summary %+v of %d records", sum, n)
		}
	})
}

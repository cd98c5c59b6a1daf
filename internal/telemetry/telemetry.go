// Package telemetry turns bytes into records: log files and request bodies go
// in, one cybervault.Record for each line or JSON document comes out, its
// fields under the names of the Sigma taxonomy.
//
// It is the first stage of the flow (telemetry -> detect -> router -> …). It
// owns the formats: how a line is recognised, what its fields are called, what
// its time is. It never decides what is an attack, never keeps a record after
// handing it on, opens no files and no sockets, and never fails as a whole
// because one line is unreadable.
package telemetry

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// The formats that Options.Format may name.
const (
	FormatAccess = "access" // nginx and Apache: common, combined, either with a virtual host in front
	FormatHTTP   = "http"   // HTTP requests as JSON: {method,url,headers,body,client_ip,timestamp,host,status}
	FormatSyslog = "syslog" // RFC 3164, RFC 5424 and RFC 3339-stamped lines; journald JSON. sshd's are read in depth
)

// DefaultMaxLine bounds a line, and a JSON document that spans lines, unless
// Options says otherwise.
const DefaultMaxLine = 1 << 20

// unreadable samples are shortened to this many bytes.
const maxSampleText = 256

// Options says how to read. The zero value recognises every format, has no
// bound on the whole input, and takes times without a zone as UTC.
type Options struct {
	Source   string           // the name the operator gave the source; copied to every record
	Format   string           // one of Formats, or "" to recognise each line
	Now      func() time.Time // tells the year of stamps that have none; time.Now if nil
	Location *time.Location   // of stamps that name no zone; UTC if nil
	MaxLine  int              // bytes in one line or JSON document; DefaultMaxLine if 0
	MaxBytes int64            // bytes in the whole input, after decompression; no bound if 0
}

// Summary counts what was read.
type Summary struct {
	Records    int                         // handed to yield
	Unreadable int                         // lines or JSON documents that could not be read
	Ignored    int                         // blank lines, comments that start with '#', and what only belongs to a line beside it
	Shortened  int                         // records that had more values than are kept, and lost some
	Samples    []cybervault.UnreadableLine // the first cybervault.MaxUnreadableSamples unreadable ones
	Bytes      int64                       // read, after decompression
}

// Parse reads r to its end and hands each record to yield, in the order of the
// input. Gzip is recognised by its magic bytes. A line that cannot be read is
// counted and sampled in the Summary; the others are not affected by it.
//
// A record belongs to the one it is handed to. Parse stops with yield's error
// when yield returns one, with the context's when it ends, with CodeTooLarge
// when the input passes MaxBytes (what came before was handed on), with
// CodeInvalid when Format is unknown or the compression is broken, and with the
// reader's own error. The Summary is right in every case.
func Parse(ctx context.Context, r io.Reader, opts Options, yield func(*cybervault.Record) error) (Summary, error) {
	p, err := newParser(opts, yield)
	if err != nil {
		return Summary{}, err
	}
	err = p.run(ctx, r)
	return p.sum, err
}

// parser is the state of one Parse. It is used by one goroutine.
type parser struct {
	opts    Options
	yield   func(*cybervault.Record) error
	sum     Summary
	now     time.Time
	line    int // of the line being read, 1-based
	doc     jsonDocument
	json    jsonScan
	partial bool // the line being read goes on
	nested  int  // how many packings the record being read was taken out of
	sshd    *sshdConnections
	clf     clfClock
	apt     aptStanza
	// audits are the events of the audit system of which more lines may come,
	// the oldest first.
	audits []*auditEvent
	pieces bool // the input is one of several
}

func newParser(opts Options, yield func(*cybervault.Record) error) (*parser, error) {
	if err := checkFormat(opts.Format); err != nil {
		return nil, err
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Location == nil {
		opts.Location = time.UTC
	}
	if opts.MaxLine <= 0 {
		opts.MaxLine = DefaultMaxLine
	}
	return &parser{opts: opts, yield: yield, now: opts.Now(), sshd: newSSHDConnections()}, nil
}

func (p *parser) run(ctx context.Context, r io.Reader) error {
	return p.read(ctx, bufio.NewReaderSize(r, 64<<10))
}

func (p *parser) read(ctx context.Context, in *bufio.Reader) error {
	if magic, _ := in.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		zr, err := gzip.NewReader(in)
		if err != nil {
			return &cybervault.Error{Code: cybervault.CodeInvalid, Message: "the input starts like gzip but is not: send it whole, or uncompressed", Err: err}
		}
		defer func() { _ = zr.Close() }()
		in = bufio.NewReaderSize(zr, 64<<10)
	}
	lines := lineReader{in: in, maxLine: p.opts.MaxLine, maxBytes: p.opts.MaxBytes}
	lines.read = p.openPacking(in)
	for {
		goesOn := lines.partial
		lines.parts = p.doc.packed || goesOn
		if p.line&255 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		line, long, err := lines.next()
		p.sum.Bytes = lines.read
		if errors.Is(err, io.EOF) {
			return p.finish()
		}
		if err != nil {
			if flush := p.finish(); flush != nil {
				return flush
			}
			return readError(err)
		}
		if p.partial = lines.partial; !goesOn {
			p.line++
		}
		if long {
			p.doc.abandon()
			p.unreadable(p.line, "a line of at most "+itoa(p.opts.MaxLine)+" bytes was expected", line)
			continue
		}
		if err := p.one(line); err != nil {
			return err
		}
	}
}

// readError gives an error of the compressed stream a code of its own, since it
// is the sender's to mend.
func readError(err error) error {
	if errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &cybervault.Error{Code: cybervault.CodeInvalid, Message: "the compressed input is cut off or damaged: send it again", Err: err}
	}
	return err
}

// one reads a line: as part of a JSON document where one is open or begins
// here, as text otherwise.
func (p *parser) one(line []byte) error {
	if p.line == 1 {
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	}
	if p.doc.open() || p.doc.begins(line) {
		return p.jsonLine(line)
	}
	text := bytes.TrimSpace(line)
	if len(text) == 0 || text[0] == '#' {
		p.sum.Ignored++
		return nil
	}
	s := string(text)
	if p.opts.Format == "" || p.opts.Format == FormatSyslog {
		if ours, err := p.auditLine(s, text); ours {
			return err
		}
	}
	if rec, ours := p.aptLine(s); ours {
		if rec == nil {
			p.sum.Ignored++
			return nil
		}
		return p.emit(rec, text, p.line)
	}
	rec, reason := p.text(s)
	if rec == nil {
		p.unreadable(p.line, reason, line)
		return nil
	}
	return p.emit(rec, text, p.line)
}

// stamped reads a line that starts with a priority, or with a time and then rest.
func (p *parser) stamped(s string, at time.Time, rest string, stamped bool) *cybervault.Record {
	if stamped {
		if inner, ok := containerLine(rest); ok {
			return p.contained(at, inner)
		}
		if rec := dpkg(at, rest); rec != nil {
			return rec
		}
	}
	rec, _ := p.syslog(s)
	if rec == nil && stamped {
		return plainEntry(at, rest)
	}
	return rec
}

// plainEntry is the record of a line that starts with its time and is of no form
// that is known: what it says of a login is still to be had.
func plainEntry(at time.Time, message string) *cybervault.Record {
	if message = strings.TrimSpace(message); message == "" {
		return nil
	}
	rec := &cybervault.Record{Time: at, Fields: map[string]string{cybervault.FieldMessage: message}}
	if !plainService(rec, message) && !pamList(rec, message) {
		loginWords(rec, message)
	}
	return rec
}

// containerLine is what follows the time in a line of a container's log, as CRI
// has it: "stdout F message". What was cut in parts (P) stays so.
func containerLine(s string) (message string, ok bool) {
	for _, head := range []string{"stdout F ", "stderr F ", "stdout P ", "stderr P "} {
		if rest, found := strings.CutPrefix(s, head); found {
			return rest, true
		}
	}
	return "", false
}

// composeLine is a line without the name of its container, as docker compose
// writes many logs to one terminal or file: "web-1  | message".
func composeLine(s string) (message string, ok bool) {
	bar := strings.Index(s[:min(len(s), 66)], " | ")
	if bar < 1 {
		return "", false
	}
	name := strings.TrimRight(s[:bar], " ")
	if strings.Trim(name, "-_.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" || digits(name) {
		return "", false
	}
	message = strings.TrimSpace(s[bar+3:])
	return message, message != ""
}

// contained reads what a container wrote: any line that is recognised without
// its container, and text of which nothing is known but its words.
func (p *parser) contained(at time.Time, s string) *cybervault.Record {
	var rec *cybervault.Record
	if s = strings.TrimSpace(s); s == "" {
		s = "-"
	}
	if s[0] == '{' {
		rec = p.jsonWithin(s)
	} else if _, again := containerLine(s); !again {
		rec, _ = p.text(s)
	}
	if rec == nil {
		rec = &cybervault.Record{Product: "linux", Fields: map[string]string{cybervault.FieldMessage: s}}
		loginWords(rec, s)
	}
	if rec.Time.IsZero() {
		rec.Time = at
	}
	return rec
}

// jsonWithin reads an object that stands within something else, nil if it is none.
func (p *parser) jsonWithin(s string) *cybervault.Record {
	if p.json.scan(s) != "" {
		return nil
	}
	rec, _ := p.jsonRecord(s)
	return rec
}

// text reads a line that is not JSON.
func (p *parser) text(s string) (*cybervault.Record, string) {
	switch p.opts.Format {
	case FormatAccess:
		return p.access(s)
	case FormatSyslog:
		return p.syslog(s)
	case FormatHTTP:
		return nil, "a JSON object with a url was expected"
	}
	if jsonOnly(p.opts.Format) && p.nested == 0 {
		return nil, "a JSON object was expected"
	}
	// A line that starts with its priority or its time is the system log's, or one
	// in its manner. An access-log line has its time in brackets and its request in
	// quotes, which within a syslog line would pass for one with a long head.
	if inner, ok := composeLine(s); ok {
		s = inner
	}
	at, rest, stamped := p.stamp(s)
	if stamped || s[0] == '<' {
		if rec := p.stamped(s, at, rest, stamped); rec != nil {
			return rec, ""
		}
	}
	if rec := header(s); rec != nil {
		return rec, ""
	}
	if rec := p.webError(s); rec != nil {
		return rec, ""
	}
	if strings.IndexByte(s, '[') > 0 && strings.IndexByte(s, '"') > 0 {
		if rec, _ := p.access(s); rec != nil {
			return rec, ""
		}
	}
	if rec, _ := p.syslog(s); rec != nil {
		return rec, ""
	}
	if rec := p.logfmt(s); rec != nil {
		return rec, ""
	}
	return nil, "no format recognised: an access-log line, a syslog line or a JSON object was expected"
}

func (p *parser) emit(rec *cybervault.Record, raw []byte, line int) error {
	rec.Source = p.opts.Source
	rec.SourceIP = cmp.Or(rec.SourceIP, rec.Fields[cybervault.FieldSourceIP], rec.Fields[cybervault.FieldClientIP])
	if strings.IndexByte(rec.SourceIP, ':') >= 0 {
		if ip, ok := address(rec.SourceIP); ok { // sources that are taken as they are may have IPv4 in IPv6
			rec.SourceIP = ip
		}
	}
	rec.User = cmp.Or(rec.User, rec.Fields[cybervault.FieldUser], rec.Fields[cybervault.FieldWebUser])
	rec.Raw = bytes.Clone(raw)
	rec.Line = line
	p.sum.Records++
	return p.yield(rec)
}

func (p *parser) unreadable(line int, reason string, text []byte) {
	p.sum.Unreadable++
	if len(p.sum.Samples) < cybervault.MaxUnreadableSamples {
		p.sum.Samples = append(p.sum.Samples, cybervault.UnreadableLine{
			Line: line, Reason: reason, Text: shorten(string(text), maxSampleText),
		})
	}
}

// shorten cuts s to n bytes at most, at a rune's border, and makes it valid UTF-8.
func shorten(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

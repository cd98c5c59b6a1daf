package dashboard

import (
	"fmt"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// attemptView is one attempt, on the page of its delivery and after a verification.
type attemptView struct {
	ID       string
	Number   int
	Badge    badge
	Outcome  string // "200 OK", or why it failed
	Error    string // the failure as the network told it
	Started  moment
	Took     string
	URL      string
	Remote   string
	Protocol string
	Peer     []cybervault.Header // the receiver's certificate, empty if none was shown
	Request  []cybervault.Header
	Answer   []cybervault.Header
	Answered bool
	Body     string
	BodyNote string
	Phases   []phase
	Open     bool
}

// phase is one bar of the waterfall, in thousandths of the whole attempt.
type phase struct {
	Name, Class string
	X, W        string
	Took        string
}

// maxShownHeaders bounds how many headers of an answer a page lists.
const maxShownHeaders = 100

func (d *dashboard) attemptView(a *cybervault.Attempt) attemptView {
	v := attemptView{
		ID: a.ID.String(), Number: a.Number, Badge: badge{"ok", "Success"},
		Started: d.moment(a.StartedAt), Took: took(a.Elapsed),
		URL: cut(a.URL, shownInDetail), Remote: cut(a.RemoteAddr, 100), Protocol: cut(a.Protocol, 20),
		Peer: shownPeer(a.TLS), Request: shownHeaders(a.Request), Answer: shownHeaders(a.Answer),
		Answered: a.Status != 0, Phases: waterfall(a),
	}
	if a.Status != 0 {
		v.Outcome = statusText(a.Status)
	}
	if !a.Succeeded() {
		v.Badge = badge{"bad", "Failed"}
		v.Outcome = failureWords(a.Failure, a.Status)
		if a.Failure != cybervault.FailureStatus { // of which the status says all
			v.Error = sentence(cutNoted(a.Error, shownInDetail))
		}
	}
	body := a.Body
	if len(body) > cybervault.MaxKeptResponseBodyBytes {
		body = body[:cybervault.MaxKeptResponseBodyBytes]
	}
	v.Body = strings.ReplaceAll(strings.ToValidUTF8(string(body), "�"), "\r\n", "\n")
	switch {
	case a.BodyCut || len(body) < len(a.Body):
		v.BodyNote = "the first " + byteCount(len(body))
	case len(body) > 0:
		v.BodyNote = byteCount(len(body))
	}
	return v
}

func shownHeaders(list []cybervault.Header) []cybervault.Header {
	shown := make([]cybervault.Header, 0, min(len(list), maxShownHeaders+1))
	for i, h := range list {
		if i == maxShownHeaders {
			shown = append(shown, cybervault.Header{Name: "…", Value: fmt.Sprintf("%d more", len(list)-i)})
			break
		}
		shown = append(shown, cybervault.Header{Name: cut(h.Name, shownInList), Value: cutNoted(h.Value, shownInDetail)})
	}
	return shown
}

// shownPeer lists what is known of the certificate that a receiver showed.
func shownPeer(p *cybervault.PeerTLS) []cybervault.Header {
	if p == nil {
		return nil
	}
	return shownHeaders([]cybervault.Header{
		{Name: "Subject", Value: p.Subject},
		{Name: "Issuer", Value: p.Issuer},
		{Name: "Names", Value: strings.Join(p.Names, ", ")},
		{Name: "Valid", Value: p.NotBefore.UTC().Format(time.DateTime) + " to " + p.NotAfter.UTC().Format(time.DateTime) + " UTC"},
		{Name: "SHA-256", Value: p.Fingerprint},
		{Name: "Session", Value: strings.TrimSpace(p.Version + " " + p.CipherSuite)},
	})
}

// waterfall lays the parts of an attempt one after the other.
func waterfall(a *cybervault.Attempt) []phase {
	if a.Elapsed <= 0 {
		return nil
	}
	t := a.Timings
	var (
		phases []phase
		at     time.Duration
	)
	add := func(name, class string, d time.Duration) {
		if d <= 0 || at >= a.Elapsed {
			return
		}
		d = min(d, a.Elapsed-at)
		scale := 1000 / float64(a.Elapsed)
		phases = append(phases, phase{
			Name: name, Class: class, Took: took(d),
			X: fmt.Sprintf("%.1f", min(float64(at)*scale, 994)), W: fmt.Sprintf("%.1f", max(float64(d)*scale, 6)),
		})
		at += d
	}
	add("Name look-up", "fill-info", t.DNS)
	add("Connect", "fill-low", t.Connect)
	add("TLS", "fill-violet", t.TLS)
	if t.FirstByte > 0 {
		add("Waiting for the answer", "fill-ok", t.FirstByte-at)
		add("Reading the answer", "fill-accent", a.Elapsed-t.FirstByte)
	} else {
		add("Until it failed", "fill-bad", a.Elapsed-at)
	}
	return phases
}

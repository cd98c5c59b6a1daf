package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/cybervault/cybervault"
)

// CheckProxy reports why a proxy may not be given to a webhook: its form, or
// where it leads. Its address is judged as a receiver's is with https://, by all
// addresses of its name, and again at every dial.
//
// The error is a *cybervault.Error of CodeInvalid about the field "proxy" that
// never repeats credentials, or ctx's own error when ctx ended.
func (c *Client) CheckProxy(ctx context.Context, proxy string) error {
	hostPort, _, err := parseProxy(proxy)
	if err != nil {
		return err
	}
	err = c.CheckURL(ctx, "https://"+hostPort)
	if e, ok := errors.AsType[*cybervault.Error](err); ok {
		return &cybervault.Error{Code: e.Code, Field: "proxy", Message: e.Message, Err: e.Err}
	}
	return err
}

// CheckProxiedURL is CheckURL for a URL that is reached through a proxy. The
// proxy looks names up, so a name is taken as it is and a literal address judged.
func (c *Client) CheckProxiedURL(rawURL string) error {
	u, err := parseURL(rawURL)
	if err != nil {
		return err
	}
	return c.judgeProxied(u)
}

// judgeProxied judges all that is known of a receiver behind a proxy.
func (c *Client) judgeProxied(u *url.URL) error {
	if u.Scheme == "http" && !c.policy.dev {
		return cybervault.Invalid("url", "has the scheme \"http\": only https:// is accepted (--dev opens http:// to loopback)")
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		if u.Scheme == "http" {
			return cybervault.Invalid("url", "has the scheme \"http\" and names %s, which the proxy would look up: with a proxy, http:// is for literal loopback addresses only", printable(u.Hostname(), 60))
		}
		return nil
	}
	if r := c.policy.check(addr, u.Scheme); r != nil {
		return cybervault.Invalid("url", "%s: %s", r.reason(), r.remedy())
	}
	return nil
}

// parseProxy returns the proxy's address in the form that is dialled.
func parseProxy(raw string) (hostPort string, u *url.URL, err error) {
	if u, err = cybervault.ParseProxy(raw); err != nil {
		return "", nil, err
	}
	host, err := normaliseHost(u.Hostname())
	if e, ok := errors.AsType[*cybervault.Error](err); ok {
		return "", nil, cybervault.Invalid("proxy", "%s", e.Message)
	}
	return net.JoinHostPort(host, u.Port()), u, err
}

// proxy is a way to receivers through an HTTP proxy, by CONNECT (RFC 9110,
// section 9.3.6).
type proxy struct {
	client        *Client
	hostPort      string
	authorization string      // the value of Proxy-Authorization, empty for none
	tls           *tls.Config // for a proxy that is spoken to by TLS; nil for one that is not
}

func (c *Client) newProxy(raw string, config *tls.Config) (*proxy, error) {
	hostPort, u, err := parseProxy(raw)
	if err != nil {
		return nil, err
	}
	p := &proxy{client: c, hostPort: hostPort}
	if u.User != nil {
		password, _ := u.User.Password()
		p.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
	}
	if u.Scheme == "https" {
		// The proxy is trusted as the receiver is, but never shown the client
		// certificate, which is for the receiver.
		p.tls = config.Clone()
		p.tls.Certificates, p.tls.NextProtos, p.tls.ClientSessionCache = nil, []string{"http/1.1"}, nil
		p.tls.ServerName = strings.TrimSuffix(u.Hostname(), ".")
	}
	return p, nil
}

// dial connects to hostPort through the proxy. The connection's remote address
// is the proxy's.
func (p *proxy) dial(ctx context.Context, hostPort string) (*conn, error) {
	out, err := p.client.dialWithin(ctx, p.hostPort, "https")
	if err != nil {
		return nil, p.blame(err)
	}
	t := traceOf(ctx)
	t.enter(stageProxy, out.remote)
	start := p.client.now()
	err = p.tunnel(ctx, out, hostPort)
	out.connect += p.client.now().Sub(start)
	t.spent(out)
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	return out, nil
}

// blame says that what failed is the way to the proxy.
func (p *proxy) blame(err error) error {
	if e, ok := errors.AsType[*dialError](err); ok {
		return &dialError{failure: e.failure, text: "the proxy " + p.hostPort + " cannot be reached: " + e.text, err: err}
	}
	return err
}

// tunnel asks the proxy for a connection to hostPort, within ctx.
func (p *proxy) tunnel(ctx context.Context, out *conn, hostPort string) error {
	// A proxy that hangs is let go of when the exchange ends.
	raw := out.Conn
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err := p.connect(ctx, out, hostPort)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil && ctx.Err() != nil {
		return &dialError{failure: cybervault.FailureTimeout, text: "the proxy " + p.hostPort + " did not answer", err: ctx.Err()}
	}
	return err
}

func (p *proxy) connect(ctx context.Context, out *conn, hostPort string) error {
	if p.tls != nil {
		session := tls.Client(out.Conn, p.tls)
		if err := session.HandshakeContext(ctx); err != nil {
			return &dialError{failure: cybervault.FailureTLS, text: "no TLS session with the proxy " + p.hostPort + ": " + tlsText(p.tls.ServerName, err), err: err}
		}
		out.Conn = session
	}
	ask := "CONNECT " + hostPort + " HTTP/1.1\r\nHost: " + hostPort + "\r\nUser-Agent: CyberVault-Webhooks\r\n"
	if p.authorization != "" {
		ask += "Proxy-Authorization: " + p.authorization + "\r\n"
	}
	if _, err := io.WriteString(out.Conn, ask+"\r\n"); err != nil {
		return p.broke(err)
	}
	reader := bufio.NewReader(io.LimitReader(out.Conn, MaxAnswerHeaderBytes))
	answer, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // the connection is closed, or becomes the tunnel
	if err != nil {
		return p.broke(err)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return &dialError{failure: cybervault.FailureConnect, text: p.refusal(answer.StatusCode, hostPort)}
	}
	if reader.Buffered() > 0 {
		// A receiver speaks when it is spoken to: this came from the proxy.
		return &dialError{failure: cybervault.FailureConnect, text: "the proxy " + p.hostPort + " sent more than its answer to CONNECT"}
	}
	return nil
}

// refusal puts an answer to CONNECT into words.
func (p *proxy) refusal(status int, hostPort string) string {
	name := "the proxy " + p.hostPort
	switch status {
	case http.StatusProxyAuthRequired:
		if p.authorization == "" {
			return name + " answered 407: it asks for credentials; give them as http://user:password@host:port under proxy"
		}
		return name + " answered 407: it does not accept the user name and password of proxy"
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		return fmt.Sprintf("%s answered %d: it does not allow connections to %s", name, status, hostPort)
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Sprintf("%s answered %d: it could not connect to %s", name, status, hostPort)
	}
	return fmt.Sprintf("%s answered %d to CONNECT %s", name, status, hostPort)
}

// broke is a proxy that did not answer CONNECT with HTTP. What it sent is not
// repeated: it may be our own request, credentials and all.
func (p *proxy) broke(err error) error {
	text := "the proxy " + p.hostPort + " did not answer CONNECT with HTTP: is it an HTTP proxy?"
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || brokenOff(err) {
		text = "the proxy " + p.hostPort + " broke the connection off before it answered CONNECT"
	}
	return &dialError{failure: cybervault.FailureConnect, text: text, err: err}
}

package telemetry

import (
	"strings"

	"github.com/cybervault/cybervault"
)

// Names that web servers, proxies and load balancers give the parts of a request
// in their JSON access logs: nginx (as commonly set up), Caddy, Traefik, Envoy,
// Google's load balancers, IIS, and ECS. The first that has a value counts.
var (
	webMethods = []string{"method", "request_method", "http_method", "httpMethod", "verb", "RequestMethod", "request.method", "httpRequest.requestMethod", "http.request.method", "http.method", "cs-method", "requestMethod", ":method"}
	webTargets = []string{"request_uri", "requestUri", "request.uri", "RequestPath", "uri", "path", "url", "request_path", "x-envoy-original-path", ":path", "httpRequest.requestUrl", "requestUrl", "url.original", "url.path", "http.url", "http.target", "cs-uri", "cs-uri-stem", "requestURI"}
	webStatus  = []string{"status", "status_code", "statusCode", "response_code", "response_status", "responseStatus", "DownstreamStatus", "httpRequest.status", "http.response.status_code", "http.status_code", "sc-status", "elb_status_code", "response.status"}
	webClients = []string{"client_ip", "remote_addr", "remote_ip", "remoteIp", "clientIp", "client", "clientip", "ClientHost", "ClientAddr", "request.client_ip", "request.remote_ip", "request.remote_addr", "httpRequest.remoteIp", "source.ip", "client.ip", "source.address", "c-ip", "downstream_remote_address", "remote_address", "remoteAddr", "ip", "source_ip", "sourceIp", "http_x_forwarded_for", "x_forwarded_for", "realip_remote_addr"}
	webHosts   = []string{"host", "http_host", "server_name", "authority", ":authority", "vhost", "RequestHost", "request.host", "domain_name", "url.domain", "cs-host", "domainName"}
	webAgents  = []string{"http_user_agent", "user_agent", "userAgent", "agent", "request_User-Agent", "request.headers.User-Agent", "httpRequest.userAgent", "user_agent.original", "cs-user-agent", "user-agent", "useragent"}
	webReferer = []string{"http_referer", "http_referrer", "referer", "referrer", "request_Referer", "request.headers.Referer", "httpRequest.referer", "http.request.referrer", "cs-referer"}
	webSizes   = []string{"body_bytes_sent", "bytes_sent", "bytes", "size", "DownstreamContentSize", "httpRequest.responseSize", "http.response.body.bytes", "sc-bytes", "sent_bytes"}
	webUsers   = []string{"remote_user", "user", "username", "ClientUsername", "user_id", "user.name", "cs-username", "auth"}
	webVersion = []string{"server_protocol", "protocol", "http_version", "RequestProtocol", "request.proto", "httpRequest.protocol", "http.version", "cs-version"}
	webQueries = []string{"args", "query_string", "query", "queryString", "url.query", "cs-uri-query"}
	webTimes   = []string{"timestamp", "time_iso8601", "@timestamp", "time", "ts", "time_local", "start_time", "StartUTC", "StartLocal", "msec", "datetime", "date", "event.created"}
	webCookies = []string{"http_cookie", "cookie", "request.headers.Cookie", "cs-cookie"}
	webLines   = []string{"request", "request_line", "requestLine"}
)

var webNames = func() map[string]jsonMarks {
	m := make(map[string]jsonMarks)
	for mark, names := range map[jsonMarks][]string{markWebMethod: webMethods, markWebTarget: webTargets, markWebStatus: webStatus, markWebClient: webClients, markRequestLine: webLines} {
		for _, name := range names {
			m[name] |= mark
		}
	}
	return m
}()

func webMarks(name string) jsonMarks { return webNames[name] }

// fullRequest reports whether an object is a request with its headers or its
// body, or one that is short of what makes an entry of an access log.
func (p *parser) fullRequest(m jsonMarks, entry bool) bool {
	switch {
	case m&markURL == 0:
		return false
	case m&markHTTPBody != 0, p.json.part("headers").text != "", p.json.part("body").text != "":
		return true
	}
	return !entry && (m&(markWebMethod|markWebClient) != 0 || len(p.json.values) <= 3)
}

// webRecord reads an access log's entry.
func (p *parser) webRecord() *cybervault.Record {
	rec := p.json.record()
	rec.Category = "webserver"
	f := rec.Fields
	target := first(f, webTargets...)
	if line := first(f, webLines...); target == "" && line != "" {
		setRequest(f, line)
	}
	if target != "" {
		setTarget(f, target)
	}
	if q := strings.TrimPrefix(first(f, webQueries...), "?"); q != "" && f[cybervault.FieldWebQuery] == "" {
		f[cybervault.FieldWebQuery] = q
		f[cybervault.FieldWebURI] = f[cybervault.FieldWebStem] + "?" + q
	}
	for _, part := range [...]struct {
		to   string
		from []string
	}{
		{cybervault.FieldWebMethod, webMethods}, {cybervault.FieldWebStatus, webStatus}, {cybervault.FieldWebHost, webHosts}, {cybervault.FieldWebUserAgent, webAgents},
		{cybervault.FieldWebReferer, webReferer}, {cybervault.FieldWebBytes, webSizes}, {cybervault.FieldWebUser, webUsers}, {cybervault.FieldWebVersion, webVersion}, {cybervault.FieldWebCookie, webCookies},
	} {
		alias(f, part.to, part.from...)
	}
	for _, name := range webClients {
		client, _, _ := strings.Cut(f[name], ",") // the first of those it was forwarded for
		if ip, ok := address(strings.TrimSpace(client)); ok {
			f[cybervault.FieldClientIP] = ip
			break
		}
	}
	p.who(rec, webTimes, []string{cybervault.FieldClientIP}, []string{cybervault.FieldWebUser}, []string{cybervault.FieldWebHost})
	return rec
}

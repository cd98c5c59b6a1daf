package telemetry

import (
	"strings"

	"github.com/cybervault/cybervault"
)

// jsonSource says how the records of a service are named: their log source, the
// fields that tell who acted, from where and when, and the names that Sigma's
// rules know a field by beside its own.
type jsonSource struct {
	product, service, category string

	all     jsonMarks // what an object of this source has
	at      []string
	ip      []string
	user    []string
	host    []string
	aliases [][]string // the new name, and the fields it may come from
	whole   []string   // objects whose JSON text is a field, too
	finish  func(*cybervault.Record)
}

// jsonServices are tried in this order: those that ask for more come first.
var jsonServices = []jsonSource{
	{
		product: "aws", service: "cloudtrail", all: markEventSource | markEventName | markAWS,
		at: []string{"eventTime"}, ip: []string{"sourceIPAddress"},
		user:  []string{"userIdentity.userName", "userIdentity.arn", "userIdentity.principalId", "userIdentity.invokedBy"},
		whole: []string{"requestParameters", "responseElements", "additionalEventData"},
		finish: func(rec *cybervault.Record) {
			alias(rec.Fields, "status", "responseElements.ConsoleLogin")
		},
	},
	{
		product: "okta", service: "okta", all: markEventType | markOkta,
		at: []string{"published"}, ip: []string{"client.ipAddress", "client.ip_address"},
		user: []string{"actor.alternateId", "actor.displayName", "actor.id"},
		aliases: [][]string{
			{"eventtype", "eventType"}, {"eventType", "event_type"}, {"displaymessage", "displayMessage"},
		},
	},
	{
		product: "gcp", service: "gcp.audit", all: markGCP,
		at: []string{"timestamp", "receiveTimestamp"}, ip: []string{"protoPayload.requestMetadata.callerIp"},
		user: []string{"protoPayload.authenticationInfo.principalEmail"},
		aliases: [][]string{
			{"gcp.audit.method_name", "protoPayload.methodName"}, {"eventService", "protoPayload.serviceName"},
			{"eventName", "protoPayload.metadata.event.eventName", "protoPayload.methodName"},
			{"data.protoPayload.methodName", "protoPayload.methodName"}, {"data.protoPayload.serviceName", "protoPayload.serviceName"},
		},
		finish: func(rec *cybervault.Record) {
			switch rec.Fields["protoPayload.serviceName"] {
			case "admin.googleapis.com":
				rec.Service = "google_workspace.admin"
			case "login.googleapis.com":
				rec.Service = "google_workspace.login"
			}
		},
	},
	{
		product: "kubernetes", service: "audit", category: "application", all: markVerb | markKubernetes,
		at: []string{"requestReceivedTimestamp", "stageTimestamp"}, ip: []string{"sourceIPs"}, user: []string{"impersonatedUser.username", "user.username"},
		aliases: [][]string{{"apiGroup", "objectRef.apiGroup"}, {"capabilities", "requestObject.spec.containers.securityContext.capabilities.add"}, {"hostPath", "requestObject.spec.volumes.hostPath.path"}},
	},
	{
		product: "m365", service: "audit", all: markOperation | markWorkload,
		at: []string{"CreationTime", "TimeGenerated"}, ip: []string{"ClientIP", "ClientIPAddress", "ActorIpAddress"}, user: []string{"UserId", "UserKey"},
		aliases: [][]string{{"eventName", "Name", "Operation"}, {"eventSource", "Workload"}, {"status", "ResultStatus", "Status"}},
		finish: func(rec *cybervault.Record) {
			switch rec.Fields["Workload"] {
			case "Exchange":
				rec.Service = "exchange"
			case "SecurityComplianceCenter":
				rec.Service = "threat_management"
			}
		},
	},
	{
		product: "azure", service: "signinlogs", all: markEntraUser | markEntraSignIn,
		at: []string{"createdDateTime", "properties.createdDateTime", "time", "TimeGenerated", "CreatedDateTime"},
		ip: []string{"ipAddress", "properties.ipAddress", "callerIpAddress", "IPAddress"}, user: []string{"userPrincipalName", "properties.userPrincipalName", "UserPrincipalName", "userDisplayName"},
		aliases: entraAliases, finish: entraStatus,
	},
	{
		product: "azure", service: "auditlogs", all: markEntraAudit,
		at: []string{"activityDateTime", "properties.activityDateTime", "time", "TimeGenerated"},
		ip: []string{"initiatedBy.user.ipAddress", "properties.initiatedBy.user.ipAddress", "callerIpAddress", "InitiatedBy.user.ipAddress"},
		user: []string{"initiatedBy.user.userPrincipalName", "properties.initiatedBy.user.userPrincipalName", "InitiatedBy.user.userPrincipalName",
			"initiatedBy.app.displayName", "properties.initiatedBy.app.displayName", "identity"},
		aliases: entraAliases, whole: []string{"targetResources"},
	},
	{
		product: "azure", service: "riskdetection", all: markRisk | markEntraUser,
		at: []string{"activityDateTime", "properties.activityDateTime", "detectedDateTime", "time"}, ip: []string{"ipAddress", "properties.ipAddress"},
		user: []string{"userPrincipalName", "properties.userPrincipalName"}, aliases: [][]string{{"riskEventType", "properties.riskEventType"}},
	},
	{
		product: "azure", service: "activitylogs", all: markOperationName | markResourceID,
		at: []string{"time", "eventTimestamp", "TimeGenerated"}, ip: []string{"callerIpAddress", "CallerIpAddress", "httpRequest.clientIpAddress"}, user: []string{"caller", "Caller", "identity.claims.name"},
		aliases: [][]string{{"operationName", "operationName.value", "OperationNameValue", "OperationName"}, {"OperationNameValue", "operationName"}, {"ResourceId", "resourceId", "_ResourceId"}},
	},
	{
		product: "github", service: "audit", all: markAction | markGitHub,
		at: []string{"@timestamp", "created_at"}, ip: []string{"actor_ip"}, user: []string{"actor"},
	},
	{
		product: "bitbucket", service: "audit", all: markBitbucket,
		at: []string{"timestamp.epochSecond", "timestamp"}, ip: []string{"source"}, user: []string{"author.name"},
	},
	{
		product: "onelogin", service: "onelogin.events", all: markOneLogin,
		at: []string{"event_timestamp", "created_at"}, ip: []string{"ipaddr"}, user: []string{"user_name", "actor_user_name"},
	},
	{
		product: "linux", service: "falco", all: markFalco | markOutput,
		at: []string{"time", "output_fields.evt.time.iso8601"}, ip: []string{"output_fields.fd.cip"}, user: []string{"output_fields.user.name"}, host: []string{"hostname", "output_fields.evt.hostname"},
		aliases: [][]string{
			{"Image", "output_fields.proc.exepath", "output_fields.proc.name"}, {"CommandLine", "output_fields.proc.cmdline"}, {"ProcessId", "output_fields.proc.pid"},
			{"ParentImage", "output_fields.proc.pexepath", "output_fields.proc.pname"}, {"ParentCommandLine", "output_fields.proc.pcmdline"},
			{"CurrentDirectory", "output_fields.proc.cwd"}, {"TargetFilename", "output_fields.fd.name"}, {"User", "output_fields.user.name"},
		},
		finish: func(rec *cybervault.Record) {
			if strings.HasPrefix(rec.Fields["output_fields.evt.type"], "exec") {
				rec.Category = "process_creation"
			}
		},
	},
	{
		product: "suricata", all: markEventKind | markFlow,
		at: []string{"timestamp"}, ip: []string{"src_ip"}, host: []string{"host"},
		aliases: [][]string{{"dst_ip", "dest_ip"}, {"dst_port", "dest_port"}},
		finish:  suricata,
	},
	{
		product: "zeek", all: markZeek,
		at: []string{"ts"}, ip: []string{"id.orig_h"},
		aliases: [][]string{{"src_ip", "id.orig_h"}, {"dst_ip", "id.resp_h"}, {"src_port", "id.orig_p"}, {"dst_port", "id.resp_p"}},
		finish:  func(rec *cybervault.Record) { rec.Service = rec.Fields["_path"] },
	},
}

// entraAliases are the names of Azure's tables for what its two interfaces call
// otherwise.
var entraAliases = [][]string{
	{"ResultType", "resultType", "properties.status.errorCode", "status.errorCode"},
	{"ResultDescription", "resultDescription", "properties.status.failureReason", "status.failureReason"},
	{"AuthenticationRequirement", "properties.authenticationRequirement", "authenticationRequirement"},
	{"ClientApp", "properties.clientAppUsed", "clientAppUsed", "ClientAppUsed"},
	{"Username", "properties.userPrincipalName", "userPrincipalName", "UserPrincipalName"},
	{"ResourceDisplayName", "properties.resourceDisplayName", "resourceDisplayName"},
	{"RiskState", "properties.riskState", "riskState"},
	{"DeviceDetail.deviceId", "properties.deviceDetail.deviceId", "deviceDetail.deviceId"},
	{"DeviceDetail.trusttype", "properties.deviceDetail.trustType", "deviceDetail.trustType"},
	{"DeviceDetail.isCompliant", "properties.deviceDetail.isCompliant", "deviceDetail.isCompliant"},
	{"userAgent", "properties.userAgent", "UserAgent"},
	{"OperationName", "operationName", "activityDisplayName", "properties.activityDisplayName"},
	{"ActivityDisplayName", "activityDisplayName", "properties.activityDisplayName", "operationName"},
	{"properties.message", "activityDisplayName", "properties.activityDisplayName", "operationName"},
	{"Category", "category", "properties.category"},
	{"LoggedByService", "loggedByService", "properties.loggedByService"},
	{"Status", "result", "properties.result", "resultSignature"},
}

// entraStatus says in a word whether a sign-in succeeded.
func entraStatus(rec *cybervault.Record) {
	f := rec.Fields
	switch f["ResultType"] {
	case "":
	case "0":
		f["Status"] = "Success"
	default:
		f["Status"] = "Failure"
	}
}

// suricata gives an event its kind as service; a request and a question of the
// domain name system get the names of those categories, too.
func suricata(rec *cybervault.Record) {
	f := rec.Fields
	rec.Service = f["event_type"]
	switch rec.Service {
	case "http":
		rec.Category = "webserver"
		if url := f["http.url"]; url != "" {
			setTarget(f, url)
		}
		alias(f, cybervault.FieldWebMethod, "http.http_method")
		alias(f, cybervault.FieldWebHost, "http.hostname")
		alias(f, cybervault.FieldWebUserAgent, "http.http_user_agent")
		alias(f, cybervault.FieldWebReferer, "http.http_refer")
		alias(f, cybervault.FieldWebStatus, "http.status")
		alias(f, cybervault.FieldWebVersion, "http.protocol")
		if ip, ok := address(f["src_ip"]); ok {
			f[cybervault.FieldClientIP] = ip
		}
	case "dns":
		rec.Category = "dns"
		alias(f, "query", "dns.rrname", "dns.queries.rrname")
		alias(f, "record_type", "dns.rrtype", "dns.queries.rrtype")
		alias(f, "answer", "dns.answers.rdata", "dns.rdata")
	}
}

// service reads a record of one of the services above.
func (p *parser) service(src *jsonSource) (*cybervault.Record, string) {
	rec := p.json.record()
	rec.Product, rec.Service, rec.Category = src.product, src.service, src.category
	f := rec.Fields
	for _, names := range src.aliases {
		alias(f, names[0], names[1:]...)
	}
	for _, name := range src.whole {
		if text := p.json.part(name).text; text != "" && rec.Multi[name] == nil {
			f[name] = text
		}
	}
	p.who(rec, src.at, src.ip, src.user, src.host)
	if src.finish != nil {
		src.finish(rec)
	}
	return rec, ""
}

// who sets what every engine asks of a record, from the fields named.
func (p *parser) who(rec *cybervault.Record, at, ip, user, host []string) {
	f := rec.Fields
	for _, name := range at {
		v := f[name]
		if v == "" {
			continue
		}
		if t, ok := p.anyTime(v); ok {
			rec.Time = t
			break
		}
	}
	rec.SourceIP = firstAddress(f, ip...)
	for _, name := range ip {
		if many := rec.Multi[name]; rec.SourceIP == "" && len(many) > 0 {
			rec.SourceIP, _ = address(many[0])
		}
	}
	rec.User = first(f, user...)
	rec.Host = first(f, host...)
}

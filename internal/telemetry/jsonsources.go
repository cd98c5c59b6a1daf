package telemetry

import "github.com/cybervault/cybervault"

// jsonMarks says which telling names an object has.
type jsonMarks uint64

const (
	markMessage jsonMarks = 1 << iota // journald's MESSAGE
	markURL
	markEVTX
	markWinlogbeat
	markEventID
	markChannel
	markProvider
	markEventSource
	markEventName
	markAWS
	markEventType
	markOkta
	markGCP
	markVerb
	markKubernetes
	markOperation
	markWorkload
	markEntraUser
	markEntraSignIn
	markEntraAudit
	markRisk
	markOperationName
	markResourceID
	markAction
	markGitHub
	markBitbucket
	markOneLogin
	markFalco
	markOutput
	markEventKind
	markFlow
	markZeek
	markWebMethod
	markWebTarget
	markWebStatus
	markWebClient
	markRequestLine
	markHTTPBody
)

// marksOf maps the names that tell one source from another. A source is known
// by a combination that no other has.
//
//nolint:gocyclo // a table
func marksOf(name string) jsonMarks {
	switch name {
	case "MESSAGE":
		return markMessage
	case "url", "uri":
		return markURL
	case "body", "body_base64":
		return markHTTPBody
	case "Event.System.EventID", "Event.System.EventID.#text", "System.EventID", "System.EventID.#text":
		return markEVTX
	case "winlog.channel", "winlog.event_id", "log_name":
		return markWinlogbeat
	case "EventID", "EventCode", "event_id", "Id":
		return markEventID
	case "Channel", "LogName":
		return markChannel
	case "SourceName", "ProviderName", "Provider_Name", "EventSourceName":
		return markProvider
	case "eventSource":
		return markEventSource
	case "eventName":
		return markEventName
	case "awsRegion", "eventVersion":
		return markAWS
	case "eventType":
		return markEventType
	case "actor.alternateId", "outcome.result", "legacyEventType":
		return markOkta
	case "protoPayload.methodName", "protoPayload.serviceName":
		return markGCP
	case "verb":
		return markVerb
	case "auditID", "objectRef.resource", "requestURI":
		return markKubernetes
	case "Operation":
		return markOperation
	case "Workload":
		return markWorkload
	case "userPrincipalName", "properties.userPrincipalName", "UserPrincipalName":
		return markEntraUser
	case "conditionalAccessStatus", "properties.conditionalAccessStatus", "ConditionalAccessStatus", "clientAppUsed", "properties.clientAppUsed", "ClientAppUsed":
		return markEntraSignIn
	case "activityDisplayName", "properties.activityDisplayName", "ActivityDisplayName":
		return markEntraAudit
	case "riskEventType", "properties.riskEventType":
		return markRisk
	case "operationName", "operationName.value", "OperationNameValue":
		return markOperationName
	case "resourceId", "ResourceId", "_ResourceId":
		return markResourceID
	case "action":
		return markAction
	case "_document_id", "actor_ip", "actor_location.country_code":
		return markGitHub
	case "auditType.action":
		return markBitbucket
	case "event_type_id":
		return markOneLogin
	case "rule", "priority":
		return markFalco
	case "output":
		return markOutput
	case "event_type":
		return markEventKind
	case "flow_id", "in_iface", "stats.uptime":
		return markFlow
	case "id.orig_h":
		return markZeek
	}
	return 0
}

// jsonRecord tells which source the object just scanned is of, and reads it.
func (p *parser) jsonRecord(src string) (*cybervault.Record, string) {
	var m jsonMarks
	for i := range p.json.values {
		m |= marksOf(p.json.values[i].name)
	}
	has := func(all jsonMarks) bool { return m&all == all }
	if p.json.short {
		p.sum.Shortened++
	}
	switch {
	case p.opts.Format == FormatHTTP:
		return p.inMembers(src, p.httpRequest)
	case p.opts.Format == FormatSyslog, has(markMessage):
		return p.inMembers(src, p.journald)
	case has(markEVTX), has(markWinlogbeat), has(markEventID | markChannel), has(markEventID | markProvider):
		return p.windows(m)
	}
	for i := range jsonServices {
		if has(jsonServices[i].all) {
			return p.service(&jsonServices[i])
		}
	}
	for i := range p.json.values {
		m |= webMarks(p.json.values[i].name)
	}
	entry := has(markWebMethod|markWebTarget|markWebStatus) || has(markWebMethod|markWebTarget|markWebClient) || has(markRequestLine|markWebStatus)
	switch {
	case p.fullRequest(m, entry):
		return p.inMembers(src, p.httpRequest)
	case entry:
		rec := p.webRecord()
		loggedService(rec)
		return rec, ""
	}
	return p.generic()
}

// inMembers hands an object on to a source that reads it in its own structure.
func (p *parser) inMembers(src string, read func(jsonObject) (*cybervault.Record, string)) (*cybervault.Record, string) {
	o, reason := members(src)
	if reason != "" {
		return nil, reason
	}
	return read(o)
}

package telemetry

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestJSONServices(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 10, 8, 12, 33, 0, time.UTC)
	for name, c := range map[string]struct {
		text, source, ip, user string
		want                   map[string]string
	}{
		"CloudTrail": {
			`{"eventVersion":"1.10","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ann","userName":"ann"},"eventTime":"2026-03-10T08:12:33Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"eu-central-1","sourceIPAddress":"192.0.2.7","requestParameters":{"userName":"new","tags":["a","b"]},"responseElements":null}`,
			"aws/cloudtrail/", "192.0.2.7", "ann", map[string]string{"eventName": "CreateUser", "userIdentity.type": "IAMUser", "requestParameters.userName": "new", "requestParameters": `{"userName":"new","tags":["a","b"]}`},
		},
		"CloudTrail by a service": {
			`{"eventVersion":"1.10","userIdentity":{"type":"AWSService","invokedBy":"ec2.amazonaws.com"},"eventTime":"2026-03-10T08:12:33Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","sourceIPAddress":"ec2.amazonaws.com"}`,
			"aws/cloudtrail/", "", "ec2.amazonaws.com", nil,
		},
		"Okta": {
			`{"actor":{"id":"00u","alternateId":"ann@corp.example","displayName":"Ann"},"client":{"ipAddress":"192.0.2.7"},"eventType":"user.mfa.factor.deactivate","outcome":{"result":"SUCCESS"},"published":"2026-03-10T08:12:33.000Z","target":[{"displayName":"a"},{"displayName":"b"}]}`,
			"okta/okta/", "192.0.2.7", "ann@corp.example", map[string]string{"eventType": "user.mfa.factor.deactivate", "outcome.result": "SUCCESS"},
		},
		"Entra sign-in, Azure Monitor": {
			`{"time":"2026-03-10T08:12:33.0000000Z","resourceId":"/tenants/x","operationName":"Sign-in activity","category":"SignInLogs","resultType":"50126","callerIpAddress":"192.0.2.7","properties":{"userPrincipalName":"ann@corp.example","ipAddress":"192.0.2.7","clientAppUsed":"Browser","authenticationRequirement":"singleFactorAuthentication","status":{"errorCode":50126}}}`,
			"azure/signinlogs/", "192.0.2.7", "ann@corp.example", map[string]string{"ResultType": "50126", "Status": "Failure", "AuthenticationRequirement": "singleFactorAuthentication"},
		},
		"Entra sign-in, Graph": {
			`{"id":"1","createdDateTime":"2026-03-10T08:12:33Z","userPrincipalName":"ann@corp.example","ipAddress":"192.0.2.7","clientAppUsed":"Browser","conditionalAccessStatus":"success","status":{"errorCode":0},"deviceDetail":{"trustType":"Hybrid"}}`,
			"azure/signinlogs/", "192.0.2.7", "ann@corp.example", map[string]string{"ResultType": "0", "Status": "Success", "DeviceDetail.trusttype": "Hybrid"},
		},
		"Entra audit": {
			`{"activityDateTime":"2026-03-10T08:12:33Z","activityDisplayName":"Add member to role","category":"RoleManagement","loggedByService":"Core Directory","initiatedBy":{"user":{"userPrincipalName":"ann@corp.example","ipAddress":"192.0.2.7"}},"targetResources":[{"type":"User"}]}`,
			"azure/auditlogs/", "192.0.2.7", "ann@corp.example", map[string]string{"OperationName": "Add member to role", "properties.message": "Add member to role", "Category": "RoleManagement", "targetResources.type": "User"},
		},
		"Azure activity": {
			`{"time":"2026-03-10T08:12:33Z","resourceId":"/SUBSCRIPTIONS/x","operationName":"MICROSOFT.NETWORK/DNSZONES/DELETE","callerIpAddress":"192.0.2.7","caller":"ann@corp.example"}`,
			"azure/activitylogs/", "192.0.2.7", "ann@corp.example", map[string]string{"operationName": "MICROSOFT.NETWORK/DNSZONES/DELETE"},
		},
		"Google Cloud": {
			`{"timestamp":"2026-03-10T08:12:33Z","protoPayload":{"methodName":"google.iam.admin.v1.CreateServiceAccountKey","serviceName":"iam.googleapis.com","authenticationInfo":{"principalEmail":"ann@corp.example"},"requestMetadata":{"callerIp":"192.0.2.7"}}}`,
			"gcp/gcp.audit/", "192.0.2.7", "ann@corp.example", map[string]string{"gcp.audit.method_name": "google.iam.admin.v1.CreateServiceAccountKey"},
		},
		"Google Workspace": {
			`{"timestamp":"2026-03-10T08:12:33Z","protoPayload":{"serviceName":"admin.googleapis.com","authenticationInfo":{"principalEmail":"ann@corp.example"},"requestMetadata":{"callerIp":"192.0.2.7"},"metadata":{"event":[{"eventName":"ADD_APPLICATION"}]}}}`,
			"gcp/google_workspace.admin/", "192.0.2.7", "ann@corp.example", map[string]string{"eventName": "ADD_APPLICATION", "eventService": "admin.googleapis.com"},
		},
		"Kubernetes": {
			`{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods/b/exec","verb":"create","user":{"username":"ann"},"sourceIPs":["192.0.2.7","198.51.100.1"],"objectRef":{"resource":"pods","subresource":"exec"},"responseStatus":{"code":101},"requestReceivedTimestamp":"2026-03-10T08:12:33.000000Z"}`,
			"kubernetes/audit/application", "192.0.2.7", "ann", map[string]string{"verb": "create", "objectRef.subresource": "exec", "responseStatus.code": "101"},
		},
		"Microsoft 365": {
			`{"CreationTime":"2026-03-10T08:12:33","Operation":"New-InboxRule","Workload":"Exchange","UserId":"ann@corp.example","ClientIP":"192.0.2.7:4711","ResultStatus":"True"}`,
			"m365/exchange/", "192.0.2.7", "ann@corp.example", map[string]string{"eventSource": "Exchange", "eventName": "New-InboxRule"},
		},
		"GitHub": {
			`{"@timestamp":1773130353000,"action":"repo.destroy","actor":"ann","actor_ip":"192.0.2.7","org":"corp","_document_id":"x"}`,
			"github/audit/", "192.0.2.7", "ann", map[string]string{"action": "repo.destroy"},
		},
		"Falco": {
			`{"hostname":"node1","output":"A shell was spawned","priority":"Notice","rule":"Terminal shell in container","time":"2026-03-10T08:12:33.000000000Z","output_fields":{"evt.type":"execve","proc.cmdline":"sh -c id","proc.exepath":"/bin/sh","proc.pname":"runc","user.name":"root"}}`,
			"linux/falco/process_creation", "", "root", map[string]string{"Image": "/bin/sh", "CommandLine": "sh -c id", "ParentImage": "runc"},
		},
		"Suricata alert": {
			`{"timestamp":"2026-03-10T09:12:33.000000+0100","flow_id":1,"event_type":"alert","src_ip":"192.0.2.7","src_port":4711,"dest_ip":"198.51.100.1","dest_port":80,"proto":"TCP","alert":{"signature_id":2001219,"signature":"X","severity":2}}`,
			"suricata/alert/", "192.0.2.7", "", map[string]string{"alert.signature_id": "2001219", "dst_ip": "198.51.100.1", "dest_ip": "198.51.100.1"},
		},
		"Suricata request": {
			`{"timestamp":"2026-03-10T08:12:33.000000+0000","flow_id":1,"event_type":"http","src_ip":"192.0.2.7","dest_ip":"198.51.100.1","http":{"hostname":"www.example.com","url":"/a?b=c","http_method":"GET","http_user_agent":"curl","status":404}}`,
			"suricata/http/webserver", "192.0.2.7", "", map[string]string{"c-ip": "192.0.2.7", "cs-method": "GET", "cs-uri-stem": "/a", "cs-uri-query": "b=c", "sc-status": "404", "cs-host": "www.example.com"},
		},
		"Zeek": {
			`{"_path":"dns","ts":1773130353.0,"uid":"C","id.orig_h":"192.0.2.7","id.resp_h":"198.51.100.1","id.resp_p":53,"query":"a.example"}`,
			"zeek/dns/", "192.0.2.7", "", map[string]string{"query": "a.example", "dst_port": "53"},
		},
		"Bitbucket": {
			`{"timestamp":{"epochSecond":1773130353},"author":{"name":"ann"},"auditType":{"category":"Projects","action":"Project deleted"},"source":"192.0.2.7"}`,
			"bitbucket/audit/", "192.0.2.7", "ann", map[string]string{"auditType.action": "Project deleted"},
		},
		"ECS process": {
			`{"@timestamp":"2026-03-10T08:12:33Z","event":{"category":["process"],"code":"1"},"host":{"name":"h","os":{"family":"windows"}},"source":{"ip":"192.0.2.7"},"user":{"name":"ann"},"process":{"executable":"C:\\x.exe","command_line":"x","parent":{"executable":"C:\\p.exe"}}}`,
			"windows//process_creation", "192.0.2.7", "ann", map[string]string{"Image": `C:\x.exe`, "CommandLine": "x", "ParentImage": `C:\p.exe`, "event.code": "1"},
		},
		"OCSF process": {
			`{"class_uid":1007,"time":1773130353000,"device":{"hostname":"h","os":{"name":"linux"}},"actor":{"user":{"name":"ann"},"process":{"file":{"path":"/bin/p"}}},"src_endpoint":{"ip":"192.0.2.7"},"process":{"cmd_line":"x","file":{"path":"/bin/x"}}}`,
			"linux//process_creation", "192.0.2.7", "ann", map[string]string{"Image": "/bin/x", "CommandLine": "x", "ParentImage": "/bin/p"},
		},
		"anything": {
			`{"ts":"2026-03-10 08:12:33","level":"warn","user":{"email":"ann@corp.example"},"ip":"192.0.2.7","nested":{"deep":{"er":1}}}`,
			"//", "192.0.2.7", "ann@corp.example", map[string]string{"level": "warn", "nested.deep.er": "1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := one(t, c.text)
			if got := rec.Product + "/" + rec.Service + "/" + rec.Category; got != c.source || rec.SourceIP != c.ip || rec.User != c.user {
				t.Errorf("%s of %q by %q; want %s of %q by %q", got, rec.SourceIP, rec.User, c.source, c.ip, c.user)
			}
			if !rec.Time.Equal(at) {
				t.Errorf("time %v", rec.Time)
			}
			for field, want := range c.want {
				if rec.Fields[field] != want {
					t.Errorf("%s = %q, want %q", field, rec.Fields[field], want)
				}
			}
			for field := range rec.Multi {
				if _, both := rec.Fields[field]; both {
					t.Errorf("%s stands in Fields and in Multi", field)
				}
			}
		})
	}
}

func TestJSONAccessLogs(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nginx":       `{"time_iso8601":"2026-03-10T08:12:33+00:00","remote_addr":"192.0.2.7","remote_user":"","request_method":"GET","request_uri":"/a?x=1","server_protocol":"HTTP/1.1","status":"404","body_bytes_sent":"12","http_user_agent":"curl/8","http_host":"www.example.com"}`,
		"nginx, line": `{"time_local":"10/Mar/2026:08:12:33 +0000","remote_addr":"192.0.2.7","request":"GET /a?x=1 HTTP/1.1","status":404,"body_bytes_sent":12,"http_user_agent":"curl/8","http_host":"www.example.com"}`,
		"Caddy":       `{"level":"info","ts":1773130353.0,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"192.0.2.7","remote_port":"4711","proto":"HTTP/1.1","method":"GET","host":"www.example.com","uri":"/a?x=1","headers":{"User-Agent":["curl/8"]}},"size":12,"status":404}`,
		"Traefik":     `{"ClientHost":"192.0.2.7","DownstreamContentSize":12,"DownstreamStatus":404,"RequestHost":"www.example.com","RequestMethod":"GET","RequestPath":"/a?x=1","RequestProtocol":"HTTP/1.1","StartUTC":"2026-03-10T08:12:33Z","request_User-Agent":"curl/8"}`,
		"Envoy":       `{"start_time":"2026-03-10T08:12:33.000Z","method":"GET","path":"/a?x=1","protocol":"HTTP/1.1","response_code":404,"bytes_sent":12,"user_agent":"curl/8","authority":"www.example.com","downstream_remote_address":"192.0.2.7:4711"}`,
		"Google":      `{"timestamp":"2026-03-10T08:12:33Z","httpRequest":{"requestMethod":"GET","requestUrl":"https://www.example.com/a?x=1","protocol":"HTTP/1.1","status":404,"responseSize":"12","userAgent":"curl/8","remoteIp":"192.0.2.7"}}`,
		"ECS":         `{"@timestamp":"2026-03-10T08:12:33Z","source":{"ip":"192.0.2.7"},"http":{"version":"HTTP/1.1","request":{"method":"GET"},"response":{"status_code":404,"body":{"bytes":12}}},"url":{"original":"/a?x=1","domain":"www.example.com"},"user_agent":{"original":"curl/8"}}`,
		"apart":       `{"time":"2026-03-10T08:12:33Z","method":"GET","uri":"/a","query_string":"?x=1","http_version":"HTTP/1.1","status":404,"bytes":12,"user_agent":"curl/8","host":"www.example.com","x_forwarded_for":"192.0.2.7, 198.51.100.1"}`,
	} {
		rec := one(t, text)
		want := map[string]string{"c-ip": "192.0.2.7", "cs-method": "GET", "cs-uri": "/a?x=1", "cs-uri-stem": "/a", "cs-uri-query": "x=1", "cs-version": "HTTP/1.1", "sc-status": "404", "sc-bytes": "12", "cs-user-agent": "curl/8", "cs-host": "www.example.com"}
		got := map[string]string{}
		for field := range want {
			got[field] = rec.Fields[field]
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if rec.Category != "webserver" || rec.SourceIP != "192.0.2.7" || !rec.Time.Equal(time.Date(2026, 3, 10, 8, 12, 33, 0, time.UTC)) {
			t.Errorf("%s: %s from %s at %v", name, rec.Category, rec.SourceIP, rec.Time)
		}
	}
}

// What was packed, once or twice, is read as if it had not been.
func TestPackedRecords(t *testing.T) {
	t.Parallel()
	event := `{"eventVersion":"1.10","eventTime":"2026-03-10T08:12:33Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"x"}`
	quoted := strings.ReplaceAll(event, `"`, `\"`)
	twice := strings.ReplaceAll(strings.ReplaceAll(`{"log":"`+quoted+`"}`, `\`, `\\`), `"`, `\"`)
	for name, c := range map[string]struct {
		text  string
		lines []int
	}{
		"Records":         {`{"Records":[` + event + `,` + event + `]}`, []int{1, 1}},
		"pretty Records":  {"{\n \"Records\": [\n  " + event + ",\n  " + event + "\n ]\n}\n" + event, []int{3, 4, 7}},
		"an array":        {"[" + event + ",\n" + event + "]", []int{1, 2}},
		"an answer":       {`{"@odata.context":"x","value":[` + event + `]}`, []int{1}},
		"a subscription":  {`{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1773130353000,"message":"` + quoted + `"}]}`, []int{1}},
		"a look-up":       {`{"Events":[{"EventId":"1","EventName":"CreateUser","CloudTrailEvent":"` + quoted + `"}]}`, []int{1}},
		"Docker":          {`{"log":"` + quoted + `\n","stream":"stdout","time":"2026-03-10T08:12:40Z"}`, []int{1}},
		"twice":           {`{"message":"` + twice + `"}`, []int{1}},
		"Elasticsearch":   {`{"_index":"a","_id":"1","_source":` + event + `}`, []int{1}},
		"EventBridge":     {`{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.iam","detail":` + event + `}`, []int{1}},
		"none of Records": {`{"Records":[]}`, nil},
	} {
		out, sum := read(t, c.text, Options{})
		var lines []int
		for _, rec := range out {
			lines = append(lines, rec.Line)
			if rec.Service != "cloudtrail" || rec.Fields["eventName"] != "CreateUser" || !rec.Time.Equal(time.Date(2026, 3, 10, 8, 12, 33, 0, time.UTC)) {
				t.Errorf("%s: %s/%s %v at %v", name, rec.Product, rec.Service, rec.Fields, rec.Time)
			}
		}
		if d := cmp.Diff(c.lines, lines); d != "" || sum.Unreadable != 0 {
			t.Errorf("%s: %s %+v", name, d, sum)
		}
	}
	rec := one(t, `{"log":"192.0.2.7 - - [10/Mar/2026:08:12:33 +0000] \"GET /a HTTP/1.1\" 200 1 \"-\" \"curl\"\n","stream":"stdout","time":"2026-03-10T08:12:40Z"}`)
	if rec.Category != "webserver" || rec.Fields["cs-uri"] != "/a" || rec.Time.Second() != 33 || string(rec.Raw[:7]) != `{"log":` {
		t.Errorf("a line in Docker's file: %s, %v", rec.Category, rec.Fields)
	}
	rec = one(t, `{"message":"nothing known","host":"h","time":"2026-03-10T08:12:33Z"}`)
	if rec.Fields["message"] != "nothing known" || rec.Host != "h" {
		t.Errorf("a message of no format: %v", rec.Fields)
	}
	rec = one(t, `{"user":"ann","ip":"192.0.2.7","action":"login","result":{"code":1},"message":{"a":"b"}}`)
	if rec.User != "ann" || rec.SourceIP != "192.0.2.7" || rec.Fields["result.code"] != "1" || rec.Fields["message.a"] != "b" {
		t.Errorf("an object that packs nothing: %v", rec.Fields)
	}
	rec = one(t, `{"host":"h","user":"ann","ip":"192.0.2.7","message":"{\"step\":1}"}`)
	if rec.User != "ann" || rec.SourceIP != "192.0.2.7" || rec.Host != "h" || rec.Fields["step"] != "1" {
		t.Errorf("a message that is JSON: %v by %q from %q", rec.Fields, rec.User, rec.SourceIP)
	}
	// An order with its items is not a list of records.
	rec = one(t, `{"id":1,"customer":"a","total":2,"currency":"EUR","items":[{"sku":"x"},{"sku":"y"}]}`)
	if d := cmp.Diff([]string{"x", "y"}, rec.Multi["items.sku"]); d != "" {
		t.Error(d)
	}
	deep := event
	for range 10 {
		deep = `{"Records":[` + deep + `]}`
	}
	if out, _ := read(t, deep, Options{}); len(out) != 1 || out[0].Service == "cloudtrail" {
		t.Errorf("packed ten times: %d records", len(out))
	}
}

// A file of CloudTrail is one line of any length.
func TestLongPackings(t *testing.T) {
	t.Parallel()
	event := `{"eventVersion":"1.10","eventTime":"2026-03-10T08:12:33Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"x","note":"a \"b\" ] } \\"}`
	const n = 20_000 // over 2 MiB
	list := strings.Repeat(event+",", n-1) + event
	after := `{"eventVersion":"1.10","eventSource":"s3.amazonaws.com","eventName":"After"}`
	for name, c := range map[string]struct {
		text       string
		last, line int
	}{
		"one line":       {`{"Records":[` + list + "]}\n" + after, n + 1, 2},
		"a line each":    {"\xef\xbb\xbf{\n \"Records\" : [\n" + strings.ReplaceAll(list, "},{", "},\n{") + "\n]\n}\n" + after, n + 1, n + 5},
		"with more":      {`{"records":[` + list + `],"next":{"token":"]}"},"count":[1]}` + after, n + 1, 1},
		"cut off":        {`{"Records":[` + list + `,{"eventVersion":"1.1`, n, 1},
		"a broken event": {`{"Records":[{"eventVersion":oops},` + list + `]}` + after, n + 1, 1},
	} {
		out, sum := read(t, c.text, Options{})
		if len(out) != c.last || sum.Bytes != int64(len(c.text)) {
			t.Errorf("%s: %d records of %d, %d bytes of %d, %+v", name, len(out), c.last, sum.Bytes, len(c.text), sum.Samples)
			continue
		}
		if last := out[len(out)-1]; last.Line != c.line || last.Service != "cloudtrail" {
			t.Errorf("%s: the last is of line %d, want %d; %v", name, last.Line, c.line, last.Fields)
		}
		if wrong := name == "cut off" || name == "a broken event"; (sum.Unreadable == 1) != wrong {
			t.Errorf("%s: %d unreadable: %+v", name, sum.Unreadable, sum.Samples)
		}
	}
}

func TestJSONFormatTold(t *testing.T) {
	t.Parallel()
	lines := map[string]string{
		FormatCloudTrail: `{"eventVersion":"1.10","eventSource":"iam.amazonaws.com","eventName":"CreateUser"}`,
		FormatEntra:      `{"activityDisplayName":"Add user"}`,
		FormatFalco:      `{"rule":"r","output":"o","priority":"Notice"}`,
		FormatOkta:       `{"eventType":"user.session.start","outcome":{"result":"SUCCESS"}}`,
		FormatSuricata:   `{"event_type":"alert","flow_id":1}`,
		FormatWindows:    `{"EventID":1,"Channel":"System"}`,
	}
	var all strings.Builder
	all.WriteString("no JSON\n")
	for _, line := range lines {
		all.WriteString(line + "\n" + `{"message":` + quote(line) + "}\n")
	}
	for format := range lines {
		out, sum := read(t, all.String(), Options{Format: format})
		if len(out) != 2 || sum.Unreadable != 2*len(lines)-1 {
			t.Errorf("%s: %d records, %d unreadable", format, len(out), sum.Unreadable)
		}
	}
	if out, sum := read(t, all.String(), Options{Format: FormatJSON}); len(out) != 2*len(lines) || sum.Unreadable != 1 {
		t.Errorf("json: %d records, %d unreadable", len(out), sum.Unreadable)
	}
	if known := Formats(); !slices.IsSorted(known) || len(known) != 10 {
		t.Errorf("formats %v", known)
	}
}

func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }

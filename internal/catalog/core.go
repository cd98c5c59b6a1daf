package catalog

import "github.com/cybervault/cybervault"

// declaration is what the code says of an event type; title, description and
// fields stand in its schema.
type declaration struct {
	name     string
	severity cybervault.Severity
}

// core lists the core event types in the order of the documentation.
func core() []declaration {
	return []declaration{
		{cybervault.EventThreatDetected, cybervault.SeverityCritical},
		{cybervault.EventIncidentCreated, cybervault.SeverityHigh},
		{cybervault.EventIncidentUpdated, cybervault.SeverityMedium},
		{cybervault.EventIncidentResolved, cybervault.SeverityInfo},
		{cybervault.EventAuthSuspicious, cybervault.SeverityMedium},
		{cybervault.EventEndpointOffline, cybervault.SeverityLow},
		{cybervault.EventEndpointOnline, cybervault.SeverityInfo},
		{cybervault.EventPatchDeployed, cybervault.SeverityInfo},
		{cybervault.EventPatchFailed, cybervault.SeverityHigh},
		{cybervault.EventComplianceReportReady, cybervault.SeverityInfo},
		{cybervault.EventComplianceControlFailed, cybervault.SeverityHigh},
		{cybervault.EventSystemAlert, cybervault.SeverityMedium},
	}
}

// testPayload is what verifying a webhook sends. It stands apart from the core
// types: nobody can choose it.
func testPayload() declaration {
	return declaration{cybervault.EventWebhookTest, cybervault.SeverityInfo}
}

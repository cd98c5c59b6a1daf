package dashboard

import (
	"github.com/cybervault/cybervault"
)

// What a route asks for that is no permission of a role.
const (
	permitNobody cybervault.Permission = ""                // open to everybody
	permitDue    cybervault.Permission = "account and due" // also where the second factor is still due: to log out
)

// route is one page or action, and what it asks of whoever wants it.
type route struct {
	pattern    string // of http.ServeMux
	permission cybervault.Permission
	do         action
}

// routes lists every page and action of the dashboard.
func (d *dashboard) routes() []route {
	const (
		hooks = "/settings/integrations/webhooks"

		open       = permitNobody
		account    = cybervault.PermitAccount
		read       = cybervault.PermitRead
		respond    = cybervault.PermitRespond
		configure  = cybervault.PermitConfigure
		administer = cybervault.PermitAdminister
	)
	return []route{
		{"GET /login", open, d.showLogin},
		{"POST /login", open, d.login},
		{"GET /login/code", open, d.showCode},
		{"POST /login/code", open, d.giveCode},
		{"POST /login/passkey", open, d.givePasskey},
		{"GET /login/openid", open, d.beginSignOn},
		{"GET /login/openid/return", open, d.endSignOn},
		{"GET /invitation", open, d.showInvitation},
		{"POST /invitation", open, d.acceptInvitation},
		{"POST /theme", open, d.setTheme},
		{"GET /setup", administer, d.showSetUp},
		{"POST /setup", administer, d.setUp},

		{"POST /logout", permitDue, d.logout},
		{"GET /account", account, d.showAccount},
		{"POST /account/name", account, d.changeName},
		{"POST /account/password", account, d.changePassword},
		{"GET /account/authenticator", account, d.showAuthenticator},
		{"POST /account/authenticator", account, d.addAuthenticator},
		{"POST /account/authenticator/remove", account, d.removeAuthenticator},
		{"GET /account/passkeys/new", account, d.newPasskey},
		{"POST /account/passkeys", account, d.addPasskey},
		{"POST /account/passkeys/{id}/remove", account, d.removePasskey},
		{"POST /account/recovery-codes", account, d.newRecoveryCodes},
		{"POST /account/sessions/{id}/end", account, d.endSession},
		{"POST /account/sessions/end", account, d.endOtherSessions},
		{"POST /account/workspace", account, d.switchWorkspace},

		{"GET /live", read, d.live},
		{"GET /{$}", read, d.overview},
		{"GET /deliveries", read, d.listDeliveries},
		{"POST /deliveries", respond, d.bulkDeliveries},
		{"GET /deliveries/{id}", read, d.showDelivery},
		{"POST /deliveries/{id}/replay", respond, d.replayDelivery},
		{"POST /deliveries/{id}/cancel", respond, d.cancelDelivery},
		{"GET /events", read, d.listEvents},
		{"GET /events/{id}", read, d.showEvent},
		{"GET /events/{id}/raw", read, d.rawEvent},

		{"GET /incidents", read, d.listIncidents},
		{"GET /incidents/{id}", read, d.showIncident},
		{"POST /incidents/{id}", respond, d.changeIncident},
		{"POST /incidents/{id}/merge", respond, d.mergeIncident},

		{"GET /rules", read, d.listRules},
		{"GET /rules/{id}", read, d.showRule},
		{"POST /rules/{id}/status", respond, d.setRule},
		{"GET /rules/exceptions", read, d.listExceptions},
		{"POST /rules/exceptions", respond, d.addException},
		{"POST /rules/exceptions/preview", read, d.previewException},
		{"POST /rules/exceptions/{exception}/remove", respond, d.removeException},

		{"GET " + alertsPath, read, d.listAlerts},
		{"GET " + agentsPath, read, d.listAgents},
		{"POST " + agentsPath + "/tokens", configure, d.createAgentToken},
		{"POST " + agentsPath + "/tokens/{id}/end", configure, d.endAgentToken},
		{"GET " + agentsPath + "/{id}", read, d.showAgent},
		{"POST " + agentsPath + "/{id}/remove", configure, d.removeAgent},

		{"GET /settings", read, redirectTo(hooks)},
		{"GET /settings/integrations", read, redirectTo(hooks)},
		{"GET " + hooks, read, d.listWebhooks},
		{"POST " + hooks, configure, d.createWebhook},
		{"GET " + hooks + "/new", configure, d.newWebhook},
		{"POST " + hooks + "/preview", read, d.previewFilter},
		{"GET " + hooks + "/{id}", read, d.showWebhook},
		{"GET " + hooks + "/{id}/edit", configure, d.editWebhook},
		{"POST " + hooks + "/{id}/edit", configure, d.updateWebhook},
		{"POST " + hooks + "/{id}/status", configure, d.setWebhookStatus},
		{"POST " + hooks + "/{id}/verify", respond, d.verifyWebhook},
		{"POST " + hooks + "/{id}/test", respond, d.testWebhook},
		{"POST " + hooks + "/{id}/secret", configure, d.revealSecret},
		{"POST " + hooks + "/{id}/rotate", configure, d.rotateSecret},
		{"POST " + hooks + "/{id}/delete", configure, d.deleteWebhook},

		{"GET " + eventTypesPath, read, d.listEventTypes},
		{"POST " + eventTypesPath, configure, d.createEventType},
		{"GET " + eventTypesPath + "/new", configure, d.newEventType},
		{"GET " + eventTypesPath + "/{type}", read, d.showEventType},
		{"POST " + eventTypesPath + "/{type}", configure, d.changeEventType},
		{"POST " + eventTypesPath + "/{type}/delete", configure, d.deleteEventType},
		{"GET /settings/api-keys", administer, d.listKeys},
		{"POST /settings/api-keys", administer, d.createKey},
		{"POST /settings/api-keys/{id}/revoke", administer, d.revokeKey},
		{"GET /settings/members", administer, d.listMembers},
		{"POST /settings/members", administer, d.invite},
		{"POST /settings/members/{id}/role", administer, d.setRole},
		{"POST /settings/members/{id}/remove", administer, d.removeMember},
		{"POST /settings/members/{id}/password", administer, d.letChoosePassword},
		{"POST /settings/invitations/{id}/withdraw", administer, d.withdrawInvitation},
		{"GET /settings/health", read, d.showSystem},
		{"POST /settings/health", administer, d.examineSystem},
		{"GET /settings/audit-log", administer, d.listActions},
		{"GET /settings/audit-log/export", administer, d.exportActions},
		{"POST /settings/workspaces", administer, d.createWorkspace},

		{"/", read, d.notFound},
	}
}

package cybervault

// Field names of a Record of category "webserver", as the Sigma taxonomy has
// them (they are the W3C extended log format's).
const (
	FieldClientIP     = "c-ip"
	FieldClientName   = "c-dns" // where the log names the client and gives no address
	FieldWebMethod    = "cs-method"
	FieldWebURI       = "cs-uri" // path and query as sent; the whole request line where that is no HTTP
	FieldWebStem      = "cs-uri-stem"
	FieldWebQuery     = "cs-uri-query"
	FieldWebVersion   = "cs-version"
	FieldWebHost      = "cs-host"
	FieldWebUser      = "cs-username"
	FieldWebUserAgent = "cs-user-agent"
	FieldWebReferer   = "cs-referer"
	FieldWebCookie    = "cs-cookie"
	FieldWebStatus    = "sc-status"
	FieldWebBytes     = "sc-bytes"
)

// Fields of a full HTTP request, which the taxonomy has no names for.
const (
	FieldWebHeaders = "cs-headers" // every header, "Name: value" a line, in the order sent
	FieldWebBody    = "cs-body"    // the body's bytes
)

// Fields of a line of the system log, whatever wrote it.
const (
	FieldProgram = "program"
	FieldPID     = "pid"
	FieldMessage = "message"
)

// Fields of a login, as sshd's records have them. The Sigma taxonomy names none
// for sshd, whose rules look for words in the message.
const (
	FieldSourceIP    = "src_ip"
	FieldSourceName  = "src_host" // where the log has a name and no address
	FieldSourcePort  = "src_port"
	FieldUser        = "user"
	FieldUnknownUser = "unknown_user" // "true": there is no such account
	FieldMethod      = "auth_method"  // "password", "publickey", "keyboard-interactive/pam", …
	FieldEvent       = "event"        // the form of message, an SSHD constant
	FieldOutcome     = "outcome"      // an Outcome constant; absent where the line says nothing of one
	FieldAttempts    = "attempts"     // how many tries the line stands for, where that is not one
	FieldConfirms    = "confirms"     // on a success: how many unconfirmed failures of other users came before it in its connection
)

// What a line says of the login it belongs to: the values of FieldOutcome.
const (
	OutcomeSuccess     = "success"
	OutcomeFailure     = "failure"     // a login was refused, or the connection ended before one
	OutcomeUnconfirmed = "unconfirmed" // PAM refused; sshd may still let the person in another way
)

// The forms of sshd's messages: the values of FieldEvent.
const (
	SSHDAccepted     = "accepted"
	SSHDPassword     = "password_failed" // or another secret, such as keyboard-interactive
	SSHDPublicKey    = "publickey_failed"
	SSHDUnknownUser  = "unknown_user"
	SSHDNotAllowed   = "not_allowed" // by AllowUsers and its like, or root at all
	SSHDPAM          = "pam_failed"
	SSHDPAMModule    = "pam_module_failed"
	SSHDTooMany      = "too_many_failures"
	SSHDRefused      = "connection_refused"
	SSHDDisconnected = "disconnected"      // before a login
	SSHDSilent       = "no_identification" // connected and said nothing, as port checks do
	SSHDProtocol     = "protocol"          // spoke something else than SSH, or ran into its time limit
)

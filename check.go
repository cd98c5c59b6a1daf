package cybervault

// CheckStatus says how a check ended.
type CheckStatus string

// The ends of a check.
const (
	CheckOK   CheckStatus = "ok"
	CheckWarn CheckStatus = "warn" // it works, and will not for ever, or not as it should
	CheckFail CheckStatus = "fail" // something does not work
)

// CheckStatuses lists all of them.
func CheckStatuses() []CheckStatus { return []CheckStatus{CheckOK, CheckWarn, CheckFail} }

// Check is one thing that was looked at by a server, or about one. It never holds
// a secret.
type Check struct {
	Name    string      `json:"name" doc:"What was looked at, such as disk or destination."`
	Status  CheckStatus `json:"status"`
	Subject string      `json:"subject,omitempty" doc:"Which one, where there are several: a webhook's id, a file."`
	Summary string      `json:"summary"`
	Remedy  string      `json:"remedy,omitempty" doc:"What to do about it; absent where all is well."`
}

// WorstCheck is the worst status among checks, CheckOK for none.
func WorstCheck(checks []Check) CheckStatus {
	worst := CheckOK
	for _, c := range checks {
		if c.Status == CheckFail || c.Status == CheckWarn && worst == CheckOK {
			worst = c.Status
		}
	}
	return worst
}

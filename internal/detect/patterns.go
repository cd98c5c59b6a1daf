package detect

import (
	"fmt"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/detect/login"
)

// pattern is how a login pattern becomes an event.
type pattern struct {
	event      string
	name       string // the event's pattern, or vector
	title      string
	level      cybervault.Severity
	sure       cybervault.Severity // with further evidence
	rank       int                 // the strongest names the event
	techniques []string
	quiet      time.Duration
}

var patterns = map[string]pattern{
	login.BruteForce: {cybervault.EventAuthSuspicious, login.BruteForce, "Passwords guessed at a program's pace",
		cybervault.SeverityMedium, cybervault.SeverityMedium, 20, []string{"T1110.001"}, login.QuietAfter},
	login.SlowBruteForce: {cybervault.EventAuthSuspicious, login.SlowBruteForce, "Passwords guessed slowly, below the usual thresholds",
		cybervault.SeverityMedium, cybervault.SeverityMedium, 10, []string{"T1110.001"}, login.SlowQuiet},
	login.PasswordSpray: {cybervault.EventAuthSuspicious, login.PasswordSpray, "A few passwords tried on many accounts",
		cybervault.SeverityHigh, cybervault.SeverityHigh, 30, []string{"T1110.003"}, login.QuietAfter},
	login.DistributedGuessing: {cybervault.EventAuthSuspicious, login.DistributedGuessing, "Passwords guessed from many addresses together",
		cybervault.SeverityHigh, cybervault.SeverityHigh, 40, []string{"T1110"}, login.QuietAfter},
	login.SuccessAfterFailures: {cybervault.EventAuthSuspicious, login.SuccessAfterFailures, "A login succeeded after passwords were guessed",
		cybervault.SeverityCritical, cybervault.SeverityCritical, 50, []string{"T1110.001", "T1078"}, login.SuccessAfter},
	login.NewCountry: {cybervault.EventAuthSuspicious, login.NewCountry, "A login from a country that is new for the user",
		cybervault.SeverityLow, cybervault.SeverityMedium, 5, []string{"T1078"}, login.QuietAfter},
	login.ImpossibleTravel: {cybervault.EventAuthSuspicious, login.ImpossibleTravel, "Two logins further apart than anyone travels in the time between",
		cybervault.SeverityMedium, cybervault.SeverityHigh, 35, []string{"T1078"}, login.QuietAfter},
	login.MFAFatigue: {cybervault.EventAuthSuspicious, login.MFAFatigue, "Requests for a second factor without end",
		cybervault.SeverityHigh, cybervault.SeverityCritical, 45, []string{"T1621"}, login.QuietAfter},
	login.MFABypass: {cybervault.EventAuthSuspicious, login.MFABypass, "A second factor was got around",
		cybervault.SeverityHigh, cybervault.SeverityCritical, 42, []string{"T1556.006"}, login.QuietAfter},
	login.MFARemoved: {cybervault.EventAuthSuspicious, login.MFARemoved, "A second factor was removed",
		cybervault.SeverityMedium, cybervault.SeverityHigh, 38, []string{"T1556.006"}, login.QuietAfter},
	login.ServiceProbe: {cybervault.EventThreatDetected, "reconnaissance", "SSH service probed with something else than a login",
		cybervault.SeverityLow, cybervault.SeverityLow, 30, []string{"T1046"}, login.QuietAfter},
}

func explainLogin(c login.Conclusion, at time.Time) string {
	if c.Detail != "" {
		return c.Detail
	}
	over := max(0, at.Sub(c.First)).Round(time.Second)
	who := fmt.Sprintf("%d accounts", c.Users)
	if c.Users == 1 {
		who = fmt.Sprintf("the account %q", c.User)
	}
	if c.Unknown > 0 {
		who += fmt.Sprintf(" (%d of the latest attempts at accounts that do not exist)", c.Unknown)
	}
	switch c.Pattern {
	case login.SuccessAfterFailures:
		return fmt.Sprintf("%s logged in as %q after %d failed attempts at %s, %s after the first of them", c.Address, c.User, c.Total, who, over)
	case login.DistributedGuessing:
		if c.User == "" {
			who = "accounts that do not exist"
		}
		from := fmt.Sprintf("%d addresses", c.Sources)
		if c.Network != "" {
			from += " of " + c.Network
		}
		return fmt.Sprintf("%d failed attempts at %s from %s within %s, few from each", c.Total, who, from, over)
	case login.ServiceProbe:
		return fmt.Sprintf("%d connections from %s within %s that broke off the protocol before a login", c.Total, c.Address, over)
	}
	return fmt.Sprintf("%d failed attempts at %s from %s within %s", c.Total, who, c.Address, over)
}

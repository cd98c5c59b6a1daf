package api

import (
	"context"
	"net/http"
	"time"

	"github.com/cybervault/cybervault"
)

// Doctor looks at the server and its surroundings.
type Doctor interface {
	// Examine says how everything is. CodeForbidden for a workspace that it is not for.
	Examine(ctx context.Context, ws cybervault.WorkspaceID) ([]cybervault.Check, error)
}

type doctorJSON struct {
	Status    cybervault.CheckStatus `json:"status" doc:"The worst of the checks."`
	Version   string                 `json:"version" doc:"Of the server."`
	CheckedAt time.Time              `json:"checked_at" doc:"When the checks began, by the server's clock."`
	Checks    []cybervault.Check     `json:"checks"`
}

func (s *server) doctor(c *call) error {
	answer := doctorJSON{Version: s.Version, CheckedAt: s.Now().UTC()}
	checks, err := s.Doctor.Examine(c.ctx(), c.workspace())
	if err != nil {
		return err
	}
	answer.Status, answer.Checks = cybervault.WorstCheck(checks), checks
	return writeJSON(c, http.StatusOK, answer)
}

func aboutDoctor(rt *route) {
	rt.id, rt.tag, rt.summary = "doctor", tagUpkeep, "Check the server"
	rt.doc = "Looks at configuration, files, disk, clocks, queue, webhooks and their certificates, and connects to every receiver once without sending anything: " +
		"the look-up of its name, the rules for addresses, TCP and TLS, from where the server stands. It takes up to half a minute. " +
		"Nothing is changed, and no secret is told."
	rt.answers = []answer{{status: 200, doc: "What was found.", schema: of[doctorJSON]()}}
}

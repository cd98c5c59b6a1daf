package dashboard

import (
	"context"

	"github.com/cybervault/cybervault"
)

// step is one thing that a new installation needs of a person.
type step struct {
	Name, Note, Link, Action string
	Done                     bool
}

// checklist is what is next for who may do it; nil once all of it is done.
func (d *dashboard) checklist(ctx context.Context, p *page, hooks []*cybervault.Webhook) ([]step, error) {
	s := sessionOf(ctx)
	if !s.May(cybervault.PermitAdminister) {
		return nil, nil
	}
	tests, err := d.Log.Deliveries(ctx, cybervault.DeliveryQuery{Workspace: s.Workspace, Limit: 1})
	if err != nil {
		return nil, err
	}
	members, err := d.Access.Members(ctx, s.Workspace)
	if err != nil {
		return nil, err
	}
	invited, err := d.Access.Invitations(ctx, s.Workspace)
	if err != nil {
		return nil, err
	}
	events, err := d.Log.Events(ctx, cybervault.EventQuery{Workspace: s.Workspace, Limit: 20})
	if err != nil {
		return nil, err
	}
	published := false
	for _, e := range events.Rows {
		published = published || !e.Test
	}
	const hooksURL = "/settings/integrations/webhooks"
	test := hooksURL
	if len(hooks) > 0 {
		test += "/" + hooks[0].ID.String()
	}
	steps := []step{
		{"Add a webhook", "an HTTPS address, and the event types it wants", hooksURL + "/new", "Add webhook", len(hooks) > 0},
		{"Send a test", "an example of an event type, signed, and the answer to it", test, "Webhooks", len(tests.Rows) > 0},
		{"Connect a source", "an API key for what hands in telemetry or publishes events", "/settings/api-keys", "API keys", published},
		{"Invite somebody", "with a role of their own", "/settings/members", "Members", len(members)+len(invited) > 1},
	}
	if p.Unowned {
		steps = append([]step{{"Make the owner’s account", "so that the log says who did what, and the printed link opens nothing any more", "/setup", "Make it", false}}, steps...)
	}
	for _, one := range steps {
		if !one.Done {
			return steps, nil
		}
	}
	return nil, nil
}

package cli

import (
	"context"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/cybervault/cybervault"
)

func newTrigger(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "trigger EVENT_TYPE", GroupID: groupAPI, Args: cobra.ExactArgs(1),
		Short: "Publish an event type's example",
		Long: `Publishes the example that the catalogue has for an event type, as a real event:
it is stored, and delivered to every webhook that chose the type.
To send an example to one webhook alone, marked as a test: cybervault webhooks test.`,
		Example: "  cybervault trigger threat.detected",
	}
	f := addClientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.connect(env)
		if err != nil {
			return err
		}
		eventType, _, err := get[cybervault.EventType](cmd.Context(), c, "/v1/event-types/"+segment(args[0]), nil)
		if err != nil {
			return err
		}
		return publish(cmd.Context(), env, f, c, cybervault.PublishRequest{Type: eventType.Name, Data: eventType.Example})
	}
	return cmd
}

// publish publishes one event and shows the receipt.
func publish(ctx context.Context, env *Env, f *clientFlags, c *client, request cybervault.PublishRequest) error {
	receipt, raw, err := send[cybervault.PublishReceipt](ctx, c, http.MethodPost, "/v1/events", nil, request)
	if err != nil {
		return err
	}
	if f.json {
		return printLine(env.Stdout, raw)
	}
	return details(env.Stdout, colours(env, env.Stdout),
		"event", receipt.ID.String(), "type", receipt.Type, "timestamp", moment(&receipt.Timestamp),
		"idempotency key", receipt.IdempotencyKey, "deliveries", strconv.Itoa(receipt.Deliveries))
}

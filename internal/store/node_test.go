package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// Nodes that share a database have different numbers, and a number that is
// free again goes to the next one, together with the leases that died under it.
func TestPostgresNodesHaveNumbersOfTheirOwn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg := postgresConfig(t)
	open := func() *store.Store {
		t.Helper()
		s, err := store.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	first, second := open(), open()
	if first.Node() != 0 || second.Node() != 1 {
		t.Fatalf("the nodes have the numbers %d and %d", first.Node(), second.Node())
	}
	nodes, err := second.NodeList(ctx)
	if err != nil || len(nodes) != 2 || nodes[0].Number != 0 || nodes[0].Me || !nodes[1].Me || nodes[1].Host == "" || nodes[1].JoinedAt.IsZero() {
		t.Errorf("the second node lists %+v, %v", nodes, err)
	}

	hook, claimed := leaseOne(ctx, t, second)
	if again, err := first.Claim(ctx, cybervault.Claim{Webhook: hook, Limit: 10, Lease: cybervault.Lease{Token: 256, Until: time.Now().Add(time.Minute)}}); err != nil || len(again) != 0 {
		t.Fatalf("a leased delivery was claimed: %v, %v", again, err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	third := open()
	if third.Node() != 1 {
		t.Errorf("the number that was given back is not taken: %d", third.Node())
	}
	again, err := first.Claim(ctx, cybervault.Claim{Webhook: hook, Limit: 10, Lease: cybervault.Lease{Token: 512, Until: time.Now().Add(time.Minute)}})
	if err != nil || len(again) != 1 || again[0].Delivery != claimed {
		t.Errorf("the lease of the node that is gone was not given back: %v, %v", again, err)
	}
}

// A node whose connection is cut takes a number again, and says which.
func TestPostgresNodeTakesANumberAgain(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	told := make(chan uint8, 1)
	s.FollowNode(func(n uint8) { told <- n })
	outside(t, cfg, "", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	select {
	case n := <-told:
		if n != s.Node() {
			t.Errorf("told of number %d, it is %d", n, s.Node())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the node did not take a number again within 30s")
	}
}

// leaseOne commits an event with one delivery, leased under the store's own number.
func leaseOne(ctx context.Context, t *testing.T, s *store.Store) (cybervault.WebhookID, cybervault.DeliveryID) {
	t.Helper()
	ids := cybervault.NewIDSource(s.Node(), 0, time.Now)
	ws, err := s.Workspace(ctx, cybervault.NewID[cybervault.WorkspaceID](ids), "default")
	if err != nil {
		t.Fatal(err)
	}
	hook := &cybervault.Webhook{
		ID: cybervault.NewID[cybervault.WebhookID](ids), Workspace: ws, URL: "https://siem.example.com/", Events: []string{"*"},
		Status: cybervault.WebhookEnabled, Accept: cybervault.AcceptDefault, Secrets: []cybervault.Secret{cybervault.NewSecret(time.Now())},
	}
	if err := s.SaveWebhook(ctx, hook); err != nil {
		t.Fatal(err)
	}
	run := ids.NextRun(2)
	delivery := cybervault.DeliveryID{UUID: run[1]}
	_, errs := s.Publish(ctx, []*cybervault.Publication{{
		Event: &cybervault.Event{ID: cybervault.EventID{UUID: run[0]}, Workspace: ws, Type: cybervault.EventSystemAlert, Timestamp: time.Now(), Body: []byte("{}")},
		Deliveries: []cybervault.NewDelivery{{ID: delivery, Webhook: hook.ID, Status: cybervault.DeliveryPending,
			Lease: cybervault.Lease{Token: ids.Next().Key(), Until: time.Now().Add(time.Minute)}}},
	}})
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	return hook.ID, delivery
}

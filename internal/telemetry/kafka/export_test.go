package kafka

import "context"

// LookAtLag is what the source does every ten seconds.
func (s *Source) LookAtLag(ctx context.Context) { s.lag(ctx) }

package oidc

import "time"

// SetTimeLimit shortens what a person would wait. Not while the provider is in use.
func (p *Provider) SetTimeLimit(limit time.Duration) {
	p.limit = limit
	p.client.Timeout = limit
}

// Clean is clean.
var Clean = clean

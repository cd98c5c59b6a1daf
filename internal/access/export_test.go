package access

import "context"

// CachedKeys says how many keys are remembered.
func (a *Access) CachedKeys() int {
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	return len(a.keys.entries)
}

// PasswordMatches compares a password with a hash that is stored.
func PasswordMatches(ctx context.Context, hashed, password string) (bool, error) {
	return newHasher().matches(ctx, hashed, password)
}

package access

// CachedKeys says how many keys are remembered.
func (a *Access) CachedKeys() int {
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	return len(a.keys.entries)
}

package api

// Forgive forgets who tried to get in with wrong tokens.
func (a *API) Forgive() {
	a.strays.mu.Lock()
	defer a.strays.mu.Unlock()
	clear(a.strays.buckets)
}

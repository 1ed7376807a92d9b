package app

import (
	"net/http"
)

// Health answers whether the server lives (/healthz) and whether it takes runs (/readyz), for those who watch over it.
func (s *Server) Health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		switch err := s.Store.Ping(r.Context()); {
		case err != nil:
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		case s.Draining():
			http.Error(w, "the server is about to end", http.StatusServiceUnavailable)
		default:
			_, _ = w.Write([]byte("ready\n"))
		}
	})
	return mux
}

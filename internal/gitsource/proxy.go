package gitsource

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"strings"
	"sync"
	"time"
)

// Dial connects to "host:port", or refuses to.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// proxy makes git's connections, as git itself cannot be told which addresses it may connect to: it is a proxy on this machine that
// dials what it is asked for, and nothing else. What is sent over TLS goes through as it is.
type proxy struct {
	dial   Dial
	server *http.Server
	url    string
	plain  *httputil.ReverseProxy

	mu      sync.Mutex
	refused error // the last connection that was not made
}

func startProxy(dial Dial) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{dial: dial, url: "http://" + l.Addr().String()}
	silent := log.New(io.Discard, "", 0)
	p.plain = &httputil.ReverseProxy{
		Rewrite: func(*httputil.ProxyRequest) {}, Transport: &http.Transport{DialContext: p.connect, DisableCompression: true}, FlushInterval: -1, ErrorLog: silent,
	}
	p.server = &http.Server{Handler: p, ErrorLog: silent, ReadHeaderTimeout: 30 * time.Second}
	go func() { _ = p.server.Serve(l) }() // until close
	return p, nil
}

func (p *proxy) close() { p.server.Close() }

// connect dials, and remembers why that failed.
func (p *proxy) connect(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := p.dial(ctx, network, address)
	if err != nil {
		p.mu.Lock()
		p.refused = err
		p.mu.Unlock()
	}
	return conn, err
}

// failure is why a connection was not made, nil if all were.
func (p *proxy) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.tunnel(w, r)
	case r.URL.Scheme == "http":
		p.plain.ServeHTTP(w, r)
	default:
		http.Error(w, "this is a proxy", http.StatusBadRequest)
	}
}

// tunnel connects both sides until one of them ends.
func (p *proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	far, err := p.connect(r.Context(), "tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	if _, err := io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	over := make(chan struct{}, 2)
	pass := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from) // how it ended is git's to say
		over <- struct{}{}
	}
	go pass(far, buffered)
	go pass(near, far)
	<-over
}

// proxied tells whether the environment has git use a proxy for an address, which then is what makes connections.
func proxied(address string) bool {
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	u, err := http.ProxyFromEnvironment(r)
	all := os.Getenv("ALL_PROXY") + os.Getenv("all_proxy") // which git knows and Go does not
	return err == nil && u != nil || all != ""
}

// withoutProxies is an environment without the names of proxies, and of what is reached without them.
func withoutProxies(env []string) (kept []string) {
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			kept = append(kept, e)
		}
	}
	return kept
}

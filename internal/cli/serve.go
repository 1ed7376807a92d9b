package cli

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/config"
)

func newServe(g *globals) *cobra.Command {
	var settings *config.Flags
	printConfig, printExample, link := false, false, false
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run tasks for many callers, and lose none",
		Long: `Run tasks for many callers. What the server has accepted is on record, and reaches exactly one end
whatever dies meanwhile: runs go on in a worker process of their own when the server ends or is
killed, and are taken up when it is started again.

Everything can be set in a file, in the environment and by flags; flags count most. docs/operating.md
has the table. A setting that does not exist is refused.`,
		Example: `  longshore serve
  longshore serve --config /etc/longshore/server.yaml
  longshore serve --listen 0.0.0.0:8470 --tls-cert cert.pem --tls-key key.pem --db-file /run/secrets/db
  longshore serve --print-config`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if printExample {
				_, err := g.Out.Write([]byte(config.Commented()))
				return err
			}
			conf, err := settings.Load(os.Environ())
			if err != nil {
				return err
			}
			if printConfig {
				return g.printConfig(conf)
			}
			return g.serve(c.Context(), conf, link)
		},
	}
	settings = config.Register(c.Flags())
	c.Flags().BoolVar(&printConfig, "print-config", false, "print the settings that count, and where each comes from, and end")
	c.Flags().BoolVar(&link, "login-link", false, "print a one-time link for an administrator, also when somebody has a token already")
	c.Flags().BoolVar(&printExample, "print-example", false, "print a configuration file in which every setting is explained, and end")
	return c
}

func (g *globals) printConfig(conf *config.Loaded) error {
	if g.json {
		return g.printJSON(conf.Values())
	}
	_, err := g.Out.Write([]byte(conf.YAML()))
	return err
}

func (g *globals) serve(ctx context.Context, conf *config.Loaded, link bool) (err error) {
	log := g.serverLog(conf.Log)
	a, err := g.open(func(c *app.Config) {
		c.Policy.Network, c.Sources = conf.Network == "allowed", append([]string{}, conf.Sources...)
		c.Progress = nil
	})
	if err != nil {
		return err
	}
	watch, err := app.NewWatch(ctx, Version, conf.Name, conf.Traces)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watch.Close()) }()
	var certs *app.Certificates
	if conf.TLS.Cert != "" {
		if certs, err = app.NewCertificates(conf.TLS.Cert, conf.TLS.Key, log); err != nil {
			return err
		}
	}
	listeners, err := app.Listen(ctx, conf.Listen, certs)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	url := conf.URL
	if url == "" {
		url = addressURL(listeners[0], certs != nil)
	}
	s, err := a.NewServer(ctx, app.ServerConfig{
		Database: conf.Database, Blobs: conf.Blobs, Name: conf.Name, URL: conf.URL, Slots: conf.Slots, Capacity: conf.Capacity,
		Version: Version, WorkerArgs: g.workerArgs(a.Home(), conf.Sources), Log: log, Observe: watch.Observer(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := watch.Look(s.Service); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	edge := s.NewEdge(app.EdgeConfig{
		URL: url, Hosts: conf.Hosts, Version: Version, Forwarded: conf.Proxy == "yes", Limits: conf.Limits, Metrics: watch.Metrics(), Log: log,
	})
	defer edge.Close()
	return g.answer(ctx, answering{
		server: s, edge: edge, conf: conf, log: log, link: link, listeners: listeners, handler: watch.HTTP(edge), metrics: watch.Metrics(),
	})
}

// serverLog is what the server tells about itself.
func (g *globals) serverLog(c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked with the configuration
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(g.Err, o))
	}
	return slog.New(slog.NewTextHandler(g.Err, o))
}

// answering is a server that is ready to be asked.
type answering struct {
	server    *app.Server
	edge      *app.Edge
	conf      *config.Loaded
	log       *slog.Logger
	link      bool // print a link even when somebody has a token
	listeners []net.Listener
	handler   http.Handler
	metrics   http.Handler
}

// answer answers requests until ctx ends, and then lets runs and callers end for a while.
func (g *globals) answer(ctx context.Context, o answering) error {
	h := app.NewHTTPServer(o.handler, o.log)
	m, ml, err := metricsServer(ctx, o)
	if err != nil {
		return err
	}
	keep, stopKeeping := context.WithCancel(ctx)
	kept := make(chan struct{})
	go func() { defer close(kept); o.server.Keep(keep, app.Retention(o.conf.Retention)) }()
	defer func() { stopKeeping(); <-kept }()
	failed := make(chan error, len(o.listeners)+1)
	for _, l := range o.listeners {
		go func() { failed <- h.Serve(l) }()
		g.info("server %s listens on %s", o.server.Name(), addressURL(l, o.conf.TLS.Cert != ""))
		if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && o.conf.TLS.Cert == "" && o.conf.Proxy != "yes" {
			g.info("warning: others on the network can read tokens and data on their way: set --tls-cert and --tls-key, or put a proxy with TLS before it (--proxy yes)")
		}
	}
	if ml != nil {
		go func() { failed <- m.Serve(ml) }()
		g.info("metrics at %s/metrics", addressURL(ml, false))
	}
	if err := g.welcome(ctx, o); err != nil {
		return err
	}
	notifySystemd("READY=1")
	select {
	case <-ctx.Done():
	case err := <-failed:
		return err
	}
	notifySystemd("STOPPING=1")
	err = g.endServer(ctx, o, h)
	if ml != nil {
		m.Close()
	}
	return err
}

// metricsServer answers /metrics at an address of its own, when one is set.
func metricsServer(ctx context.Context, o answering) (*http.Server, net.Listener, error) {
	if o.conf.Metrics.Listen == "" {
		return nil, nil, nil
	}
	ls, err := app.Listen(ctx, []string{o.conf.Metrics.Listen}, nil)
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.metrics)
	return app.NewHTTPServer(mux, o.log), ls[0], nil
}

// welcome prints how to get in, as long as nobody can manage the server.
func (g *globals) welcome(ctx context.Context, o answering) error {
	managed, err := o.edge.Managed(ctx)
	if err != nil {
		return err
	}
	if managed && !o.link {
		g.info("log in with a token; whoever lost theirs starts the server with --login-link")
		return nil
	}
	g.info("to manage the server, open this link once, within ten minutes (or: longshore login LINK):\n  %s", o.edge.LoginLink())
	return nil
}

// endServer lets callers and runs end for a while. What still runs then goes on in its worker, and is taken up at the next start.
func (g *globals) endServer(ctx context.Context, o answering, h *http.Server) error {
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.conf.Drain)
	defer cancel()
	if n := o.server.Busy(); n > 0 {
		g.info("waiting up to %s for %d runs; no new ones are taken", o.conf.Drain, n)
	}
	if o.server.Drain(wait) != nil {
		g.info("%d runs are still under way; they go on, and are taken up at the next start", o.server.Busy())
	}
	// Followers of streams would keep the server for ever: they get a moment, and connect again to the next one.
	moment, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := h.Shutdown(moment); err != nil {
		return h.Close()
	}
	return nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// addressURL is where a listener is reached from this machine.
func addressURL(l net.Listener, tls bool) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	scheme := "http://"
	if tls {
		scheme = "https://"
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return scheme + l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + net.JoinHostPort(host, port)
}

// notifySystemd tells the service manager, when there is one that wants to know (sd_notify).
func notifySystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return // whoever wanted to know is gone
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}

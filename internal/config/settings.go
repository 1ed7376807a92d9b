// Package config holds the settings of a server: one table from which the configuration file, the environment, the flags and
// the documentation are made. It knows what a setting looks like and where it came from, and nothing of what is done with it.
package config

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"longshore/internal/task"
)

// Server is how a server is set up.
type Server struct {
	// Listen are addresses for the API and the web page: "host:port", or "unix:PATH".
	Listen []string
	// URL is where callers and other servers reach this one.
	URL string
	// Hosts are names that callers use besides the one in URL. Proxy is "yes" behind a reverse proxy that sets
	// X-Forwarded-For and X-Forwarded-Proto, and nowhere else.
	Hosts []string
	Proxy string
	Name  string

	Database string
	Blobs    string

	Slots    int
	Capacity task.Resources
	// Network is "none" or "allowed": whether runs that ask for it get the machine's network.
	Network string
	// Sources are the addresses, besides public ones, that git sources and images of imported packages may come from.
	Sources []string

	TLS       TLS
	Limits    Limits
	Retention Retention
	// Drain is how long the end of the server waits for runs that are under way; they go on in their worker afterwards.
	Drain time.Duration

	Log     Log
	Metrics Metrics
	Traces  Traces
}

// TLS names the files of a certificate and its key, in PEM. They are read again when they change.
type TLS struct{ Cert, Key string }

// Limits bound what callers may ask for. Zero means no bound.
type Limits struct {
	// Upload is the size of one uploaded file, package or request with files.
	Upload task.Bytes
	// Rate is requests per second and token (or address), Burst how many may come at once.
	Rate, Burst int
}

// Retention says how long things are kept. Zero keeps for ever.
type Retention struct {
	Files, Runs, Audit time.Duration
	// Disk is what the blobs may take before the files of the oldest runs go.
	Disk task.Bytes
}

// Log is what is told of the server's own doings, on standard error.
type Log struct{ Level, Format string }

// Metrics says where /metrics is answered without a token; empty for nowhere (with a token it is at the API's address).
type Metrics struct{ Listen string }

// Traces says where spans are sent to by OTLP over HTTP. Without a URL there are none, at no cost.
type Traces struct {
	URL     string
	Headers []string
	// Ratio of requests that are traced, 0 to 1.
	Ratio float64
}

// Default is what counts where nothing is said.
func Default() Server {
	return Server{
		Listen: []string{"127.0.0.1:8470"}, Network: "none", Sources: []string{"private"}, Proxy: "no",
		Limits:    Limits{Upload: 10 << 30, Rate: 200, Burst: 400},
		Retention: Retention{Files: 30 * day, Audit: 365 * day},
		Drain:     30 * time.Second,
		Log:       Log{Level: "info", Format: "text"},
		Traces:    Traces{Ratio: 1},
	}
}

// Setting is one row of the table.
type Setting struct {
	// Key is its name in the file, with dots between sections: "retention.files".
	Key   string
	Usage string
	// Secret settings are not printed, and can be read from a file: Key + "-file".
	Secret bool
	// Value reads and writes the field of the Server that the table was made for.
	Value pflag.Value
}

// Flag is the setting's flag, without dashes in front.
func (s Setting) Flag() string { return strings.ReplaceAll(s.Key, ".", "-") }

// EnvPrefix is what the environment variables of all settings begin with. No other variable does.
const EnvPrefix = "LONGSHORE_SERVE_"

// Env is the setting's environment variable.
func (s Setting) Env() string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(s.Key))
}

// Settings is the table of c: what is set through it changes c.
func (c *Server) Settings() []Setting {
	return []Setting{
		{Key: "listen", Value: listOf(&c.Listen), Usage: "addresses of the API and the web page: host:port, or unix:PATH"},
		{Key: "url", Value: textOf(&c.URL), Usage: "where callers and other servers reach this one, such as https://longshore.example.org (default: the first address)"},
		{Key: "hosts", Value: listOf(&c.Hosts), Usage: "names by which callers reach the server besides the one in url; on a loopback address no other name is answered without a token"},
		{Key: "proxy", Value: choiceOf(&c.Proxy, "no", "yes"), Usage: "whether a reverse proxy stands before the server, whose X-Forwarded-For and X-Forwarded-Proto count: no, yes"},
		{Key: "name", Value: textOf(&c.Name), Usage: "what tells this server apart from others on the same database; it must stay the same over restarts (default: made up once and kept)"},
		{Key: "db", Value: textOf(&c.Database), Secret: true, Usage: "the database: postgres://USER:PASSWORD@HOST/NAME, or a file for SQLite (default: a file in the home folder)"},
		{Key: "blobs", Value: textOf(&c.Blobs), Secret: true, Usage: "where inputs, outputs and packages are kept: a folder, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME (default: a folder in the home folder)"},
		{Key: "slots", Value: countOf(&c.Slots), Usage: "how many runs may be under way at once; 0 for four per CPU"},
		{Key: "capacity.cpu", Value: cpuOf(&c.Capacity.CPU), Usage: "CPUs that runs may use together; 0 for all that the machine has"},
		{Key: "capacity.memory", Value: bytesOf(&c.Capacity.Memory), Usage: "memory that runs may use together, such as 24Gi; 0 for all that the machine has"},
		{Key: "network", Value: choiceOf(&c.Network, "none", "allowed"), Usage: "whether runs that ask for it get the machine's network: none, allowed"},
		{Key: "sources.allow", Value: listOf(&c.Sources), Usage: "where git sources and images of imported packages may come from besides public addresses: host names, addresses, networks such as 127.0.0.0/8, and private for all private networks; never this machine or its cloud's metadata unless they are named"},
		{Key: "tls.cert", Value: textOf(&c.TLS.Cert), Usage: "a certificate chain in PEM; with it everything is HTTPS. It is read again when the file changes"},
		{Key: "tls.key", Value: textOf(&c.TLS.Key), Usage: "the certificate's private key in PEM"},
		{Key: "limits.upload", Value: bytesOf(&c.Limits.Upload), Usage: "the largest upload: a file, a package, or a request with files"},
		{Key: "limits.rate", Value: countOf(&c.Limits.Rate), Usage: "requests per second of one token, or of one address without; 0 for no limit"},
		{Key: "limits.burst", Value: countOf(&c.Limits.Burst), Usage: "how many requests of one token or address may come at once"},
		{Key: "retention.files", Value: ageOf(&c.Retention.Files), Usage: "how long files and logs of ended runs are kept, such as 12h or 30d; 0 for ever"},
		{Key: "retention.runs", Value: ageOf(&c.Retention.Runs), Usage: "how long ended runs stay on record; 0 for ever"},
		{Key: "retention.audit", Value: ageOf(&c.Retention.Audit), Usage: "how long the audit log reaches back; 0 for ever"},
		{Key: "retention.disk", Value: bytesOf(&c.Retention.Disk), Usage: "what files may take before those of the oldest runs are removed early; 0 for no limit"},
		{Key: "drain-timeout", Value: ageOf(&c.Drain), Usage: "how long the end of the server waits for its runs; those that last longer go on in their worker, and the next start takes them up"},
		{Key: "log.level", Value: choiceOf(&c.Log.Level, "debug", "info", "warn", "error"), Usage: "what is logged on standard error: debug, info, warn, error"},
		{Key: "log.format", Value: choiceOf(&c.Log.Format, "text", "json"), Usage: "the form of the log: text, json"},
		{Key: "metrics.listen", Value: textOf(&c.Metrics.Listen), Usage: "an address that answers /metrics without a token, such as 127.0.0.1:9470 (with a token: at the API's address)"},
		{Key: "otlp", Value: textOf(&c.Traces.URL), Usage: "where traces are sent (OTLP over HTTP), such as http://127.0.0.1:4318; nothing is traced without"},
		{Key: "otlp-headers", Value: listOf(&c.Traces.Headers), Secret: true, Usage: "headers of the requests that carry traces: NAME=VALUE"},
		{Key: "otlp-ratio", Value: ratioOf(&c.Traces.Ratio), Usage: "the part of all requests and runs that is traced, 0 to 1"},
	}
}

// Package client talks to a Longshore server by its REST API. Connections that are lost are made again where nothing can happen
// twice by it: reading, waiting, following, uploading, and submitting, which always has an idempotency key. Errors of the server
// come back as *task.Error, with its code, hint and findings.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "longshore/internal/api/v1"
	"longshore/internal/task"
)

// Client is a server as one token sees it. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	o     Options
	token string
}

// Options say how a server is reached. URL must be set.
type Options struct {
	// URL is the server's, such as http://127.0.0.1:8470.
	URL string
	// Token is the secret, lsk_…; empty for what needs none.
	Token string
	// HTTP is nil for a client of its own, whose connections are made within ten seconds.
	HTTP *http.Client
	// CA is certificates in PEM that are trusted beside the system's; only for a client of its own.
	CA string
	// UserAgent tells the server what calls.
	UserAgent string
	// Patience is how long a server that does not answer is asked again; zero means 30 seconds, negative not at all.
	Patience time.Duration
	// Lost, when not nil, is told once whenever the server stops answering, and Back when it answers again.
	Lost func(error)
	Back func()
}

// New makes a client. Nothing is asked of the server yet.
func New(o Options) (*Client, error) {
	if !strings.Contains(o.URL, "://") {
		o.URL = "http://" + o.URL
	}
	base, err := url.Parse(o.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, task.Errorf(task.CodeUsage, "%q is no server's address", o.URL).WithHint("write it as http://host:8470 or https://host")
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	base.RawQuery, base.Fragment = "", ""
	if o.HTTP == nil {
		if o.HTTP, err = newHTTP(o.CA); err != nil {
			return nil, err
		}
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	return &Client{base: base, o: o, token: o.Token}, nil
}

// newHTTP follows no redirects: the token is for the server that was named, and for nobody it sends on to.
func newHTTP(ca string) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	t.MaxIdleConnsPerHost = 32
	if ca != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool() // a machine without any
		}
		if !roots.AppendCertsFromPEM([]byte(ca)) {
			return nil, task.Errorf(task.CodeUsage, "there is no certificate in what is to be trusted").WithHint("it is a file in PEM, with -----BEGIN CERTIFICATE-----")
		}
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// URL is the server's.
func (c *Client) URL() string { return c.base.String() }

// request is one question to the server.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	kind         string
	// accept is the media type that the answer must have; empty for any.
	accept string
	// body opens the content, each time it is sent; nil for none.
	body func() (io.ReadCloser, error)
	// once tells that it must not be sent again when it is not known whether it arrived.
	once bool
}

// jsonRequest has v as its body.
func jsonRequest(method, path string, v any) (request, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return request{}, err
	}
	return request{
		method: method, path: path, kind: jsonType, header: http.Header{},
		body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}, nil
}

// The bounds of what a server may answer, in bytes, and the media type of most of it.
const (
	maxAnswer = 256 << 20
	jsonType  = "application/json"
)

// call asks, and reads the answer into out; nil for an answer that has no content.
func (c *Client) call(ctx context.Context, r request, out any) error {
	var failed error
	if out != nil {
		r.accept = jsonType
	}
	err := c.retry(ctx, r.once, func() error {
		res, err := c.send(ctx, r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if out == nil {
			if res.StatusCode != http.StatusNoContent {
				return c.strange(res)
			}
			return nil
		}
		data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		if err != nil {
			return &lost{err}
		}
		failed = json.Unmarshal(data, out)
		return nil
	})
	if err == nil && failed != nil {
		err = task.Errorf(task.ReasonEngine, "the answer of %s cannot be read: %w", c.base, failed).WithHint("is it a Longshore server, of a version that fits?")
	}
	return err
}

// send asks once, and answers the response of one that went well.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	to := *c.base
	to.Path += r.path
	to.RawPath = ""
	to.RawQuery = r.query.Encode()
	var body io.ReadCloser
	if r.body != nil {
		var err error
		if body, err = r.body(); err != nil {
			return nil, err
		}
	}
	q, err := http.NewRequestWithContext(ctx, r.method, to.String(), body)
	if err != nil {
		return nil, task.Errorf(task.CodeUsage, "%s %s: %w", r.method, r.path, err)
	}
	for name, v := range r.header {
		q.Header[name] = v
	}
	if r.kind != "" {
		q.Header.Set("Content-Type", r.kind)
	}
	if c.token != "" {
		q.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.o.UserAgent != "" {
		q.Header.Set("User-Agent", c.o.UserAgent)
	}
	res, err := c.o.HTTP.Do(q)
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 && (r.accept == "" || r.accept == mediaType(res)) {
		return res, nil
	}
	defer res.Body.Close()
	return nil, c.refused(res)
}

func mediaType(res *http.Response) string {
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // what cannot be read is none
	return kind
}

// lost is the error of a connection that broke, or never came to be.
type lost struct{ err error }

func (l *lost) Error() string { return l.err.Error() }
func (l *lost) Unwrap() error { return l.err }

func (c *Client) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*task.Error](err); ok {
		return e // of a body that could not be read
	}
	if e := c.noTrust(err); e != nil {
		return e
	}
	return &lost{err}
}

// away is the error of a server that is not there, for people; others stay as they are.
func (c *Client) away(err error) error {
	gone, ok := errors.AsType[*lost](err)
	if !ok {
		return err
	}
	return task.Errorf(task.ReasonEngine, "the server at %s does not answer: %w", c.base, gone.err).WithHint("check that it runs, and its address")
}

// noTrust is the error of a server that does answer, and that no further try would make speak as it should; else nil.
func (c *Client) noTrust(err error) error {
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case cert:
		return task.Errorf(task.ReasonEngine, "the certificate of %s is not trusted: %w", c.base, err).
			WithHint("where an authority of your own signed it: longshore login %s --ca FILE; or name the file in SSL_CERT_FILE", c.base)
	case record, errors.Is(err, http.ErrSchemeMismatch):
		return task.Errorf(task.ReasonEngine, "%s does not speak TLS: %w", c.base, err).WithHint("is its address http://%s?", c.base.Host)
	}
	return nil
}

// busy is the error of a server that asks to come again.
type busy struct {
	err   *task.Error
	after time.Duration
	// untouched tells that the server did nothing.
	untouched bool
}

func (b *busy) Error() string { return b.err.Error() }
func (b *busy) Unwrap() error { return b.err }

// refused reads the server's error.
func (c *Client) refused(res *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(res.Body, 8<<20)) // what there is of it
	var p v1.Problem
	if res.StatusCode < 400 || mediaType(res) != v1.ProblemType || json.Unmarshal(data, &p) != nil {
		return later(res, c.strange(res))
	}
	return later(res, p.Err())
}

// strange is the error of an answer that is not Longshore's: a proxy's, or another server's.
func (c *Client) strange(res *http.Response) *task.Error {
	what := res.Status
	if kind := mediaType(res); kind != "" {
		what += " with " + kind
	}
	e := &task.Error{Code: codeOf(res.StatusCode), Message: fmt.Sprintf("%s answered %s, not as a Longshore server does", c.base, what)}
	to, err := res.Location()
	switch {
	case err == nil:
		to.Path, to.RawPath, to.RawQuery = strings.TrimSuffix(to.Path, strings.TrimPrefix(res.Request.URL.Path, c.base.Path)), "", ""
		return e.WithHint("it sends on to %s: if that is the server, use this address", to)
	case res.StatusCode == http.StatusBadRequest && c.base.Scheme == "http":
		return e.WithHint("check the server's address: is it https://%s?", c.base.Host)
	}
	return e.WithHint("check the server's address")
}

// later tells the errors of a server that may answer later from those that are final.
func later(res *http.Response, e *task.Error) error {
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		after, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		return &busy{err: e, after: time.Duration(after) * time.Second, untouched: res.StatusCode == http.StatusTooManyRequests}
	}
	return e
}

// codeOf is the code of an answer that is not Longshore's: a proxy's.
func codeOf(status int) task.Code {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return task.CodeAccess
	case status == http.StatusNotFound:
		return task.CodeMissing
	case status == http.StatusRequestEntityTooLarge || status == http.StatusTooManyRequests:
		return task.CodeLimit
	case status >= 300 && status < 500:
		return task.CodeUsage
	}
	return task.ReasonEngine
}

// The waits between tries.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 3 * time.Second
)

// retry asks until there is an answer, or patience has run out.
func (c *Client) retry(ctx context.Context, once bool, ask func() error) error {
	start, told := time.Now(), false
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := ask()
		gone, away := errors.AsType[*lost](err)
		b, wait := errors.AsType[*busy](err)
		if !away && !wait {
			if told && c.o.Back != nil {
				c.o.Back()
			}
			return err
		}
		again := !once || wait && b.untouched
		if wait {
			pause = max(pause, b.after)
		}
		if !again || time.Since(start)+pause > c.o.Patience {
			if wait {
				return b.err
			}
			return c.away(gone)
		}
		if !told && away && c.o.Lost != nil {
			told = true
			c.o.Lost(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.call(ctx, request{method: http.MethodGet, path: path, query: query}, out)
}

func (c *Client) sendJSON(ctx context.Context, method, path string, once bool, in, out any) error {
	r, err := jsonRequest(method, path, in)
	if err != nil {
		return err
	}
	r.once = once
	return c.call(ctx, r, out)
}

// values makes a query of what is not empty.
func values(pairs map[string]string) url.Values {
	v := url.Values{}
	for name, value := range pairs {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

func yes(b bool) string {
	if b {
		return "true"
	}
	return ""
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

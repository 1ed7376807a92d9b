package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"longshore/internal/blob"
	"longshore/internal/blob/blobtest"
	"longshore/internal/blob/s3"
)

const (
	access = "longshore-test"
	secret = "a secret of the tests"
)

// server is a real S3 server, which keeps what it stores in a folder.
type server struct{ url, dir string }

// start starts the server that scripts/s3-server.sh builds.
func start(t testing.TB) server {
	t.Helper()
	found, err := filepath.Glob("../../../.cache/s3-server/versitygw-v*[0-9]")
	if err != nil || len(found) == 0 {
		t.Skip("no S3 server to test against: run scripts/s3-server.sh")
	}
	dir := t.TempDir()
	s := server{dir: filepath.Join(dir, "buckets")}
	for _, d := range []string{s.dir, filepath.Join(dir, "meta")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := socket.Addr().String()
	socket.Close()
	var log bytes.Buffer
	cmd := exec.Command(found[len(found)-1], "--port", address, "--access", access, "--secret", secret, "--region", "us-east-1", "--quiet",
		"posix", "--sidecar", filepath.Join(dir, "meta"), s.dir)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("the S3 server: %s", log.String())
		}
	})
	s.url = "http://" + address
	for ctx := t.Context(); ; {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			c.Close()
			return s
		}
		if ctx.Err() != nil || cmd.ProcessState != nil {
			t.Fatalf("the S3 server does not answer: %v", err)
		}
	}
}

// bucket makes a bucket, which is a folder to the server.
func (s server) bucket(t testing.TB, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
}

func config(t testing.TB, endpoint, bucket string) s3.Config {
	return s3.Config{
		URL:         fmt.Sprintf("s3://%s/some/where?endpoint=%s&region=us-east-1", bucket, url.QueryEscape(endpoint)),
		Cache:       filepath.Join(t.TempDir(), "cache"),
		Credentials: credentials.NewStaticV4(access, secret, ""),
		Stall:       time.Second,
	}
}

func open(t testing.TB, cfg s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3(t *testing.T) {
	srv := start(t)
	var n atomic.Int64
	blobtest.Run(t, blobtest.Suite{Clock: time.Second, Open: func(t *testing.T) (blob.Store, func() blob.Store) {
		bucket := fmt.Sprint("bucket-", n.Add(1))
		srv.bucket(t, bucket)
		return open(t, config(t, srv.url, bucket)), func() blob.Store { return open(t, config(t, srv.url, bucket)) }
	}})
}

func TestOpenFailures(t *testing.T) {
	srv := start(t)
	srv.bucket(t, "there")
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	for name, c := range map[string]struct {
		change func(*s3.Config)
		want   string
	}{
		"wrong secret":   {func(c *s3.Config) { c.Credentials = credentials.NewStaticV4(access, "wrong", "") }, "refuses the credentials"},
		"unknown key":    {func(c *s3.Config) { c.Credentials = credentials.NewStaticV4("nobody", secret, "") }, "credentials"},
		"missing bucket": {func(c *s3.Config) { c.URL = strings.Replace(c.URL, "there", "nowhere", 1) }, "bucket nowhere of 127.0.0.1"},
		"nobody listens": {func(c *s3.Config) {
			c.URL = "s3://there?region=us-east-1&endpoint=" + url.QueryEscape("http://"+refused.Addr().String())
		}, "connection refused"},
		"no bucket":       {func(c *s3.Config) { c.URL = "s3://" }, "names no bucket"},
		"other scheme":    {func(c *s3.Config) { c.URL = "gs://there" }, "names no bucket"},
		"secret in URL":   {func(c *s3.Config) { c.URL = "s3://key:hidden@there" }, "belong into the environment"},
		"unknown setting": {func(c *s3.Config) { c.URL = "s3://there?regoin=x" }, `"regoin"`},
		"bad endpoint":    {func(c *s3.Config) { c.URL = "s3://there?endpoint=localhost:9000" }, "the endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, srv.url, "there")
			c.change(&cfg)
			_, err := s3.New(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("%v, want it to say %q", err, c.want)
			}
			if errors.Is(err, blob.ErrAway) != (name == "nobody listens") {
				t.Errorf("%v is told as a storage that does not answer", err)
			}
		})
	}
}

// TestUsualCredentials reads them from where S3 clients do.
func TestUsualCredentials(t *testing.T) {
	srv := start(t)
	srv.bucket(t, "there")
	cfg := config(t, srv.url, "there")
	cfg.Credentials = nil
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = "+access+"\naws_secret_access_key = "+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_PROFILE"} {
		t.Setenv(v, "")
	}
	open(t, cfg)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_ACCESS_KEY_ID", access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	open(t, cfg)
}

// proxy stands between client and server, and may fail requests.
type proxy struct {
	*httptest.Server
	mu   sync.Mutex
	fail func(w http.ResponseWriter, r *http.Request) bool // true when it has answered
	seen map[string]int
}

func newProxy(t *testing.T, to string) *proxy {
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{seen: map[string]int{}}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }, ErrorLog: nil}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		fail := p.fail
		p.seen[r.Method]++
		p.mu.Unlock()
		if fail == nil || !fail(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) set(fail func(http.ResponseWriter, *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
	clear(p.seen)
}

func (p *proxy) count(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[method]
}

func through(t *testing.T) (*proxy, *s3.Store) {
	srv := start(t)
	srv.bucket(t, "there")
	p := newProxy(t, srv.url)
	return p, open(t, config(t, p.URL, "there"))
}

func put(t *testing.T, s blob.Store, content string) blob.Info {
	t.Helper()
	i, err := s.Put(t.Context(), strings.NewReader(content), 0)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestRetriesAreBounded(t *testing.T) {
	p, s := through(t)
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	if _, err := s.Put(t.Context(), strings.NewReader("never"), 0); err == nil {
		t.Error("a storage that always fails took a blob")
	}
	if n := p.count(http.MethodHead); n == 0 || n > 6 {
		t.Errorf("%d requests, want a few", n)
	}
	var failures atomic.Int64
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || failures.Add(1) > 2 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	i, err := s.Put(t.Context(), strings.NewReader("at last"), 0)
	if err != nil {
		t.Fatalf("a storage that failed twice: %v", err)
	}
	if _, err := s.Stat(t.Context(), i.Digest); err != nil {
		t.Error(err)
	}
}

func TestStalledServer(t *testing.T) {
	p, s := through(t)
	i := put(t, s, "content")
	release := make(chan struct{})
	p.set(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := s.Stat(ctx, i.Digest); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the caller's own deadline", err)
	}
	begun := time.Now()
	if _, err := s.Stat(t.Context(), i.Digest); err == nil || time.Since(begun) > time.Minute {
		t.Errorf("%v after %s, want an error once the storage says nothing for a while", err, time.Since(begun))
	}
}

// cut answers half of what is asked for, and then nothing.
func cut(w http.ResponseWriter, content string) {
	c, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\nLast-Modified: Mon, 02 Jan 2006 15:04:05 GMT\r\nETag: \"x\"\r\nContent-Length: %d\r\n\r\n%s", len(content), content[:len(content)/2])
	buf.Flush()
}

func TestConnectionCut(t *testing.T) {
	p, s := through(t)
	content := strings.Repeat("0123456789", 10_000)
	i := put(t, s, content)
	fresh := func() *s3.Store { return open(t, config(t, p.URL, "there")) } // with nothing in its cache
	var cuts atomic.Int64
	once := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") || cuts.Add(1) > 1 {
			return false
		}
		cut(w, content)
		return true
	}
	other := fresh()
	p.set(once)
	r, _, err := other.Open(t.Context(), i.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != content || cuts.Load() < 2 {
		t.Errorf("%d bytes, %v after %d requests; want all of it, by going on", len(got), err, cuts.Load())
	}
	cuts.Store(0)
	path, release, err := other.Local(t.Context(), i.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if got, err := os.ReadFile(path); err != nil || string(got) != content {
		t.Errorf("%d bytes, %v", len(got), err)
	}

	// A storage that cuts every time before anything comes, and one that answers something else.
	p.set(nil)
	other = fresh()
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.Header().Set("ETag", `"x"`)
		fmt.Fprint(w, strings.Repeat("x", len(content)))
		return true
	})
	if _, _, err := other.Local(t.Context(), i.Digest); err == nil || !strings.Contains(err.Error(), "another content") {
		t.Errorf("%v, want the changed object refused", err)
	}
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		panic(http.ErrAbortHandler)
	})
	if _, _, err := other.Local(t.Context(), i.Digest); err == nil {
		t.Error("a storage that cuts every time gave a file")
	}
}

// TestUploadCut has the connection cut while a blob is sent.
func TestUploadCut(t *testing.T) {
	p, s := through(t)
	content := strings.Repeat("0123456789", 1<<20)
	var cuts atomic.Int64
	p.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || cuts.Add(1) > 1 {
			return false
		}
		_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
		panic(http.ErrAbortHandler)
	})
	i, err := s.Put(t.Context(), strings.NewReader(content), 0)
	if err != nil || i.Digest != blobtest.Digest([]byte(content)) {
		t.Fatalf("%+v, %v; want it sent again", i, err)
	}
	p.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
		panic(http.ErrAbortHandler)
	})
	other := content + "."
	if _, err := s.Put(t.Context(), strings.NewReader(other), 0); err == nil {
		t.Error("a storage that cuts every upload took a blob")
	}
	p.set(nil)
	if _, err := s.Stat(t.Context(), blobtest.Digest([]byte(other))); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("%v, want nothing of it", err)
	}
}

func TestNoRoom(t *testing.T) {
	p, s := through(t)
	p.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusInsufficientStorage)
		fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>XMinioStorageFull</Code><Message>full</Message></Error>`)
		return true
	})
	if _, err := s.Put(t.Context(), strings.NewReader("too much"), 0); !errors.Is(err, blob.ErrFull) {
		t.Errorf("%v, want ErrFull", err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	srv := start(t)
	srv.bucket(t, "there")
	cfg := config(t, srv.url, "there")
	cfg.CacheSize = 3000
	s := open(t, cfg)
	size := func() (n int64) {
		entries, err := os.ReadDir(cfg.Cache)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			n += info.Size()
		}
		return n
	}
	var all []blob.Info
	for n := range 6 {
		all = append(all, put(t, s, strings.Repeat(fmt.Sprint(n), 1000)))
	}
	if got := size(); got != 3000 {
		t.Errorf("the cache has %d bytes, want 3000", got)
	}
	// What is in use stays, even when that is more than there is room for.
	var releases []func()
	for _, i := range all {
		path, release, err := s.Local(t.Context(), i.Digest)
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if got := size(); got != 6000 {
		t.Errorf("the cache has %d bytes of files in use, want 6000", got)
	}
	for _, release := range releases {
		release()
		release() // twice is once
	}
	if got := size(); got != 3000 {
		t.Errorf("the cache has %d bytes, want 3000", got)
	}
	// The next process finds what is there, and drops what was never finished.
	if err := os.WriteFile(filepath.Join(cfg.Cache, "tmp-1"), make([]byte, 500), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.CacheSize = 2000
	open(t, cfg)
	if got := size(); got != 2000 {
		t.Errorf("the cache has %d bytes after a restart, want 2000", got)
	}
}

// TestFetchedOnce has many want one blob: it is fetched once.
func TestFetchedOnce(t *testing.T) {
	p, s := through(t)
	i := put(t, s, strings.Repeat("wanted", 100_000))
	other := open(t, config(t, p.URL, "there"))
	p.set(nil)
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			_, release, err := other.Local(t.Context(), i.Digest)
			if err != nil {
				t.Error(err)
				return
			}
			release()
		})
	}
	wait.Wait()
	if n := p.count(http.MethodGet); n != 1 {
		t.Errorf("fetched %d times, want once", n)
	}
}

// TestRemovalMeetsWriter has a blob put again while its removal is on its way to the storage and can not be called back.
func TestRemovalMeetsWriter(t *testing.T) {
	p, s := through(t)
	i := put(t, s, "wanted again")
	other := open(t, config(t, p.URL, "there"))
	removing, looked, let := make(chan struct{}), make(chan struct{}, 100), make(chan struct{})
	p.set(func(_ http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/blobs/"):
			close(removing)
			<-let
		case r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/condemned/"):
			looked <- struct{}{}
		}
		return false
	})
	removed, written := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.Remove(t.Context(), i.Digest, time.Now().Add(time.Hour))
		removed <- err
	}()
	<-removing
	go func() {
		_, err := other.Put(t.Context(), strings.NewReader("wanted again"), 0)
		written <- err
	}()
	select {
	case err := <-written:
		t.Errorf("Put did not wait for the removal: %v", err)
		written <- err
	case <-looked:
	}
	close(let)
	if err := errors.Join(<-removed, <-written); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(t.Context(), i.Digest); err != nil {
		t.Errorf("what was put is gone: %v", err)
	}
}

// TestDeadRemover finds the mark of a process that died while it removed a blob.
func TestDeadRemover(t *testing.T) {
	srv := start(t)
	srv.bucket(t, "there")
	cfg := config(t, srv.url, "there")
	cfg.Removal = 500 * time.Millisecond
	s := open(t, cfg)
	i := put(t, s, "content")
	mark := filepath.Join(srv.dir, "there", "some/where/condemned", strings.TrimPrefix(i.Digest, "sha256:"))
	if err := os.MkdirAll(filepath.Dir(mark), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, s, "content")
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mark is still there: %v", err)
	}
}

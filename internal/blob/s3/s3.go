// Package s3 keeps blobs as objects of a bucket of Amazon S3, or of another storage that speaks its protocol:
//
//	<prefix>blobs/<the 64 digits>      one object per blob
//	<prefix>condemned/<the 64 digits>  a blob that is being removed (see remove.go)
//
// What is put goes to a file of the cache first, so that its digest and size are known, it can be sent again, and the runs of
// this machine have it at hand. It is uploaded under its own name: an object appears when all of it has arrived, and in parts
// when it is large.
package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"longshore/internal/blob"
)

// Config says where the blobs are.
type Config struct {
	// URL is "s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME]". Without an endpoint it is Amazon's. Who may write there is
	// asked of the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), of ~/.aws/credentials
	// (AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE), and of the machine's role, in this order.
	URL string
	// Cache is a folder of this process alone for copies of blobs, and CacheSize how many bytes they may take: those that
	// were not used for the longest time go. What is in use may take more. Zero means 10 GiB.
	Cache     string
	CacheSize int64
	// Stall is how long the storage may say nothing on an open connection; zero means a minute.
	Stall time.Duration
	// Removal bounds how long the removal of one blob may take, the same for all processes of a bucket; zero means a minute.
	Removal time.Duration
	// Credentials replace those that are asked for as URL says.
	Credentials *credentials.Credentials
}

const (
	defaultCache = 10 << 30
	defaultStall = time.Minute
	// defaultRemoval is for a few small requests.
	defaultRemoval = time.Minute
	// retries bounds how often one request is sent again after an error that may pass.
	retries = 4
	// partSize is what is sent at once of a large file, in bytes. With the 10,000 parts that S3 allows this is 640 GB.
	partSize = 64 << 20
)

// Store keeps blobs in a bucket. It is safe for concurrent use, also by several processes with a cache each.
type Store struct {
	client         *minio.Core
	bucket, prefix string
	where          string // for people
	cache          *cache
	removal        time.Duration
}

var _ blob.Store = (*Store)(nil)

// New opens a bucket, which must exist.
func New(ctx context.Context, cfg Config) (*Store, error) {
	p, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	opts := &minio.Options{
		Creds: cfg.Credentials, Secure: p.secure, Region: p.region, MaxRetries: retries + 1,
	}
	if opts.Creds == nil {
		opts.Creds = usualCredentials()
	}
	if opts.Transport, err = transport(p.secure, cmp.Or(cfg.Stall, defaultStall)); err != nil {
		return nil, err
	}
	s := &Store{bucket: p.bucket, prefix: p.prefix, where: "bucket " + p.bucket + " of " + p.host, removal: cmp.Or(cfg.Removal, defaultRemoval)}
	if s.client, err = minio.NewCore(p.host, opts); err != nil {
		return nil, fmt.Errorf("blob: %s: %w", s.where, err)
	}
	exists, err := s.client.BucketExists(ctx, s.bucket)
	if err != nil {
		return nil, s.trouble("opening", err)
	}
	if !exists {
		return nil, fmt.Errorf("blob: %s does not exist, or is not shown to these credentials: make it, or correct the address", s.where)
	}
	s.cache, err = openCache(cfg.Cache, cmp.Or(cfg.CacheSize, defaultCache))
	return s, err
}

// place is what a URL says.
type place struct {
	host, bucket, prefix, region string
	secure                       bool
}

func parse(text string) (place, error) {
	bad := func(why string) (place, error) {
		return place{}, fmt.Errorf("blob: %s: write it as s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=NAME", why)
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("the address of the storage cannot be read") // the error would show what may be secret
	}
	if u.Scheme != "s3" || u.Host == "" || u.Fragment != "" {
		return bad("the address of the storage names no bucket")
	}
	if u.User != nil {
		return bad("the address of the storage has credentials in it, which belong into the environment")
	}
	p := place{host: "s3.amazonaws.com", bucket: u.Host, secure: true, prefix: strings.Trim(u.Path, "/")}
	if p.prefix != "" {
		p.prefix += "/"
	}
	for key, values := range u.Query() {
		switch key {
		case "region":
			p.region = values[0]
		case "endpoint":
			e, err := url.Parse(values[0])
			if err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https" || strings.Trim(e.Path, "/") != "" || e.User != nil {
				return bad("the endpoint is no address like https://HOST:PORT")
			}
			p.host, p.secure = e.Host, e.Scheme == "https"
		default:
			return bad(fmt.Sprintf("the address of the storage has an unknown setting %q", key))
		}
	}
	return p, nil
}

func usualCredentials() *credentials.Credentials {
	return credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Timeout: 5 * time.Second}},
	})
}

// transport gives up on connections that stall.
func transport(secure bool, stall time.Duration) (http.RoundTripper, error) {
	t, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: min(stall, 10*time.Second)}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return stalling{c, stall}, nil
	}
	t.ResponseHeaderTimeout = stall
	return t, nil
}

// stalling is a connection that ends when neither a read nor a write gets on: each moves the deadline of both, as one waits for
// an answer while it sends.
type stalling struct {
	net.Conn
	limit time.Duration
}

func (c stalling) Read(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c stalling) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// key is a blob's object; a digest that is none is not found.
func (s *Store) key(digest string) (string, error) {
	digits, ok := blob.Hex(digest)
	if !ok {
		return "", blob.ErrNotFound
	}
	return s.prefix + "blobs/" + digits, nil
}

// trouble translates an answer of the storage.
func (s *Store) trouble(doing string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return fmt.Errorf("%w: %s: %s: %w", blob.ErrAway, s.where, doing, err)
	}
	switch answer.Code {
	case "NoSuchKey":
		return blob.ErrNotFound
	case "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage":
		return fmt.Errorf("%w: %s: %w", blob.ErrFull, s.where, err)
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden":
		return fmt.Errorf("blob: %s: %s: the storage refuses the credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do: %w", s.where, doing, err)
	}
	if answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%w: %s: %s: %w", blob.ErrAway, s.where, doing, err)
	}
	return fmt.Errorf("blob: %s: %s: %w", s.where, doing, err)
}

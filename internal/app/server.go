package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/blob"
	"longshore/internal/blob/disk"
	"longshore/internal/blob/s3"
	"longshore/internal/dispatch"
	"longshore/internal/dispatch/durable"
	"longshore/internal/dispatch/worker"
	"longshore/internal/engine"
	"longshore/internal/gitsource"
	"longshore/internal/image"
	"longshore/internal/outbound"
	"longshore/internal/store"
	"longshore/internal/store/sqlstore"
	"longshore/internal/task"
)

// ServerConfig says how a server is put together.
type ServerConfig struct {
	// Database is "postgres://…", "sqlite:PATH" or a path; empty means a file in Home.
	Database string
	// Blobs is a folder, or "s3://…"; empty means a folder in Home.
	Blobs string
	// Name tells this server apart from others of the same database; empty means one that is made up once and kept in Home.
	Name string
	// URL is where the other servers of the database reach this one; Version is the program's.
	URL, Version string
	Slots        int
	// Lease, Backoff and MaxAttempts are those of durable.Config; zero means its own.
	Lease, Backoff time.Duration
	MaxAttempts    int
	// Capacity bounds what runs use together; zero fields mean what the machine has.
	Capacity task.Resources
	// WorkerArgs make the command line of a worker process of this program.
	WorkerArgs []string
	// Observe is told of ends; nil tells nobody.
	Observe durable.Observer
	Log     *slog.Logger
}

// Server is everything that a server works with.
type Server struct {
	*durable.Service
	Store  store.Store
	Blobs  blob.Store
	Worker *worker.Client

	app  *App
	lock *os.File
}

// serverDir is where a server keeps what is its own.
func (a *App) serverDir() string { return filepath.Join(a.cfg.Home, "server") }

// jobs is where jobs are, for servers and workers alike.
func (a *App) jobs() string { return filepath.Join(a.serverDir(), "jobs") }

// NewServer opens database, blobs and worker. The caller starts the service, and closes the server. Home belongs to it alone while
// it lives.
func (a *App) NewServer(ctx context.Context, cfg ServerConfig) (_ *Server, err error) {
	dir := a.serverDir()
	if err := privateDir(dir); err != nil {
		return nil, task.Errorf(task.CodeUsage, "the server's folder cannot be made: %w", err).WithHint("name a folder that this user may write with --home or LONGSHORE_HOME")
	}
	s := &Server{app: a}
	defer func() {
		if err != nil && s.Store != nil {
			err = errors.Join(err, s.Store.Close())
		}
		if err != nil && s.lock != nil {
			err = errors.Join(err, s.lock.Close())
		}
	}()
	if s.lock, err = lockServer(dir, os.O_CREATE); err != nil {
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, task.Errorf(task.CodeUsage, "the server's folder cannot be locked: %w", err)
		}
		return nil, (&task.Error{Code: task.CodeUsage, Message: "another server works in " + a.cfg.Home}).WithHint("end it first, or give this one a folder of its own with --home; servers share work through one --db")
	}
	if cfg.Name == "" {
		if cfg.Name, err = ownServerName(filepath.Join(dir, "name")); err != nil {
			return nil, err
		}
	}
	if cfg.Database == "" {
		cfg.Database = filepath.Join(dir, "longshore.db")
	}
	db, err := sqlstore.Open(ctx, cfg.Database)
	if err != nil {
		return nil, err
	}
	s.Store = db
	if s.Blobs, err = openBlobs(ctx, cfg.Blobs, dir); err != nil {
		return nil, err
	}
	s.Worker, err = worker.NewClient(worker.ClientConfig{
		Dir: a.jobs(), Version: safeVersion(cfg.Version), LogFile: filepath.Join(dir, "worker.log"),
		Command: func() *exec.Cmd {
			c := exec.Command("/proc/self/exe", cfg.WorkerArgs...)
			c.Args[0] = os.Args[0] // for ps, and for programs that are several by their name
			return c
		},
	})
	if err != nil {
		return nil, err
	}
	d := a.Dispatcher()
	has := d.Capacity
	if cfg.Capacity.CPU > 0 {
		has.CPU = cfg.Capacity.CPU
	}
	if cfg.Capacity.Memory > 0 {
		has.Memory = cfg.Capacity.Memory
	}
	if p, ok := a.engine.(engine.GPUProvider); ok {
		if names, err := p.GPUs(); err == nil { // else there are none
			has.GPUs = len(names)
		}
	}
	s.Service, err = durable.New(durable.Config{
		Store: s.Store, Blobs: s.Blobs, Worker: s.Worker, Packages: &packages{app: a}, Dir: dir, Private: a.private(cfg), Name: cfg.Name, URL: cfg.URL, Version: cfg.Version,
		Capacity: has, Slots: cfg.Slots, Defaults: d.Policy.Defaults, Network: a.cfg.Policy.Network, Lease: cfg.Lease, Backoff: cfg.Backoff, MaxAttempts: cfg.MaxAttempts, Log: cfg.Log, Observe: cfg.Observe,
		Sweep: a.sweep,
	})
	return s, err
}

// privateDir makes a folder that nobody else on the machine can look into, whatever it was before: what callers have sent lies there
// with modes that containers can read. Containers get their inputs by mounts, which need no way to them.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// lockServer takes a server's folder for this process; flags say whether the lock's file may be made.
func lockServer(dir string, flags int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), flags|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes what workers that died have left: containers, the folders of runs, builds, and half-removed jobs.
func (a *App) sweep(ctx context.Context) error {
	var errs []error
	if s, ok := a.engine.(engine.Sweeper); ok {
		_, err := s.Sweep(ctx)
		errs = append(errs, err)
	}
	_, err := a.Dispatcher().Sweep()
	errs = append(errs, err)
	if images, err := a.Images(); err == nil {
		_, err = images.Sweep()
		errs = append(errs, err)
	}
	_, err = worker.SweepRemoved(a.jobs())
	return errors.Join(append(errs, err)...)
}

// ServerLeftovers lists, or removes, jobs that nobody carries out and that have no outcome. While a server works here there are
// none: it sees to them itself. What it has accepted is not lost with them.
func (a *App) ServerLeftovers(fix bool) ([]string, error) {
	lock, err := lockServer(a.serverDir(), 0)
	if err != nil {
		return nil, nil // there is none, or it works
	}
	defer lock.Close()
	if fix {
		return worker.Sweep(a.jobs())
	}
	return worker.Leftovers(a.jobs())
}

// Close retires the worker, which goes on alone until its jobs have ended, and closes what NewServer opened.
func (s *Server) Close() error {
	return errors.Join(s.Service.Close(), s.Worker.Close(true), s.Store.Close(), s.lock.Close())
}

// openBlobs opens a bucket or a folder; what has no name, and copies of what is in a bucket, are below dir.
func openBlobs(ctx context.Context, name, dir string) (blob.Store, error) {
	if strings.HasPrefix(name, "s3:") {
		b, err := s3.New(ctx, s3.Config{URL: name, Cache: filepath.Join(dir, "blob-cache")})
		if err != nil {
			return nil, task.Errorf(task.CodeUsage, "the storage for blobs cannot be used: %w", err).
				WithHint("check --blobs, and the credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the bucket must exist")
		}
		return b, nil
	}
	if scheme, _, ok := strings.Cut(name, "://"); ok {
		return nil, task.Errorf(task.CodeUsage, "files cannot be kept at %s://…", scheme).WithHint("--blobs is a folder, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME")
	}
	b, err := disk.New(cmp.Or(name, filepath.Join(dir, "blobs")))
	if err != nil {
		return nil, task.Errorf(task.CodeUsage, "the folder for blobs cannot be used: %w", err).WithHint("name one that this user may write with --blobs")
	}
	return b, nil
}

// private are the folders that a server keeps things in.
func (a *App) private(cfg ServerConfig) []string {
	dirs := []string{a.cfg.Home}
	if filepath.IsAbs(cfg.Blobs) {
		dirs = append(dirs, cfg.Blobs)
	}
	return dirs
}

// ownServerName makes a name up, once.
func ownServerName(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err == nil && len(data) > 0 {
		return strings.TrimSpace(string(data)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "server"
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	name := host + "-" + hex.EncodeToString(b[:])
	return name, os.WriteFile(file, []byte(name+"\n"), 0o600)
}

// safeVersion is a version as a part of a file's name.
func safeVersion(v string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, v)
}

// packages opens packages of strangers for a server.
type packages struct{ app *App }

var _ durable.Packages = (*packages)(nil)

// Open implements durable.Packages.
func (p *packages) Open(ctx context.Context, path, contractName, variant string) (durable.Opened, error) {
	pkg, err := p.app.Open(ctx, path, OpenOptions{Contract: contractName, Variant: variant, Stranger: true})
	if err != nil {
		return durable.Opened{}, err
	}
	defer pkg.Close()
	return durable.Opened{Task: pkg.Task, Findings: pkg.Findings, Evidence: pkg.Evidence}, nil
}

// Fetch implements durable.Packages. A stranger's address reaches neither this machine's own files nor what its ssh keys open.
func (p *packages) Fetch(ctx context.Context, git string, use func(dir, commit string) error) error {
	pkg := &Package{}
	defer pkg.Close()
	from := gitsource.Options{Schemes: []string{"https", "http"}}
	if p.app.outbound != nil {
		from.Dial = p.app.outbound.Dial
	}
	if err := openGit(ctx, pkg, git, from); err != nil {
		return outbound.Explain(err)
	}
	return use(pkg.Source.Dir, pkg.Commit)
}

// ImageDigest implements durable.Packages.
func (p *packages) ImageDigest(_ context.Context, name string) (string, error) {
	images, err := p.app.Images()
	if err != nil {
		return "", imageError(err)
	}
	img, err := images.Resolve(name)
	if err != nil {
		return "", imageError(err)
	}
	return string(img.Digest()), nil
}

// RunWorker is a worker process: it carries out the jobs of servers on this machine until nobody needs it. ready is called once
// jobs can come.
func (a *App) RunWorker(ctx context.Context, version string, ready func()) error {
	c := &carrier{app: a, open: map[string]*Package{}}
	defer c.close()
	pool, err := worker.NewPool(a.jobs(), c.carry)
	if err != nil {
		return err
	}
	return worker.Serve(ctx, pool, safeVersion(version), ready)
}

// carrier carries out jobs with the packages that it has opened.
type carrier struct {
	app *App

	mu   sync.Mutex
	open map[string]*Package
}

// maxOpen bounds how many packages stay open.
const maxOpen = 200

func (c *carrier) carry(ctx context.Context, j worker.Job, out string, o dispatch.Observer) (*task.Result, error) {
	pkg, err := c.pkg(ctx, j.Package)
	if err != nil {
		return nil, err
	}
	if err := pkg.Valid(); err != nil {
		return nil, err
	}
	d := c.app.following(o).Dispatcher()
	if limit := j.LogLimit(); limit > 0 {
		d.Policy.LogLimit = limit
	}
	res, err := d.Run(ctx, dispatch.Job{
		ID: j.Run, Container: j.Run + "-" + attemptWord(j.Attempt), Contract: pkg.Contract, Source: pkg.Source, Task: pkg.Task, Request: j.Request,
		Timeouts: j.Timeouts, Network: j.Network, Privileges: engine.CapDefault, OutDir: out, Repeatable: true, Observe: o,
	})
	return res, err
}

func attemptWord(n int) string { return hex.EncodeToString([]byte{byte(n >> 8), byte(n)}) }

// pkg opens a package, or answers one that is open: what it names by its digest never changes.
func (c *carrier) pkg(ctx context.Context, p worker.Package) (*Package, error) {
	key := p.Digest + "\x00" + p.Path + "\x00" + p.Variant
	c.mu.Lock()
	pkg := c.open[key]
	c.mu.Unlock()
	if pkg != nil {
		return pkg, nil
	}
	pkg, err := c.app.Open(ctx, p.Path, OpenOptions{Contract: p.Contract, Variant: p.Variant, Stranger: true})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= maxOpen {
		for k := range c.open {
			delete(c.open, k) // a run may still use it: what it has open is closed when nobody refers to it
			break
		}
	}
	c.open[key] = pkg
	return pkg, nil
}

func (c *carrier) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.open {
		p.Close()
	}
}

// following is the app with an observer told of pulls and builds.
func (a *App) following(o dispatch.Observer) *App {
	p, ok := o.(interface{ Progress(line string) })
	if !ok {
		return a
	}
	b := *a
	b.cfg.Progress = image.PlainProgress(lines(p.Progress))
	return &b
}

// lines passes what is written on, line by line.
type lines func(line string)

func (l lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			l(line)
		}
	}
	return len(p), nil
}

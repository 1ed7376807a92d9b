package gitsource

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"longshore/internal/task"
)

// Options of Clone.
type Options struct {
	Ref Ref
	// Schemes lists the schemes that may be used ("https", "http", "ssh", "file"); empty means all four. Servers that take
	// addresses from others leave out "file".
	Schemes []string
	// Dial, where it is set, makes the connections to repositories of scheme https and http, also those that they redirect to. It
	// may refuse: its error is answered as it is. Where the environment has git use a proxy, that makes them instead.
	Dial Dial
	// TempDir is where the clone's folder is made; empty means the system's place for temporary files.
	TempDir string
	// Timeout bounds the whole, MaxBytes what is fetched and what is checked out, each, and MaxFiles the number of files.
	// Zero means 10 minutes, 2 GiB and 200,000.
	Timeout  time.Duration
	MaxBytes task.Bytes
	MaxFiles int
}

// Checkout is a cloned repository, without its .git folder.
type Checkout struct {
	// RepoDir is the clone's root and Dir the folder of it that was asked for, both absolute and without links.
	RepoDir, Dir string
	// Commit is the full name of the commit, Branch the branch or tag it was reached by; empty when its name was given.
	Commit, Branch string
	// Version is what `git describe --long --tags --dirty --always` says.
	Version string
	// Submodules lists the paths of submodules, which are not fetched: their folders are empty. Pointers are the paths of
	// files that Git LFS has the content of, which is not fetched either. Each list names the first hundred.
	Submodules, Pointers []string
}

// limits completes what the options leave out.
func (o Options) limits() Options {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 2 << 30
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = 200_000
	}
	return o
}

// Clone fetches what opts.Ref names into a new temporary folder. The returned function removes that folder; it is never nil,
// may be called twice, and has nothing left to do when there is an error. Errors are *task.Error: CodeUsage for a reference
// that is not valid, CodeMissing for a repository, branch or folder that cannot be reached, CodePackage for a clone that is
// refused, ReasonTimeout, and ReasonPolicy when git is not there or the scheme is not allowed.
func Clone(ctx context.Context, opts Options) (Checkout, func(), error) {
	nothing := func() {}
	opts = opts.limits()
	rem, err := opts.check()
	if err == nil {
		rem, err = rem.withCredentials(os.Getenv(CredentialsVariable))
	}
	if err != nil {
		return Checkout{}, nothing, err
	}
	work, err := os.MkdirTemp(opts.TempDir, "longshore-git-")
	if err != nil {
		return Checkout{}, nothing, task.Errorf(task.ReasonEngine, "no place for the clone: %w", err).WithHint("set TMPDIR to a folder that this user may write")
	}
	remove := func() { os.RemoveAll(work) }
	limited, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	c := &cloner{opts: opts, rem: rem}
	if opts.Dial != nil && strings.HasPrefix(rem.scheme, "http") && !proxied(rem.address) {
		if c.proxy, err = startProxy(opts.Dial); err != nil {
			remove()
			return Checkout{}, nothing, task.Errorf(task.ReasonEngine, "cannot connect git to the network: %w", err)
		}
		defer c.proxy.close()
	}
	c.git = newGit(rem, work, c.proxy)
	out, err := c.clone(limited, work)
	if err != nil {
		remove()
		if ctx.Err() == nil && limited.Err() != nil {
			err = (&task.Error{Code: task.ReasonTimeout, Message: fmt.Sprintf("cloning %s took longer than %s", rem.shown, opts.Timeout)}).
				WithHint("see whether the repository can be reached, and how large it is")
		}
		return Checkout{}, nothing, err
	}
	return out, remove, nil
}

// check tests the reference, which need not come from Parse, without touching anything.
func (o *Options) check() (remote, error) {
	rem, err := o.Ref.remote()
	if err != nil {
		return rem, err
	}
	if len(o.Schemes) > 0 && !slices.Contains(o.Schemes, rem.scheme) {
		return rem, (&task.Error{Code: task.ReasonPolicy, Message: fmt.Sprintf("%s: repositories of scheme %s are not allowed here", rem.shown, rem.scheme)}).
			WithHint("allowed are: %s", strings.Join(o.Schemes, ", "))
	}
	if err := checkBranch(o.Ref.Branch); err != nil {
		return rem, err
	}
	if o.Ref.Directory, err = cleanDirectory(o.Ref.Directory); err != nil {
		return rem, err
	}
	return rem, nil
}

type cloner struct {
	opts  Options
	rem   remote
	git   *git
	proxy *proxy // nil where git connects by itself
}

// clone fetches, looks at what was fetched, and only then writes files.
func (c *cloner) clone(ctx context.Context, work string) (Checkout, error) {
	var out Checkout
	if b := c.opts.Ref.Branch; b != "" {
		if _, err := c.git.run(ctx, "", "check-ref-format", "--branch", b); err != nil {
			if errors.Is(err, exec.ErrNotFound) || ctx.Err() != nil {
				return out, c.explain(err)
			}
			return out, usage("%q is not a valid branch name", b)
		}
	}
	work, err := filepath.EvalSymlinks(work)
	if err != nil {
		return out, task.Errorf(task.ReasonEngine, "cannot open the clone: %w", err)
	}
	repo := filepath.Join(work, "repository")
	if err := c.fetch(ctx, repo); err != nil {
		return out, err
	}
	commit, err := c.git.run(ctx, repo, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	if err != nil {
		if ctx.Err() != nil {
			return out, c.explain(err)
		}
		return out, &task.Error{Code: task.CodePackage, Message: c.rem.shown + " is empty: it has no commit"}
	}
	out.Commit, out.Branch = commit, c.opts.Ref.Branch
	if fullID.MatchString(out.Branch) {
		out.Branch = ""
	} else if out.Branch == "" {
		// A detached head has no branch; then there is none to tell.
		out.Branch, _ = c.git.run(ctx, repo, "symbolic-ref", "--quiet", "--short", "HEAD")
	}
	if out.Submodules, err = c.survey(ctx, repo); err != nil {
		return out, err
	}
	if _, err := c.git.run(ctx, repo, "checkout", "--quiet", "--force", "HEAD", "--"); err != nil {
		return out, c.explain(err)
	}
	// The files are those of the commit, so nothing is dirty.
	if out.Version, err = c.git.run(ctx, repo, "describe", "--long", "--tags", "--always"); err != nil {
		return out, c.explain(err)
	}
	if err := os.RemoveAll(filepath.Join(repo, ".git")); err != nil {
		return out, task.Errorf(task.ReasonEngine, "cannot tidy the clone: %w", err)
	}
	out.RepoDir, out.Pointers = repo, pointers(repo)
	out.Dir, err = within(repo, c.opts.Ref.Directory)
	return out, err
}

// fullID is the whole name of a commit, which servers give out like a branch (git's protocol, version 2).
var fullID = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)

// cloneBranch clones a branch or tag, one commit deep, without writing files.
func (c *cloner) cloneBranch(ctx context.Context, repo string) error {
	args := []string{"clone", "--quiet", "--depth=1", "--single-branch", "--no-checkout", "--no-recurse-submodules", "--template="}
	if b := c.opts.Ref.Branch; b != "" {
		args = append(args, "--branch="+b)
	}
	_, err := c.git.run(ctx, "", append(args, "--", c.rem.address, repo)...)
	return err
}

// cloneCommit does the same for a commit that is named by its whole id.
func (c *cloner) cloneCommit(ctx context.Context, repo string) error {
	id, format := c.opts.Ref.Branch, "sha1"
	if len(id) == 64 {
		format = "sha256"
	}
	if _, err := c.git.run(ctx, "", "init", "--quiet", "--template=", "--initial-branch=main", "--object-format="+format, "--", repo); err != nil {
		return err
	}
	if _, err := c.git.run(ctx, repo, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", c.rem.address, id); err != nil {
		return err
	}
	_, err := c.git.run(ctx, repo, "update-ref", "--no-deref", "HEAD", id)
	return err
}

// fetch clones without writing files, and gives up when more arrives than is allowed.
func (c *cloner) fetch(ctx context.Context, repo string) error {
	fetch := c.cloneBranch
	if fullID.MatchString(c.opts.Ref.Branch) {
		fetch = c.cloneCommit
	}
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.watch(watched, repo, cancel)
	}()
	err := fetch(watched, repo)
	if err == nil && size(repo) > int64(c.opts.MaxBytes) {
		cancel(c.tooLarge())
	}
	large, _ := errors.AsType[*task.Error](context.Cause(watched))
	cancel(nil)
	<-done
	switch {
	case large != nil:
		return large
	case err != nil:
		return c.explain(err)
	}
	return nil
}

func (c *cloner) tooLarge() *task.Error {
	return (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("%s is larger than %s", c.rem.shown, c.opts.MaxBytes)}).
		WithHint("keep data out of the repository, and fetch it when the job starts")
}

// watch ends the fetch when it grows too large. git has no limit of its own for that.
func (c *cloner) watch(ctx context.Context, repo string, stop context.CancelCauseFunc) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if size(repo) > int64(c.opts.MaxBytes) {
				stop(c.tooLarge())
				return
			}
		}
	}
}

// size adds up the files below dir; what vanishes meanwhile counts nothing.
func size(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if st, err := d.Info(); err == nil {
				n += st.Size()
			}
		}
		return nil
	})
	return n
}

// survey reads the list of what would be checked out, so that a small repository that unfolds to something huge is refused
// before it is on disk. It returns the submodules.
func (c *cloner) survey(ctx context.Context, repo string) ([]string, error) {
	var modules []string
	files, total := 0, int64(0)
	err := c.git.stream(ctx, repo, func(r io.Reader) error {
		lines := bufio.NewReaderSize(r, 64<<10)
		for {
			line, err := lines.ReadString(0)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			mode, length, name := treeEntry(strings.TrimSuffix(line, "\x00"))
			if mode == "160000" && len(modules) < 100 {
				modules = append(modules, name)
			}
			files, total = files+1, total+length
			if files > c.opts.MaxFiles {
				return (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("%s has more than %d files", c.rem.shown, c.opts.MaxFiles)}).
					WithHint("keep data out of the repository, and fetch it when the job starts")
			}
			if total > int64(c.opts.MaxBytes) {
				return c.tooLarge()
			}
		}
	}, "ls-tree", "-r", "-l", "-z", "--full-tree", "HEAD")
	if own, ok := errors.AsType[*task.Error](err); ok {
		return nil, own
	}
	if err != nil {
		return nil, c.explain(err)
	}
	return modules, nil
}

// treeEntry splits a line of ls-tree: mode, kind, object, size (a dash for submodules), a tab and the path.
func treeEntry(line string) (mode string, length int64, name string) {
	head, name, _ := strings.Cut(line, "\t")
	f := strings.Fields(head)
	if len(f) != 4 {
		return "", 0, name
	}
	length, err := strconv.ParseInt(f[3], 10, 64)
	if err != nil {
		length = 0
	}
	return f[0], length, name
}

// notRepository says what a path on this machine is that git does not take.
func (c *cloner) notRepository() string {
	if c.rem.scheme == "file" {
		if _, err := os.Stat(c.rem.path); err != nil {
			return "not there: no such folder"
		}
	}
	return "not a git repository"
}

var commitID = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// branchHint says what to do about a branch that is not there.
func branchHint(branch string) string {
	if commitID.MatchString(branch) {
		return "a commit is named by its whole id, of 40 characters"
	}
	return "leave the branch out for the default one, or push it"
}

// explain turns git's failure into words, a cause and something to do.
func (c *cloner) explain(err error) error {
	if c.proxy != nil && c.proxy.failure() != nil {
		return c.proxy.failure()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return (&task.Error{Code: task.ReasonPolicy, Message: "the git program is not installed"}).WithHint("install git, or clone the repository elsewhere and name the folder")
	}
	fail, ok := errors.AsType[*gitError](err)
	if !ok {
		return task.Errorf(task.CodeMissing, "cloning %s: %w", c.rem.shown, err)
	}
	e := &task.Error{Code: task.CodeMissing, Message: "cloning " + c.rem.shown, Cause: fail, Hint: "see whether `git clone` of that address works"}
	for _, k := range []struct{ words, message, hint string }{
		{"not our ref", fmt.Sprintf("%s has no commit %s", c.rem.shown, c.opts.Ref.Branch), "push the commit, or name a branch"},
		{"Remote branch", fmt.Sprintf("%s has no branch or tag %q", c.rem.shown, c.opts.Ref.Branch), branchHint(c.opts.Ref.Branch)},
		{"terminal prompts disabled", "authentication failure: " + c.rem.shown + " asks for credentials", "no git credentials configured for a repo: set " + CredentialsVariable + "=https://user:token@host, write them into the address (git+https://user:token@host/…), or configure a credential helper"},
		{"could not read Username", "authentication failure: " + c.rem.shown + " asks for credentials", "set " + CredentialsVariable + "=https://user:token@host, write them into the address (git+https://user:token@host/…), or configure a credential helper"},
		{"Authentication failed", "authentication failure: " + c.rem.shown + " refuses the credentials", "see whether the token is right, not expired, and may read this repository"},
		{"Permission denied (publickey", "authentication failure: " + c.rem.shown + " knows none of the ssh keys", "load the key into ssh-agent"},
		{"Host key verification failed", "the host key of " + c.rem.shown + " is not known", "connect once with ssh and compare the key"},
		{"not found", c.rem.shown + " does not exist, or may not be read", "see whether the address is right"},
		{"does not exist", c.rem.shown + " does not exist", "see whether the path is right"},
		{"does not appear to be a git repository", c.rem.shown + " is " + c.notRepository(), "name the repository's root"},
		{"dubious ownership", c.rem.shown + " belongs to another user, so git does not read it", "add it to safe.directory in git's configuration if you trust it"},
		{"Could not resolve host", "the host of " + c.rem.shown + " is not known", "see whether the address is right and the network is there"},
	} {
		if strings.Contains(fail.stderr, k.words) {
			e.Message, e.Hint, e.Cause = k.message, k.hint, nil
			return e
		}
	}
	return e
}

package app

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/gitsource"
	"longshore/internal/image"
	"longshore/internal/task"
)

// OpenOptions say how a package is opened.
type OpenOptions struct {
	// Contract forces a contract; empty means the one that recognises the package.
	Contract string
	// Variant chooses among several uses of a package.
	Variant string
	// Overrides are settings over the package's own document; a contract that takes none refuses them. SoftOverrides are
	// more of them, which are then left out: Package.TakesOverrides tells.
	Overrides, SoftOverrides []contract.Override
	// Legacy, Compat, Variables and Given are those of contract.Options; a contract that cannot take them is a usage error.
	Legacy    bool
	Compat    string
	Variables map[string]string
	Given     []string
	// Image is that of contract.Options.
	Image string
	// Stranger tells that the package is not the caller's own: nothing outside of it is read for it, and no repository that it
	// points to is fetched.
	Stranger bool
}

// Package is an opened package.
type Package struct {
	Source   contract.Source
	Contract contract.Contract
	// Evidence is why that contract was taken.
	Evidence string
	// Task is nil when the package is too broken to describe.
	Task     *task.Task
	Findings []task.Finding
	// Commit is the one that was checked out, for git sources.
	Commit string
	opts   OpenOptions
	close  []func()
}

// Close frees what opening the package took: open files and temporary clones.
func (p *Package) Close() {
	for i := len(p.close) - 1; i >= 0; i-- {
		p.close[i]()
	}
	p.close = nil
}

// Valid answers a *task.Error with code CodePackage and all findings when the package cannot be used, and nil otherwise.
func (p *Package) Valid() error {
	if p.Task != nil && !task.HasErrors(p.Findings) {
		return nil
	}
	n, first := 0, task.Finding{}
	for _, f := range p.Findings {
		if f.Severity == task.SeverityError {
			if n == 0 {
				first = f
			}
			n++
		}
	}
	what := fmt.Sprintf("%s is not a valid %s package: %s", p.Source.Given, p.Contract.Name(), first.What)
	if n > 1 {
		what = fmt.Sprintf("%s is not a valid %s package: %d errors", p.Source.Given, p.Contract.Name(), n)
	}
	return (&task.Error{Code: task.CodePackage, Message: what, Findings: p.Findings}).WithHint("`longshore validate %s` lists everything", p.Source.Given)
}

// Open opens a package: a folder, a manifest file, a bundle archive, "image:NAME", or "git+URL[#branch[:directory]]". The
// caller closes it. The error is about reaching the package; what is wrong inside is in Findings.
func (a *App) Open(ctx context.Context, given string, opts OpenOptions) (*Package, error) {
	p := &Package{opts: opts}
	var err error
	switch {
	case strings.HasPrefix(given, "image:"):
		err = a.openImage(p, strings.TrimPrefix(given, "image:"))
	case strings.HasPrefix(given, "git+"):
		err = openGit(ctx, p, given, gitsource.Options{})
	default:
		err = a.openPath(p, given)
	}
	p.Source.Given = given
	if err == nil {
		err = p.recognise(opts)
	}
	if err == nil {
		err = p.able()
	}
	if err == nil && len(opts.Overrides) > 0 && !p.TakesOverrides() {
		err = (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s packages take no overrides of their manifest (%s=…)", p.Contract.Name(), opts.Overrides[0].Key)}).
			WithHint("give values to a run with -i name=value, and environment variables with --env NAME=value")
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	fetched := p.Findings
	remote, followed := p.follow(ctx)
	p.Task, p.Findings = p.Contract.Load(p.Source, p.options(opts.Variant))
	p.Findings = slices.Concat(p.Findings, fetched, followed)
	p.complete(a)
	if err := p.putManifest(remote); err != nil {
		p.Close()
		return nil, task.Errorf(task.ReasonEngine, "the manifest cannot be put into the clone: %w", err)
	}
	return p, nil
}

// older says that --legacy would take the package, when it is likely one of an older release; "" otherwise.
func (p *Package) older() string {
	for _, c := range contracts() {
		if l, ok := c.(contract.LegacyRecogniser); ok && l.RecogniseLegacy(p.Source).Certainty >= contract.Likely {
			return fmt.Sprintf("it may be made for an older release of %s: --legacy takes it as such", c.Name())
		}
	}
	return ""
}

// TakesOverrides tells whether the package's contract takes overrides of the package's document.
func (p *Package) TakesOverrides() bool {
	_, ok := p.Contract.(contract.Overrider)
	return ok
}

// follow fetches the repository of a package that only points to it. When that fails, the package is read as it is, and the
// returned finding says why.
func (p *Package) follow(ctx context.Context) (contract.Remote, []task.Finding) {
	remoter, ok := p.Contract.(contract.Remoter)
	if !ok || p.opts.Stranger {
		return contract.Remote{}, nil
	}
	remote, ok := remoter.Remote(p.Source, p.options(p.opts.Variant))
	if !ok {
		return contract.Remote{}, nil
	}
	fetched := &Package{}
	if err := openGit(ctx, fetched, remote.Git, gitsource.Options{}); err != nil {
		fetched.Close()
		return contract.Remote{}, []task.Finding{{Rule: "git-remote", Severity: task.SeverityNote, File: remote.File, What: "the repository that it names could not be fetched: " + err.Error(), Mend: "mend its address, or put what is built from beside the manifest"}}
	}
	submitted := p.Source
	submitted.File = remote.File
	fetched.Source.Given, fetched.Source.Submitted = p.Source.Given, &submitted
	p.close = append(p.close, fetched.close...)
	p.Source, p.Commit = fetched.Source, fetched.Commit
	p.Evidence += "; files from " + remote.Git
	return remote, fetched.Findings
}

// putManifest puts the caller's document in the place of the clone's own.
func (p *Package) putManifest(remote contract.Remote) error {
	if remote.Name == "" {
		return nil
	}
	root, err := os.OpenRoot(p.Source.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.RemoveAll(remote.Name); err != nil {
		return err
	}
	return root.WriteFile(remote.Name, remote.Text, 0o644)
}

// options are what the contract is told. A package named by its path on this machine is the caller's own; a clone or an image
// is not.
func (p *Package) options(variant string) contract.Options {
	opts := contract.Options{
		Variant: variant, Own: p.Source.Image == nil && !p.Source.Git && !p.opts.Stranger,
		Legacy: p.opts.Legacy, Compat: p.opts.Compat, Variables: p.opts.Variables, Given: p.opts.Given,
		Image: p.opts.Image, Login: image.HasLogin,
	}
	if p.TakesOverrides() {
		opts.Overrides = slices.Concat(p.opts.Overrides, p.opts.SoftOverrides)
	}
	return opts
}

// Load reads the package again for another of its uses.
func (p *Package) Load(variant string) (*task.Task, []task.Finding) {
	return p.Contract.Load(p.Source, p.options(variant))
}

func (a *App) openImage(p *Package, name string) error {
	store, err := a.Images()
	if err != nil {
		return imageError(err)
	}
	img, err := store.Resolve(name)
	if err != nil {
		return imageError(err)
	}
	p.Source.Image = readyImage{img: img}
	return nil
}

// openGit clones a repository; from bounds where it may lie.
func openGit(ctx context.Context, p *Package, given string, from gitsource.Options) error {
	ref, err := gitsource.Parse(given)
	if err != nil {
		return err
	}
	from.Ref = ref
	checkout, cleanup, err := gitsource.Clone(ctx, from)
	if err != nil {
		return err
	}
	p.close = append(p.close, cleanup)
	p.Source.Git, p.Source.RepoDir, p.Source.Commit, p.Commit = true, checkout.RepoDir, checkout.Version, checkout.Commit
	p.Findings = notFetched(checkout)
	return openDir(p, checkout.Dir)
}

// notFetched tells of what a repository points to and does not hold.
func notFetched(c gitsource.Checkout) []task.Finding {
	var list []task.Finding
	add := func(rule, what, mend string, paths []string) {
		if len(paths) > 0 {
			shown := strings.Join(paths[:min(len(paths), 5)], ", ")
			list = append(list, task.Finding{Rule: rule, Severity: task.SeverityWarning, File: paths[0], What: fmt.Sprintf(what, len(paths), shown), Mend: mend})
		}
	}
	add("git-submodules", "%d submodules are not fetched, their folders are empty: %s", "put what is needed into the repository itself", c.Submodules)
	add("git-lfs", "the content of %d files is in Git LFS and not fetched, they are pointers: %s", "put the files into the repository, or fetch them when the program starts", c.Pointers)
	return list
}

func (a *App) openPath(p *Package, given string) error {
	st, err := os.Stat(given)
	if errors.Is(err, fs.ErrNotExist) {
		return a.missing(given)
	}
	if err != nil {
		return task.Errorf(task.CodeMissing, "cannot open %s: %w", given, err)
	}
	if st.IsDir() {
		return openDir(p, given)
	}
	if !st.Mode().IsRegular() {
		return task.Errorf(task.CodePackage, "%s is a %s, neither a folder nor a file", given, contract.KindOf(st.Mode()))
	}
	if isArchive(given) {
		return openArchive(p, given)
	}
	if kind := packedAs(given); kind != "" {
		return (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("%s is %s, no package", p.shown(given), kind)}).WithHint(unpackHint)
	}
	p.Source.File = filepath.Base(given)
	return openDir(p, filepath.Dir(given))
}

func openDir(p *Package, dir string) error {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return task.Errorf(task.CodeMissing, "cannot open %s: %w", dir, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return task.Errorf(task.CodeMissing, "cannot open %s: %w", dir, err)
	}
	p.close = append(p.close, func() { root.Close() })
	p.Source.Dir, p.Source.FS = abs, root.FS()
	return nil
}

// isArchive looks at the first bytes, not at the name: a bundle may be called anything.
func isArchive(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var head [4]byte
	n, _ := f.Read(head[:]) // too short is no archive
	s := string(head[:n])
	return s == "PK\x03\x04" || s == "PK\x05\x06" || strings.HasSuffix(strings.ToLower(name), ".zip")
}

// shown is a path for messages: callers of a server gave a file, and not the place where the server keeps it.
func (p *Package) shown(path string) string {
	if p.opts.Stranger {
		return filepath.Base(path)
	}
	return path
}

const unpackHint = "unpack it, and name the folder or make a zip of the files; if it is the archive of an image, `longshore image load` prints the NAME to give as image:NAME"

// packedAs names the kind of a file that is often taken for a zip archive, by its first bytes; "" for anything else.
func packedAs(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	var head [262]byte
	n, _ := io.ReadFull(f, head[:]) // a short file has few signatures
	for _, k := range []struct {
		at              int
		signature, kind string
	}{
		{0, "7z\xbc\xaf'\x1c", "a 7z archive"}, {0, "Rar!", "a RAR archive"}, {0, "\x1f\x8b", "a gzip file"}, {0, "BZh", "a bzip2 file"},
		{0, "\xfd7zXZ", "an xz file"}, {0, "(\xb5/\xfd", "a zstd file"}, {257, "ustar", "a tar archive"},
	} {
		if strings.HasPrefix(string(head[min(k.at, n):n]), k.signature) {
			return k.kind
		}
	}
	return ""
}

// isEmpty tells a file without a byte: an empty manifest is its contract's to tell of.
func isEmpty(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Size() == 0
}

func openArchive(p *Package, name string) error {
	abs, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	z, err := zip.OpenReader(abs)
	if err != nil {
		e := &task.Error{Code: task.CodePackage, Message: fmt.Sprintf("%s is not a readable zip archive", p.shown(name)), Cause: err}
		if isEmpty(abs) {
			e.Message, e.Cause = fmt.Sprintf("%s is an empty file, not a zip archive", p.shown(name)), nil
		}
		if kind := packedAs(abs); kind != "" {
			e.Message, e.Cause = fmt.Sprintf("%s is %s, not a zip archive", p.shown(name), kind), nil
			return e.WithHint(unpackHint)
		}
		return e.WithHint("make the bundle anew; an interrupted download or upload looks like this")
	}
	p.close = append(p.close, func() { z.Close() })
	p.Source.Archive, p.Source.FS = abs, &z.Reader
	return nil
}

// recognise chooses the contract.
func (p *Package) recognise(opts OpenOptions) error {
	if opts.Contract != "" {
		c, err := Contract(opts.Contract)
		if err != nil {
			return err
		}
		p.Contract, p.Evidence = c, "chosen by --contract"
		if r := c.Recognise(p.Source); r.Evidence != "" {
			p.Evidence += "; " + r.Evidence
		}
		return nil
	}
	best := contract.No
	var found []contract.Contract
	var evidence []string
	for _, c := range contracts() {
		r := c.Recognise(p.Source)
		if l, ok := c.(contract.LegacyRecogniser); ok && opts.Legacy && r.Certainty == contract.No {
			r = l.RecogniseLegacy(p.Source)
		}
		if r.Certainty == contract.No || r.Certainty < best {
			continue
		}
		if r.Certainty > best {
			best, found, evidence = r.Certainty, nil, nil
		}
		found, evidence = append(found, c), append(evidence, fmt.Sprintf("%s: %s", c.Name(), r.Evidence))
	}
	switch len(found) {
	case 1:
		p.Contract, p.Evidence = found[0], strings.SplitN(evidence[0], ": ", 2)[1]
		return nil
	case 0:
		return p.unrecognised()
	}
	return (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("%s fits several contracts (%s)", p.Source.Given, strings.Join(evidence, "; "))}).
		WithHint("choose one with --contract NAME")
}

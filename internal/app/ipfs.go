package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/ipfs"
	"longshore/internal/task"
)

// FolderAddress is how a folder is known on IPFS, in the forms that tools and contracts on a chain ask for.
type FolderAddress struct {
	CID    string `json:"cid"`
	CIDv0  string `json:"cidV0"`
	Digest string `json:"digest"`
	// Image is the name that the platform's hosts give to the image they build of the folder.
	Image string `json:"image"`
}

// PublishOptions of PushFolder.
type PublishOptions struct {
	// CAR is the archive to write; empty means the one in the store of this machine.
	CAR string
	// Node is the address of an IPFS node's RPC to add the folder to; empty means none.
	Node string
}

// Published is a folder that was published. Size is that of its blocks, in bytes.
type Published struct {
	FolderAddress
	Size     uint64         `json:"size"`
	Files    int            `json:"files"`
	CAR      string         `json:"car"`
	Node     string         `json:"node,omitempty"`
	Findings []task.Finding `json:"findings"`
}

// FetchOptions of PullFolder.
type FetchOptions struct {
	// CAR is an archive to take the folder from; Node the address of an IPFS node's RPC. Without both it comes from the store
	// of this machine.
	CAR, Node string
	Limits    ipfs.Limits
}

// Fetched is a folder that was fetched.
type Fetched struct {
	FolderAddress
	Dir   string `json:"folder"`
	Bytes uint64 `json:"bytes"`
	Files int    `json:"files"`
	// Note says what is odd about the folder; may be empty.
	Note string `json:"note,omitempty"`
}

// publisher returns the contract whose packages are folders on IPFS.
func publisher() contract.FolderPublisher {
	for _, c := range contracts() {
		if p, ok := c.(contract.FolderPublisher); ok {
			return p
		}
	}
	return nil
}

func addressOf(c ipfs.CID, p contract.FolderPublisher) FolderAddress {
	return FolderAddress{CID: c.String(), CIDv0: c.V0(), Digest: c.Hex(), Image: p.ImageAlias(c.String())}
}

// Address reads what names a folder on IPFS, a CID or a digest, unless a file or folder of this machine has that name.
func Address(given string) (FolderAddress, bool) {
	c, err := ipfs.Parse(given)
	if err != nil {
		return FolderAddress{}, false
	}
	if _, err := os.Lstat(given); err == nil {
		return FolderAddress{}, false
	}
	return addressOf(c, publisher()), true
}

// FolderAddress computes how a package's folder is known on IPFS; nil for packages that are not published there, or cannot be.
func (p *Package) FolderAddress(ctx context.Context) *FolderAddress {
	pub, ok := p.Contract.(contract.FolderPublisher)
	if !ok || p.Source.Dir == "" || task.HasErrors(pub.CheckPublish(p.Source, p.Findings)) {
		return nil
	}
	tree, err := ipfs.Layout(ctx, p.Source.FS, nil)
	if err != nil {
		return nil
	}
	a := addressOf(tree.CID, pub)
	return &a
}

// PushFolder publishes a package's folder: it checks it, makes its blocks and writes them as a CAR archive, and adds the folder
// to an IPFS node when one is named, whose answer must be the same CID.
func (a *App) PushFolder(ctx context.Context, p *Package, opts PublishOptions) (Published, error) {
	pub, ok := p.Contract.(contract.FolderPublisher)
	if !ok || p.Source.Dir == "" {
		return Published{}, task.Errorf(task.CodePackage, "%s is no folder whose contract publishes on IPFS (contract %s)", p.Source.Given, p.Contract.Name())
	}
	p.Findings = pub.CheckPublish(p.Source, p.Findings)
	if err := p.Valid(); err != nil {
		return Published{}, err
	}
	car, err := a.newCAR(opts.CAR)
	if err != nil {
		return Published{}, err
	}
	defer car.discard()
	out := ipfs.NewCARWriter(car.File)
	tree, err := ipfs.Layout(ctx, p.Source.FS, out)
	if err == nil {
		err = out.Finish(tree.CID)
	}
	if err != nil {
		return Published{}, task.Errorf(task.ReasonEngine, "cannot make the blocks of %s: %w", p.Source.Given, err)
	}
	if opts.Node != "" {
		if err := addToNode(ctx, opts.Node, p.Source.FS, tree.CID); err != nil {
			return Published{}, err
		}
	}
	done := Published{FolderAddress: addressOf(tree.CID, pub), Size: tree.Total, Files: tree.Files, Node: opts.Node, Findings: append([]task.Finding{}, p.Findings...)}
	if done.CAR = opts.CAR; done.CAR == "" {
		done.CAR = a.storedCAR(tree.CID)
	}
	return done, car.keep(done.CAR)
}

func addToNode(ctx context.Context, addr string, folder fs.FS, want ipfs.CID) error {
	node, err := ipfs.NewKubo(addr)
	if err != nil {
		return err
	}
	got, err := node.Add(ctx, folder)
	if err != nil {
		return err
	}
	if got != want {
		return (&task.Error{Code: task.ReasonBadResponse, Message: fmt.Sprintf("the IPFS node at %s came to another CID for the folder: %s instead of %s", addr, got, want)}).
			WithHint("did a file change meanwhile? Else the node's settings (Import in its configuration) overrule the options; `ipfs dag import FILE` of an archive made with --car keeps the CID")
	}
	return nil
}

// storedCAR is where the store of this machine keeps a folder. Nothing removes it.
func (a *App) storedCAR(c ipfs.CID) string {
	return filepath.Join(a.cfg.Home, "ipfs", c.String()+".car")
}

// halfFile is a file that is being written, beside its place; keep moves it there.
type halfFile struct{ *os.File }

func (a *App) newCAR(path string) (halfFile, error) {
	dir := filepath.Dir(path)
	if path == "" {
		dir = filepath.Join(a.cfg.Home, "ipfs")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return halfFile{}, task.Errorf(task.CodeUsage, "cannot write to the store: %w", err)
		}
	}
	f, err := os.CreateTemp(dir, ".longshore-car-")
	if err != nil {
		return halfFile{}, task.Errorf(task.CodeUsage, "cannot write the archive: %w", err)
	}
	return halfFile{f}, nil
}

func (h halfFile) keep(path string) error {
	err := h.Chmod(0o644)
	if err == nil {
		err = h.Close()
	}
	if err == nil {
		err = os.Rename(h.Name(), path)
	}
	if err != nil {
		return task.Errorf(task.CodeUsage, "cannot write the archive: %w", err)
	}
	return nil
}

// discard frees the file; it does nothing to one that was kept.
func (h halfFile) discard() {
	h.Close()
	os.Remove(h.Name())
}

// PullFolder brings a folder back, and makes dir appear with everything in it, or not at all. what is a CID or a digest, or,
// for the one folder of a CAR archive, that file. Every block is checked against its CID.
func (a *App) PullFolder(ctx context.Context, what, dir string, opts FetchOptions) (Fetched, error) {
	id, err := ipfs.Parse(what)
	if err != nil {
		if !isPath(what) || opts.CAR != "" || opts.Node != "" {
			return Fetched{}, err
		}
		opts.CAR = what
	}
	if err := checkNewFolder(dir); err != nil {
		return Fetched{}, err
	}
	if err := os.MkdirAll(parent(dir), 0o755); err != nil {
		return Fetched{}, task.Errorf(task.CodeUsage, "cannot make the folder: %w", err)
	}
	f, err := a.openCAR(ctx, id, dir, opts)
	if err != nil {
		return Fetched{}, err
	}
	defer f.Close()
	return extract(ctx, f, id, dir, opts.Limits)
}

// isPath tells what can only be a file from a mistyped CID.
func isPath(text string) bool {
	_, err := os.Stat(text)
	return err == nil || strings.Contains(text, "/") || filepath.Ext(text) != ""
}

func checkNewFolder(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case dir == "":
		return (&task.Error{Code: task.CodeUsage, Message: "where to is not said"}).WithHint("add -o DIR")
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return task.Errorf(task.CodeUsage, "the folder %s cannot be used: %w", dir, err)
	case len(list) > 0:
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("the folder %s is not empty", dir)}).WithHint("name another one with -o")
	}
	return nil
}

// openCAR opens the archive that holds a folder, wherever it comes from. One that a node sends lies beside dir, without a name.
func (a *App) openCAR(ctx context.Context, id ipfs.CID, dir string, opts FetchOptions) (*os.File, error) {
	if opts.Node != "" {
		return download(ctx, id, parent(dir), opts)
	}
	path := opts.CAR
	if path == "" {
		path = a.storedCAR(id)
	}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && opts.CAR == "":
		return nil, (&task.Error{Code: task.CodeMissing, Message: fmt.Sprintf("the folder %s is not on this machine", id)}).
			WithHint("name an IPFS node with --api, or an archive with --car")
	case err != nil:
		return nil, task.Errorf(task.CodeMissing, "cannot read the archive: %w", err)
	case !st.Mode().IsRegular(): // opening a pipe would wait for a writer
		return nil, task.Errorf(task.CodePackage, "%s is a %s and no archive", path, contract.KindOf(st.Mode()))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, task.Errorf(task.CodeMissing, "cannot read the archive: %w", err)
	}
	return f, nil
}

func download(ctx context.Context, id ipfs.CID, beside string, opts FetchOptions) (*os.File, error) {
	node, err := ipfs.NewKubo(opts.Node)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(beside, ".longshore-car-")
	if err != nil {
		return nil, task.Errorf(task.CodeUsage, "cannot make the folder: %w", err)
	}
	os.Remove(f.Name())
	if err := node.Export(ctx, id, f, opts.Limits.Archive()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// extract writes the folder of an archive beside dir, and moves it there when it is whole.
func extract(ctx context.Context, f *os.File, id ipfs.CID, dir string, limits ipfs.Limits) (Fetched, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return Fetched{}, err
	}
	car, err := ipfs.OpenCAR(ctx, f, size)
	if err != nil {
		return Fetched{}, unusable(err)
	}
	if id == (ipfs.CID{}) {
		if len(car.Roots) != 1 {
			return Fetched{}, (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("the archive names %d folders", len(car.Roots))}).WithHint("say which one: longshore pull ipfs CID --car %s", f.Name())
		}
		id = car.Roots[0]
	}
	half, err := os.MkdirTemp(parent(dir), "."+filepath.Base(dir)+".longshore-")
	if err != nil {
		return Fetched{}, task.Errorf(task.CodeUsage, "cannot make the folder: %w", err)
	}
	defer os.RemoveAll(half)
	root, err := os.OpenRoot(half)
	if err != nil {
		return Fetched{}, err
	}
	defer root.Close()
	tree, err := car.Extract(ctx, id, root, limits)
	if err != nil {
		return Fetched{}, unusable(err)
	}
	inner, note := publisher().Unwrap(root.FS())
	done := Fetched{FolderAddress: addressOf(id, publisher()), Dir: dir, Bytes: tree.Content, Files: tree.Files, Note: note}
	return done, settle(filepath.Join(half, inner), dir)
}

func parent(dir string) string { return filepath.Dir(filepath.Clean(dir)) }

func settle(half, dir string) error {
	err := os.Chmod(half, 0o755)
	if err == nil {
		err = os.Rename(half, filepath.Clean(dir)) // also when dir is an empty folder
	}
	if err != nil {
		return task.Errorf(task.CodeUsage, "cannot make the folder: %w", err)
	}
	return nil
}

// unusable is the error of an archive that holds no folder, or not one that may be written.
func unusable(err error) error {
	e := &task.Error{Code: task.CodePackage, Message: "the folder cannot be used", Cause: err}
	if inner, ok := errors.AsType[*task.Error](err); ok {
		e.Code, e.Hint = inner.Code, inner.Hint
	} else if p, ok := errors.AsType[*fs.PathError](err); ok {
		e.Code, e.Message, e.Cause = task.ReasonEngine, fmt.Sprintf("cannot write %q", p.Path), p.Err
	}
	return e
}

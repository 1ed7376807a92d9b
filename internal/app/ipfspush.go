package app

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"longshore/internal/contract"
	"longshore/internal/ipfs"
	"longshore/internal/task"
)

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
	// Tested tells that a test of just this content passed on this machine.
	Tested bool `json:"tested"`
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
	_, err = os.Stat(a.testedMark(done.CID))
	done.Tested = err == nil
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

// NoteTested puts on record that the examples of a package's folder, as it is now, passed; PushFolder tells. Packages that are not
// published as folders are left alone.
func (a *App) NoteTested(ctx context.Context, p *Package) error {
	address := p.FolderAddress(ctx)
	if address == nil {
		return nil
	}
	mark := a.testedMark(address.CID)
	if err := os.MkdirAll(filepath.Dir(mark), 0o755); err != nil {
		return err
	}
	return os.WriteFile(mark, nil, 0o644)
}

// testedMark is the empty file that says that a folder passed its test here.
func (a *App) testedMark(cid string) string {
	return filepath.Join(a.cfg.Home, "ipfs", cid+".tested")
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

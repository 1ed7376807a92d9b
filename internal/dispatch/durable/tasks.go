package durable

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"longshore/internal/blob"
	"longshore/internal/dispatch"
	"longshore/internal/store"
	"longshore/internal/task"
)

// uploadLife is how long what was uploaded is kept when nothing refers to it.
const uploadLife = 24 * time.Hour

// The forms of a package, as store.Version.Form.
const (
	formFolder = "tar"
	formFile   = "file"
	formImage  = "image"
)

// Import is a package that somebody hands over: exactly one of Upload, Image and Git is set.
type Import struct {
	// Upload is the digest of an uploaded file: a bundle, a document, or an archive (zip, tar, tar.gz) of a folder. FileName is
	// what it was called.
	Upload, FileName string
	// Image is a name in the server's image store. Git is "git+URL[#branch[:directory]]".
	Image, Git string
	// Document is the manifest's path in a folder, where it is not the usual one.
	Document string
	// Contract forces a contract; Version and Name replace the package's own for the catalogue.
	Contract, Name, Version string
	// DryRun only looks: nothing is kept.
	DryRun bool
}

// Imported is what became of an import.
type Imported struct {
	// Version is what was kept; of a dry run, and of a package that cannot be used, what would have been, without an ID.
	Version  store.Version
	Evidence string
}

// Import loads a package and keeps it. A package that cannot be used is a *task.Error with code CodePackage and all findings;
// Imported then tells what could be read.
func (s *Service) Import(ctx context.Context, account string, in Import) (Imported, error) {
	n := 0
	for _, given := range []string{in.Upload, in.Image, in.Git} {
		if given != "" {
			n++
		}
	}
	if n != 1 {
		return Imported{}, usage("an import is of one thing: an upload, an image or a git source").WithHint("send a file, or name one of image and git")
	}
	v := store.Version{Contract: in.Contract, Document: in.Document, Account: account}
	switch {
	case in.Image != "":
		return s.importImage(ctx, v, in)
	case in.Git != "":
		return s.importGit(ctx, v, in)
	}
	v.Package, v.Origin = in.Upload, in.FileName
	return s.importUpload(ctx, v, in)
}

func (s *Service) importImage(ctx context.Context, v store.Version, in Import) (Imported, error) {
	digest, err := s.cfg.Packages.ImageDigest(ctx, in.Image)
	if err != nil {
		return Imported{}, err
	}
	v.Form, v.Package, v.Origin = formImage, digest, in.Image
	return s.load(ctx, v, in, "image:"+in.Image)
}

func (s *Service) importGit(ctx context.Context, v store.Version, in Import) (out Imported, err error) {
	ferr := s.cfg.Packages.Fetch(ctx, in.Git, func(dir, commit string) error {
		r, w := io.Pipe()
		go func() { w.CloseWithError(pack(w, dir)) }()
		i, perr := s.Upload(ctx, v.Account, r, 0)
		r.CloseWithError(perr)
		if perr != nil {
			return perr
		}
		v.Form, v.Package, v.Origin = formFolder, i.Digest, in.Git+" @ "+commit
		out, err = s.importFolder(ctx, v, in)
		return nil
	})
	return out, cmp.Or(ferr, err)
}

// importUpload finds out what an upload is. A bundle whose image lies in it is used as it is; any other archive is a folder's.
func (s *Service) importUpload(ctx context.Context, v store.Version, in Import) (Imported, error) {
	kind, err := s.kindOf(ctx, v.Package)
	if err != nil {
		return Imported{}, err
	}
	if kind == "zip" || kind == "" {
		v.Form = formFile
		place, err := s.packagePath(ctx, v)
		if err != nil {
			return Imported{}, err
		}
		o, err := s.cfg.Packages.Open(ctx, place, in.Contract, "")
		if kind == "" || err == nil && o.Task != nil && o.Task.Image.Kind == task.ImageArchive {
			return s.take(ctx, v, in, o, err)
		}
		// A folder that was zipped: its image is built from it, so it has to lie on a disk.
	}
	v.Form = formFolder
	return s.importFolder(ctx, v, in)
}

func (s *Service) importFolder(ctx context.Context, v store.Version, in Import) (Imported, error) {
	place, err := s.packagePath(ctx, v)
	if err != nil {
		return Imported{}, err
	}
	return s.load(ctx, v, in, place)
}

func (s *Service) load(ctx context.Context, v store.Version, in Import, place string) (Imported, error) {
	o, err := s.cfg.Packages.Open(ctx, place, in.Contract, "")
	return s.take(ctx, v, in, o, err)
}

// take keeps an opened package.
func (s *Service) take(ctx context.Context, v store.Version, in Import, o Opened, err error) (Imported, error) {
	if err != nil {
		return Imported{}, err
	}
	v.Findings = o.Findings
	if o.Task != nil {
		v.Task = *o.Task
		v.Contract = o.Task.Contract
		v.Name = cmp.Or(in.Name, slug(o.Task.Name))
		v.Version = cmp.Or(in.Version, o.Task.Version, strings.TrimPrefix(v.Package, "sha256:")[:12])
	}
	out := Imported{Version: v, Evidence: o.Evidence}
	if o.Task == nil || task.HasErrors(o.Findings) {
		return out, (&task.Error{Code: task.CodePackage, Message: "the package cannot be used: " + firstError(o.Findings), Findings: o.Findings}).WithHint("mend the package; `longshore validate` on it lists the same findings")
	}
	if v.Name == "" {
		return out, usage("the task has no name that can be called").WithHint("give it one with name")
	}
	if in.DryRun {
		return out, nil
	}
	now := s.now()
	v.ID, v.CreatedAt = "t"+dispatch.NewID(now)[:19], now
	if err := s.cfg.Store.AddVersion(ctx, v); err != nil {
		return out, s.dbError(err)
	}
	out.Version = v
	return out, nil
}

func firstError(findings []task.Finding) string {
	for _, f := range findings {
		if f.Severity == task.SeverityError {
			return f.What
		}
	}
	return "nothing could be read of it"
}

// slug makes a word of a task's name that can stand in a path and before a colon.
func slug(name string) string {
	var b strings.Builder
	dash := false
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' {
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(r)
			continue
		}
		dash = true
	}
	return strings.Trim(b.String(), ".")
}

// Version finds an imported package by ID, name, or name:version.
func (s *Service) Version(ctx context.Context, ref string) (store.Version, error) {
	v, err := s.cfg.Store.Version(ctx, ref)
	if errors.Is(err, store.ErrNotFound) {
		return v, (&task.Error{Code: task.CodeMissing, Message: fmt.Sprintf("there is no task %q on this server", ref)}).WithHint("`longshore tasks` lists them, `longshore import` adds one")
	}
	if err != nil {
		return v, s.dbError(err)
	}
	return v, nil
}

// taskCache keeps loaded variants.
type taskCache struct {
	mu    sync.Mutex
	tasks map[string]*task.Task
}

const maxCachedTasks = 1000

// Variant answers the task that a variant of a package is; "" is the only one.
func (s *Service) Variant(ctx context.Context, v store.Version, variant string) (*task.Task, error) {
	return s.variant(ctx, v, variant)
}

func (s *Service) variant(ctx context.Context, v store.Version, variant string) (*task.Task, error) {
	if variant == "" || variant == v.Task.Variant {
		if v.Task.Variant == "" && len(v.Task.Variants) > 0 {
			return nil, usage("task %s has several uses", v.Name).WithHint("choose one with variant: %s", variantNames(v.Task.Variants))
		}
		return &v.Task, nil
	}
	key := v.ID + "\x00" + variant
	s.tasks.mu.Lock()
	t := s.tasks.tasks[key]
	s.tasks.mu.Unlock()
	if t != nil {
		return t, nil
	}
	place, err := s.packagePath(ctx, v)
	if err != nil {
		return nil, err
	}
	o, err := s.cfg.Packages.Open(ctx, place, v.Contract, variant)
	if err != nil {
		return nil, err
	}
	if o.Task == nil || task.HasErrors(o.Findings) {
		return nil, (&task.Error{Code: task.CodeUsage, Message: firstError(o.Findings), Findings: o.Findings}).WithHint("the variants are: %s", variantNames(v.Task.Variants))
	}
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	if s.tasks.tasks == nil || len(s.tasks.tasks) >= maxCachedTasks {
		s.tasks.tasks = map[string]*task.Task{}
	}
	s.tasks.tasks[key] = o.Task
	return o.Task, nil
}

func variantNames(list []task.Variant) string {
	var words []string
	for _, v := range list {
		words = append(words, v.Name)
	}
	return strings.Join(words, ", ")
}

// kindOf tells what an upload is by its first bytes: "zip", "tar", or "" for a document.
func (s *Service) kindOf(ctx context.Context, digest string) (string, error) {
	r, _, err := s.cfg.Blobs.Open(ctx, digest)
	if errors.Is(err, blob.ErrNotFound) {
		return "", (&task.Error{Code: task.CodeMissing, Message: "there is no upload " + digest}).WithHint("upload it again")
	}
	if err != nil {
		return "", err
	}
	defer r.Close()
	var head [512]byte
	n, err := io.ReadFull(r, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	h := string(head[:n])
	switch {
	case strings.HasPrefix(h, "PK\x03\x04"), strings.HasPrefix(h, "PK\x05\x06"):
		return "zip", nil
	case strings.HasPrefix(h, "\x1f\x8b"), strings.HasPrefix(h, "\x28\xb5\x2f\xfd"), n > 262 && h[257:262] == "ustar":
		return "tar", nil
	}
	return "", nil
}

// packagePath puts a package on this machine, once, and answers where.
func (s *Service) packagePath(ctx context.Context, v store.Version) (string, error) {
	if v.Form == formImage {
		return "image:" + v.Origin, nil
	}
	key := strings.TrimPrefix(v.Package, "sha256:")
	if v.Form == formFile { // the same document may have been handed over under another name, which may count
		name := sha256.Sum256([]byte(fileName(v.Origin)))
		key += "-" + hex.EncodeToString(name[:4])
	}
	dir := filepath.Join(s.cfg.Dir, "packages", key+"."+v.Form)
	place := func() string {
		if v.Form == formFile {
			return filepath.Join(dir, fileName(v.Origin))
		}
		return filepath.Join(within(dir), filepath.FromSlash(path.Clean("/" + v.Document)[1:]))
	}
	if _, err := os.Stat(dir); err == nil {
		return place(), nil
	}
	from, release, err := s.cfg.Blobs.Local(ctx, v.Package)
	if errors.Is(err, blob.ErrNotFound) {
		return "", task.Errorf(task.ReasonImage, "the package of task %s is not kept any more", v.Name).WithHint("import it again")
	}
	if err != nil {
		return "", err
	}
	defer release()
	tmp, err := os.MkdirTemp(filepath.Dir(dir), halfMade)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if v.Form == formFile {
		to := filepath.Join(tmp, fileName(v.Origin))
		if err = os.Link(from, to); err != nil {
			err = copyFile(from, to)
		}
	} else {
		err = unpack(ctx, from, tmp)
	}
	if err != nil {
		return "", err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return place(), nil
}

// fileName is a safe form of what an upload was called.
func fileName(origin string) string {
	base := path.Base(strings.ReplaceAll(origin, `\`, "/"))
	if base == "." || base == "/" || base == ".." || strings.ContainsRune(base, 0) || len(base) > 200 {
		return "package"
	}
	return base
}

// within descends into the only folder of an archive that holds nothing else: people archive folders from outside.
func within(dir string) string {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) == 1 && entries[0].IsDir() {
		return filepath.Join(dir, entries[0].Name())
	}
	return dir
}

// pack writes a folder as a tar stream, in path order, without what says nothing of the package: owners, times, and .git.
func pack(w io.Writer, dir string) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.Name() == ".git" {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(rel), Mode: int64(info.Mode().Perm())}
		switch {
		case d.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
			return t.WriteHeader(h)
		case d.Type() == fs.ModeSymlink:
			h.Typeflag = tar.TypeSymlink
			if h.Linkname, err = os.Readlink(p); err != nil {
				return err
			}
			return t.WriteHeader(h)
		case !d.Type().IsRegular():
			return nil
		}
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(t, f)
		return err
	})
	return errors.Join(err, t.Close())
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

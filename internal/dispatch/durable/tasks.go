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
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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
	// Variant is the use of the package that is meant where a run names none.
	Variant string
	// AnyName lets the import use a name that belongs to another account: an administrator's does.
	AnyName bool
	// DryRun only looks: nothing is kept.
	DryRun bool
}

// Imported is what became of an import.
type Imported struct {
	// Version is what was kept; of a dry run, and of a package that cannot be used, what would have been, without an ID.
	Version  store.Version
	Evidence string
	// Again tells that the very same package had been imported under this name and version: Version is the earlier import.
	Again bool
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
		out, err = s.importPlaced(ctx, v, in)
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
	if err := s.keepYoung(ctx, v.Package); err != nil {
		return Imported{}, err
	}
	v.Form = formFolder
	switch kind {
	case "":
		v.Form = formFile
	case "zip":
		bundle, err := s.isBundle(ctx, v.Package, in.Contract)
		if err != nil {
			return Imported{}, err
		}
		if bundle {
			v.Form = formFile
		}
		// Else it is a folder that was zipped: its image is built from it, so it has to lie on a disk.
	}
	return s.importPlaced(ctx, v, in)
}

// isBundle tells whether a zip archive has its image in it.
func (s *Service) isBundle(ctx context.Context, digest, contractName string) (bool, error) {
	path, release, err := s.cfg.Blobs.Local(ctx, digest)
	if err != nil {
		return false, err
	}
	defer release()
	o, err := s.cfg.Packages.Open(ctx, path, contractName, "")
	return err == nil && o.Task != nil && o.Task.Image.Kind == task.ImageArchive, ctx.Err()
}

func (s *Service) importPlaced(ctx context.Context, v store.Version, in Import) (Imported, error) {
	place, err := s.packagePath(ctx, v)
	if err != nil {
		return Imported{}, err
	}
	return s.load(ctx, v, in, place)
}

func (s *Service) load(ctx context.Context, v store.Version, in Import, place string) (Imported, error) {
	o, err := s.cfg.Packages.Open(ctx, place, in.Contract, in.Variant)
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
		v.Version = cmp.Or(in.Version, word(o.Task.Version, "+-"), strings.TrimPrefix(v.Package, "sha256:")[:12])
	}
	out := Imported{Version: v, Evidence: o.Evidence}
	if o.Task == nil || task.HasErrors(o.Findings) {
		return out, (&task.Error{Code: task.CodePackage, Message: "the package cannot be used: " + firstError(o.Findings), Findings: o.Findings}).WithHint("mend the package; `longshore validate` on it lists the same findings")
	}
	if err := checkName(v); err != nil {
		return out, err
	}
	again, err := s.imported(ctx, v)
	if err != nil {
		return out, err
	}
	if again != nil {
		return Imported{Version: *again, Evidence: o.Evidence, Again: true}, nil
	}
	as := v.Account
	if in.AnyName {
		as = ""
	}
	if in.DryRun {
		return out, s.mayName(ctx, v.Name, as)
	}
	now := s.now()
	v.ID, v.CreatedAt = "t"+dispatch.NewID(now)[:19], now
	err = s.cfg.Store.AddVersion(ctx, v, as)
	if errors.Is(err, store.ErrTaken) {
		return out, s.mayName(ctx, v.Name, as)
	}
	if err != nil {
		return out, s.dbError(err)
	}
	out.Version = v
	return out, nil
}

// mayName refuses a name that belongs to another account: who runs a task by its name would suddenly run somebody else's program.
func (s *Service) mayName(ctx context.Context, name, as string) error {
	owner, err := s.cfg.Store.Owner(ctx, name)
	switch {
	case as == "" || errors.Is(err, store.ErrNotFound) || err == nil && owner == as:
		return nil
	case err != nil:
		return s.dbError(err)
	}
	return (&task.Error{Code: task.CodeAccess, Message: fmt.Sprintf("the name %s belongs to the account %s, which imported it first", name, owner)}).
		WithHint("give the task another name with name, or ask %s or an administrator to import it", owner)
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
func slug(name string) string { return word(strings.ToLower(name), "") }

// maxWord bounds names and versions, in bytes.
const maxWord = 128

// word keeps letters, digits, "." and "_", and what else is allowed, of a text; a "-" stands for anything else in between.
func word(text, allowed string) string {
	var b strings.Builder
	dash := false
	for _, r := range text {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || strings.ContainsRune(allowed, r) {
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(r)
			continue
		}
		dash = true
	}
	s := strings.Trim(b.String(), ".")
	return s[:min(len(s), maxWord)]
}

// versionID is what the IDs of versions look like.
var versionID = regexp.MustCompile(`^t[0-9a-f]{19}$`)

// checkName sees that a version can be called by its name.
func checkName(v store.Version) error {
	switch {
	case v.Name == "":
		return usage("the task has no name that can be called").WithHint("give it one with name")
	case v.Name != slug(v.Name):
		return usage("the name %q cannot be called", shortened(v.Name)).WithHint("use up to %d lower-case letters, digits and ._-, such as %q", maxWord, cmp.Or(slug(v.Name), "my-task"))
	case versionID.MatchString(v.Name):
		return usage("the name %q looks like a version's ID", v.Name).WithHint("give it another one with name")
	case v.Version == "" || v.Version != word(v.Version, "+-"):
		return usage("the version %q cannot be called", shortened(v.Version)).WithHint("use up to %d letters, digits and ._+-", maxWord)
	}
	return nil
}

// imported answers the earlier import of the same package under the same name and version, nil when there is none. A name that is
// another contract's is refused: who runs a task by its name would suddenly run another kind of task.
func (s *Service) imported(ctx context.Context, v store.Version) (*store.Version, error) {
	latest, err := s.cfg.Store.Version(ctx, v.Name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.dbError(err)
	}
	if latest.Contract != v.Contract {
		return nil, usage("the name %s is taken by a task of the contract %s, and this one is of %s", v.Name, latest.Contract, v.Contract).
			WithHint("give this one another name with name, or hide the other one first")
	}
	same, err := s.cfg.Store.Version(ctx, v.Name+":"+v.Version)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.dbError(err)
	}
	if same.Package == v.Package && same.Form == v.Form && same.Document == v.Document && same.Contract == v.Contract && same.Task.Variant == v.Task.Variant {
		return &same, nil
	}
	return nil, nil
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

// taskCache keeps loaded variants. Its lock is that of the folder for packages, too: one is marked as used or tidied away, never
// both at once.
type taskCache struct {
	mu    sync.Mutex
	tasks map[string]*task.Task
	// versions are by ID. What an import is never changes, only whether it is hidden: that must be asked of the store.
	versions map[string]store.Version
}

const maxCachedTasks = 1000

// versionOf answers what a run is of; whether it was hidden since is not told.
func (s *Service) versionOf(ctx context.Context, run store.Run) (store.Version, error) {
	s.tasks.mu.Lock()
	v, ok := s.tasks.versions[run.Task]
	s.tasks.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := s.cfg.Store.Version(ctx, run.Task)
	if err != nil {
		return v, err
	}
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	if s.tasks.versions == nil || len(s.tasks.versions) >= maxCachedTasks {
		s.tasks.versions = map[string]store.Version{}
	}
	s.tasks.versions[v.ID] = v
	return v, nil
}

// Variant answers the task that a variant of a package is; "" is the only one.
func (s *Service) Variant(ctx context.Context, v store.Version, variant string) (*task.Task, error) {
	return s.variant(ctx, v, variant)
}

func (s *Service) variant(ctx context.Context, v store.Version, variant string) (*task.Task, error) {
	if variant == "" || variant == v.Task.Variant {
		if v.Task.Variant == "" && len(v.Task.Variants) > 0 {
			return nil, usage("task %s has several uses", v.Name).WithHint("choose one with --template (variant, in a request): %s", variantNames(v.Task.Variants))
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
		refusal := &task.Error{Code: task.CodeUsage, Message: firstError(o.Findings), Findings: o.Findings}
		if len(v.Task.Variants) == 0 { // the findings say which there are
			return nil, refusal
		}
		return nil, refusal.WithHint("the variants are: %s", variantNames(v.Task.Variants))
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
		return s.imagePath(ctx, v)
	}
	// What it was called may tell what it is, and unnamed packages are called after it: the same content under another name is
	// another package.
	called := packageName(v)
	sum := sha256.Sum256([]byte(called))
	dir := filepath.Join(s.cfg.Dir, "packages", strings.TrimPrefix(v.Package, "sha256:")+"."+v.Form+"."+hex.EncodeToString(sum[:4]))
	place := func() string {
		if v.Form == formFile {
			return filepath.Join(dir, called)
		}
		return filepath.Join(within(filepath.Join(dir, called)), filepath.FromSlash(path.Clean("/" + v.Document)[1:]))
	}
	if s.placed(dir) {
		return place(), nil
	}
	from, release, err := s.cfg.Blobs.Local(ctx, v.Package)
	if errors.Is(err, blob.ErrNotFound) {
		return "", task.Errorf(task.ReasonImage, "the package of task %s is not kept any more", cmp.Or(v.Name, v.Origin)).WithHint("import it again")
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
	if err := placeIn(ctx, v.Form, from, filepath.Join(tmp, called)); err != nil {
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

// placeIn puts a package's content to a path that does not exist.
func placeIn(ctx context.Context, form, from, to string) error {
	if form == formFile {
		if os.Link(from, to) == nil {
			return nil
		}
		return dispatch.CopyFile(from, to, 0o644)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	if err := unpack(ctx, from, to); err != nil {
		return err
	}
	return syncFolder(to) // once its name is there, nobody looks whether all of it is
}

// imagePath answers where an image is, if it is still the one that was imported: a version never changes.
func (s *Service) imagePath(ctx context.Context, v store.Version) (string, error) {
	digest, err := s.cfg.Packages.ImageDigest(ctx, v.Origin)
	if err != nil {
		return "", err
	}
	if digest != v.Package {
		return "", task.Errorf(task.ReasonImage, "the image %s is another one (%s) than when task %s was imported (%s)", v.Origin, digest, v.Name, v.Package).
			WithHint("import it again, or give the earlier image its name back")
	}
	return "image:" + v.Origin, nil
}

// placed tells whether a package is there, and marks it as used, so that it is not tidied away now (see forgetPackages).
func (s *Service) placed(dir string) bool {
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	now := time.Now()
	return os.Chtimes(dir, now, now) == nil
}

// syncFolder makes everything durable that was written to a folder's file system.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

// packageName is what a package's file or folder is called: as what it was handed over as, without the ending of an archive.
func packageName(v store.Version) string {
	if v.Form == formFile {
		return fileName(v.Origin)
	}
	origin := v.Origin
	if git, ok := strings.CutPrefix(origin, "git+"); ok {
		git, _, _ = strings.Cut(git, " @ ")
		repo, place, _ := strings.Cut(git, "#")
		_, dir, _ := strings.Cut(place, ":")
		origin = strings.TrimSuffix(cmp.Or(strings.Trim(dir, "/"), strings.Trim(repo, "/")), ".git")
	}
	name := fileName(origin)
	for _, ending := range []string{".zip", ".gz", ".zst", ".tgz", ".tar"} {
		if short := name[:max(0, len(name)-len(ending))]; short != "" && strings.EqualFold(name[len(short):], ending) {
			name = short
		}
	}
	return fileName(name)
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

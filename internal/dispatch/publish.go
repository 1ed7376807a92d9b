package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"longshore/internal/task"
)

// ResultFile and LogFile are the names that every output folder has.
const (
	ResultFile = "result.json"
	LogFile    = "log"
)

// publish makes the output folder appear with everything in it, or not at all. A folder that holds an earlier result is
// replaced as a whole; any other folder that is not empty is left alone, which is an error. What cannot be published is kept
// elsewhere, and the error says where.
func (r *run) publish() error {
	out, err := resolveOut(r.job.OutDir)
	if err == nil {
		err = CheckOutDir(out)
	}
	if err != nil {
		return r.keep("", err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return r.keep("", task.Errorf(task.CodeUsage, "cannot make the output folder: %w", err))
	}
	tmp, err := unpublished(out)
	if err != nil {
		return r.keep("", task.Errorf(task.CodeUsage, "cannot make the output folder: %w", err))
	}
	defer os.RemoveAll(tmp)
	if err := r.fill(tmp); err != nil {
		return r.keep("", task.Errorf(task.ReasonEngine, "cannot write the output folder: %w", err))
	}
	if err := replace(tmp, out); err != nil {
		return r.keep(tmp, err)
	}
	return nil
}

// keep puts what could not be published, which lies in the folder done or is still to be put together, beside the folder for
// runs, where nothing removes it. It answers why it was not published, with the place.
func (r *run) keep(done string, why error) error {
	if r.job.Repeatable {
		return why
	}
	dir := filepath.Join(filepath.Dir(r.d.Dir), "unpublished", r.result.ID)
	err := os.MkdirAll(filepath.Dir(dir), 0o700)
	if err == nil && done != "" {
		err = moveTree(done, dir)
	}
	if err == nil && done == "" {
		if err = os.Mkdir(dir, 0o755); err == nil {
			err = r.fill(dir)
		}
	}
	e, ok := errors.AsType[*task.Error](why)
	if !ok {
		e = &task.Error{Code: task.ReasonEngine, Message: why.Error()}
	}
	kept := *e
	kept.Hint = "the run is over, and its outputs are in " + dir + "; move them to a folder that can be written"
	if err != nil {
		kept.Hint = fmt.Sprintf("its outputs could not be kept in %s either: %v", dir, err)
	}
	return &kept
}

// resolveOut makes an output folder's name absolute, and follows it where it is a symbolic link.
func resolveOut(dir string) (string, error) {
	out, err := filepath.Abs(dir)
	if err != nil {
		return "", task.Errorf(task.CodeUsage, "cannot use the output folder: %w", err)
	}
	st, err := os.Lstat(out)
	if err != nil || st.Mode()&fs.ModeSymlink == 0 {
		return out, nil // what does not exist is made later
	}
	to, err := filepath.EvalSymlinks(out)
	if err != nil {
		return "", task.Errorf(task.CodeUsage, "the output folder %s is a symbolic link that leads nowhere: %w", dir, err)
	}
	return to, nil
}

// CheckOutDir tells beforehand whether dir can become an output folder: it does not exist and can be made, or can be replaced
// as a whole, being empty or holding an earlier result.
func CheckOutDir(dir string) error {
	refuse := func(hint, format string, args ...any) error {
		return task.Errorf(task.CodeUsage, "the output folder "+format, args...).WithHint("%s", hint)
	}
	if dir == "" {
		return refuse("name one with -o", "has no name")
	}
	out, err := resolveOut(dir)
	if err != nil {
		return err
	}
	if err := canHold(filepath.Dir(out)); err != nil {
		return refuse("name another folder with -o", "%s cannot be made: %w", dir, err)
	}
	st, err := os.Stat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return refuse("name another folder with -o", "%s cannot be used: %w", dir, err)
	case !st.IsDir():
		return refuse("name another folder with -o", "%s is not a folder", dir)
	case isMount(out):
		return refuse("name a folder in it: -o "+filepath.Join(dir, "out"), "%s is a mount point, which cannot be replaced as a whole", dir)
	}
	if here, err := os.Stat("."); err == nil && os.SameFile(here, st) {
		return refuse("name a folder in it: -o out", "%s is the current folder, which cannot be replaced as a whole", dir)
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		return refuse("name another folder with -o", "%s cannot be used: %w", dir, err)
	}
	if len(entries) > 0 && !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ResultFile }) {
		return refuse("name another folder with -o, or empty it", "%s is not empty and holds no earlier result", dir)
	}
	return nil
}

// canHold tells whether something can be made in a folder, which is itself made when missing.
func canHold(dir string) error {
	st, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		st, err = os.Stat(dir)
	}
	switch {
	case err != nil:
		return err
	case !st.IsDir():
		return &fs.PathError{Op: "open", Path: dir, Err: unix.ENOTDIR}
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}

// isMount tells whether another file system, or a part of one, is mounted at a folder.
func isMount(dir string) bool {
	var x unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_TYPE, &x)
	return err == nil && x.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && x.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

func (r *run) fill(tmp string) error {
	if err := placeAll(r.files, tmp); err != nil {
		return err
	}
	r.placePartial(tmp)
	log := filepath.Join(tmp, LogFile)
	if _, err := os.Lstat(log); err == nil {
		log += ".txt"
		r.result.Notes = append(r.result.Notes, "an output is named log: the run's log is log.txt")
	}
	r.result.Log = filepath.Base(log)
	data, err := json.MarshalIndent(r.result, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, ResultFile), append(data, '\n'), 0o644); err != nil {
		return err
	}
	// The log comes last: what fails before it leaves it where it is, so that this can be done again elsewhere.
	return r.publishLog(log)
}

func (r *run) publishLog(to string) error {
	if r.follow == nil {
		return os.WriteFile(to, nil, 0o644)
	}
	dir, err := r.logs(context.Background())
	if err != nil {
		return err
	}
	return moveTree(filepath.Join(dir, "log"), to)
}

// replace puts the finished folder tmp in the place of out.
func replace(tmp, out string) error {
	err := os.Rename(tmp, out) // also when out is an empty folder
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return task.Errorf(task.CodeUsage, "cannot make the output folder: %w", err)
	}
	// The old result and the new one change places in one step; the old one then lies at tmp, which the caller removes.
	if err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, out, unix.RENAME_EXCHANGE); err != nil {
		return task.Errorf(task.CodeUsage, "cannot replace the output folder: %w", err)
	}
	return nil
}

// placeAll moves the outputs to dir by name, and has them point there. What lies inside another output is copied before that
// is moved.
func placeAll(files []published, dir string) error {
	inside := insideOthers(files)
	for _, nested := range []bool{true, false} {
		for i := range files {
			if inside[i] != nested {
				continue
			}
			to := filepath.Join(dir, files[i].name)
			place := moveTree
			if nested {
				place = copyAny
			}
			if err := place(files[i].source, to); err != nil {
				return err
			}
			files[i].source = to
		}
	}
	return nil
}

// insideOthers tells which of the files lie in, or are, another of them; of equal ones the first counts as not inside. A task can
// have thousands of outputs.
func insideOthers(files []published) []bool {
	first := map[string]int{}
	for i, f := range files {
		if _, ok := first[f.source]; !ok {
			first[f.source] = i
		}
	}
	inside := make([]bool, len(files))
	for i, f := range files {
		inside[i] = first[f.source] != i
		for dir := filepath.Dir(f.source); !inside[i] && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			_, inside[i] = first[dir]
		}
	}
	return inside
}

// moveTree moves a file or folder, by copying when it lies on another file system, or belongs to a user of the container's that
// the caller cannot act for.
func moveTree(from, to string) error {
	if !foreign(from) {
		err := os.Rename(from, to)
		if err == nil || !errors.Is(err, unix.EXDEV) {
			return err
		}
	}
	return copyAny(from, to)
}

// foreign tells whether something belongs to another user.
func foreign(path string) bool {
	st, err := os.Lstat(path)
	if err != nil {
		return false
	}
	s, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) != os.Geteuid()
}

func copyAny(from, to string) error {
	st, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return CopyFile(from, to, st.Mode().Perm())
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	return copyTree(context.Background(), from, root, ".", 0o755, 0o644)
}

// CopyFile copies the content of a file to one that does not exist yet.
func CopyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// sum measures a file or folder: its size in bytes, the number of files, and its digest (see task.OutputResult).
func sum(path string) (size int64, files int, digest string, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, 0, "", err
	}
	if !st.IsDir() {
		digest, size, err = sumFile(path)
		return size, 1, digest, err
	}
	h := sha256.New()
	err = filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		d, n, err := sumFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(path, p)
		size, files = size+n, files+1
		fmt.Fprintf(h, "%s  %s\n", d, filepath.ToSlash(rel))
		return err
	})
	return size, files, hex.EncodeToString(h.Sum(nil)), err
}

func sumFile(path string) (digest string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, err
}

// use hands the collected outputs to the job, laid out by name.
func (r *run) use() error {
	dir, err := r.private("outputs", 0o700)
	if err != nil {
		return err
	}
	if err := placeAll(r.files, dir); err != nil {
		return task.Errorf(task.ReasonEngine, "cannot lay out the outputs: %w", err)
	}
	return r.job.Use(r.result, dir)
}

package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"longshore/internal/engine"
	"longshore/internal/task"
)

// copyBelow is the size up to which a staged file is copied rather than bound by a mount of its own: 256 KiB.
const copyBelow = 256 << 10

// stage makes the folders and files that the execution's mounts need, and the list of mounts for the engine.
func (r *run) stage(ctx context.Context) error {
	r.staged = map[string]string{}
	for i, m := range r.exec.Mounts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !path.IsAbs(m.Target) || path.Clean(m.Target) != m.Target || m.Target == "/" {
			return task.Errorf(task.CodePackage, "the mount target %q is not an absolute, clean path below /", m.Target)
		}
		dir, extra, err := r.stageMount(ctx, i, m)
		if err != nil {
			return err
		}
		for _, target := range append([]string{m.Target}, m.AlsoAt...) {
			r.mounts = append(r.mounts, engine.Mount{Source: dir, Target: target, ReadOnly: m.ReadOnly})
			for _, x := range extra {
				x.Target = path.Join(target, x.Target)
				r.mounts = append(r.mounts, x)
			}
		}
	}
	return nil
}

// stageMount makes one mount. extra are read-only binds on top of it, with targets relative to the mount.
//
// Downloads are noted in the execution, so that the contract's collect step sees where they lie.
func (r *run) stageMount(ctx context.Context, i int, m task.Mount) (dir string, extra []engine.Mount, err error) {
	if m.Source != "" {
		dir, err = r.bindable(ctx, fmt.Sprintf("mount-%d", i), m.Source)
		return dir, nil, err
	}
	mode := os.FileMode(0o755)
	if !m.ReadOnly {
		mode = 0o777 // whatever user the image runs as can write; the run's folder around it is private
	}
	if dir, err = r.private(fmt.Sprintf("mount-%d", i), mode); err != nil {
		return "", nil, err
	}
	if !m.ReadOnly && !m.Discard {
		r.staged[m.Name] = dir
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", nil, task.Errorf(task.ReasonEngine, "cannot open the run's folder: %w", err)
	}
	defer root.Close()
	for j, f := range m.Files {
		if f.Source == "" && f.URL != "" {
			if f.Source, err = r.fetch(ctx, f.URL, f.SHA256); err != nil {
				return "", nil, err
			}
			r.exec.Mounts[i].Files[j].Source = f.Source
		}
		x, err := r.stageFile(ctx, root, m, f)
		if err != nil {
			return "", nil, err
		}
		extra = append(extra, x...)
	}
	return dir, extra, nil
}

func (r *run) stageFile(ctx context.Context, root *os.Root, m task.Mount, f task.File) ([]engine.Mount, error) {
	dirMode, fileMode := os.FileMode(0o755), os.FileMode(0o644)
	if !m.ReadOnly {
		dirMode, fileMode = 0o777, 0o666
	}
	name := filepath.FromSlash(f.Path)
	if f.Path == "" {
		name = "."
	}
	if !filepath.IsLocal(name) {
		return nil, task.Errorf(task.ReasonInput, "the input path %q leaves its folder", f.Path)
	}
	if err := makeDirs(root, filepath.Dir(name), dirMode); err != nil {
		return nil, stageError(f.Path, err)
	}
	if f.Dir {
		return nil, stageError(f.Path, makeDirs(root, name, dirMode))
	}
	if f.Source == "" {
		return nil, stageError(f.Path, writeFile(root, name, strings.NewReader(f.Text), fileMode))
	}
	source := f.Source
	st, err := os.Stat(source)
	switch {
	case err != nil:
		return nil, task.Errorf(task.ReasonInput, "cannot read the input %s: %w", source, err)
	case st.IsDir():
		return nil, copyTree(ctx, source, root, name, dirMode, fileMode)
	case !st.Mode().IsRegular():
		return nil, task.Errorf(task.ReasonInput, "the input %s is neither a file nor a folder", source)
	}
	if f.UnpackZip {
		ok, err := isZip(source)
		if err != nil {
			return nil, task.Errorf(task.ReasonInput, "cannot read the input %s: %w", source, err)
		}
		if ok {
			return nil, r.unpackZip(ctx, f, root, filepath.Dir(name), dirMode, fileMode)
		}
	}
	if m.ReadOnly && st.Size() > copyBelow && st.Mode()&0o004 != 0 {
		// A big file is not copied: an empty one holds its place, and it is bound on top.
		abs, err := filepath.Abs(source)
		if err == nil {
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err == nil {
			err = writeFile(root, name, strings.NewReader(""), fileMode)
		}
		return []engine.Mount{{Source: abs, Target: f.Path, ReadOnly: true}}, stageError(f.Path, err)
	}
	in, err := os.Open(source)
	if err != nil {
		return nil, task.Errorf(task.ReasonInput, "cannot read the input %s: %w", source, err)
	}
	defer in.Close()
	return nil, stageError(f.Path, writeFile(root, name, in, fileMode))
}

func stageError(name string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		return task.Errorf(task.ReasonInput, "two inputs would both be %s", name)
	}
	return task.Errorf(task.ReasonEngine, "cannot stage the input %s: %w", name, err)
}

// makeDirs makes name and its parents below root, with a mode that the umask does not change.
func makeDirs(root *os.Root, name string, mode os.FileMode) error {
	if name == "." {
		return nil
	}
	if st, err := root.Lstat(name); err == nil {
		if st.IsDir() {
			return nil
		}
		return fs.ErrExist
	}
	if err := makeDirs(root, filepath.Dir(name), mode); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o700); err != nil {
		return err
	}
	return root.Chmod(name, mode)
}

func writeFile(root *os.Root, name string, in io.Reader, mode os.FileMode) error {
	out, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := out.Chmod(mode); err != nil {
		out.Close()
		return err
	}
	if _, err := io.Copy(out, in); err != nil { // shares or copies inside the kernel where it can
		out.Close()
		return err
	}
	return out.Close()
}

// bindable returns a path that shows the caller's file or folder to every user inside: itself when everything in it may be
// read by others, else a copy in the run's folder.
func (r *run) bindable(ctx context.Context, name, source string) (string, error) {
	abs, err := filepath.Abs(source)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return "", task.Errorf(task.ReasonInput, "cannot read the input %s: %w", source, err)
	}
	open, err := readableByOthers(ctx, abs)
	if err != nil {
		return "", task.Errorf(task.ReasonInput, "cannot read the input %s: %w", source, err)
	}
	if open {
		return abs, nil
	}
	dir, err := r.private(name, 0o755)
	if err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", task.Errorf(task.ReasonEngine, "cannot open the run's folder: %w", err)
	}
	defer root.Close()
	return filepath.Join(dir, "copy"), copyTree(ctx, abs, root, "copy", 0o755, 0o644)
}

func readableByOthers(ctx context.Context, dir string) (bool, error) {
	open := true
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		m := info.Mode()
		if m.IsDir() && m&0o005 != 0o005 || m.IsRegular() && m&0o004 == 0 {
			open = false
			return filepath.SkipAll
		}
		return nil
	})
	return open, err
}

// copyTree copies a file or folder of the caller's to name below root. Symbolic links are copied as such; special files are
// refused.
func copyTree(ctx context.Context, source string, root *os.Root, name string, dirMode, fileMode os.FileMode) error {
	return filepath.WalkDir(source, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return task.Errorf(task.ReasonInput, "cannot read the input %s: %w", p, err)
		}
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		rel, err := filepath.Rel(source, p)
		if err != nil {
			return err
		}
		to := filepath.Join(name, rel)
		switch info, err := e.Info(); {
		case err != nil:
			return task.Errorf(task.ReasonInput, "cannot read the input %s: %w", p, err)
		case e.IsDir():
			return stageError(to, makeDirs(root, to, dirMode))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return stageError(to, root.Symlink(target, to))
		case !info.Mode().IsRegular():
			return task.Errorf(task.ReasonInput, "the input %s holds %s, which is neither a file nor a folder", source, p)
		default:
			in, err := os.Open(p)
			if err != nil {
				return task.Errorf(task.ReasonInput, "cannot read the input %s: %w", p, err)
			}
			defer in.Close()
			return stageError(to, writeFile(root, to, in, fileMode|info.Mode()&0o111))
		}
	})
}

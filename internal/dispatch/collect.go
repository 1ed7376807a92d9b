package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"longshore/internal/task"
)

// maxLeftFiles bounds how many files and folders one mount may hold after a run.
const maxLeftFiles = 1_000_000

// collect reads what the container left behind and lets the contract make outputs of it.
func (r *run) collect(ctx context.Context) *task.Failure {
	failure := (*task.Failure)(nil)
	if r.exit != nil && r.exec.HTTP == nil {
		failure = r.exitFailure(*r.exit)
	}
	if err := r.gather(ctx); err != nil {
		if failure == nil {
			failure = r.failed(err)
		}
		return failure
	}
	c, err := r.job.Contract.Collect(r.task, r.exec, r.left)
	if err != nil {
		if failure == nil {
			failure = r.failed(err)
		}
		return failure
	}
	r.result.Digest, r.result.DigestRule = c.Digest, c.DigestRule
	r.result.Notes = append(r.result.Notes, c.Notes...)
	for _, w := range c.Warnings {
		r.warn("%s", w)
	}
	switch {
	case failure == nil && c.Failure != nil:
		failure = c.Failure
		if failure.LogTail == "" {
			failure.LogTail = r.logTail()
		}
	case failure != nil && c.Failure != nil && c.Failure.Reason == failure.Reason:
		failure.Message = c.Failure.Message // the contract knows its own words for this exit
	}
	if failure != nil {
		return failure
	}
	r.outputs = c.Outputs
	if err := r.assemble(c.Outputs); err != nil {
		return r.failed(err)
	}
	if err := leaveOut(c.Outputs); err != nil {
		return r.failed(err)
	}
	if err := r.describe(); err != nil {
		return r.failed(err)
	}
	return nil
}

// leaveOut removes from the leftovers what outputs say is no part of them, such as inputs in a folder that holds both.
func leaveOut(outputs map[string]task.Value) error {
	for name, v := range outputs {
		if len(v.Except) == 0 {
			continue
		}
		root, err := os.OpenRoot(v.Path)
		if err != nil {
			return task.Errorf(task.ReasonEngine, "cannot open the output %s: %w", name, err)
		}
		for _, x := range v.Except {
			err := root.Remove(filepath.FromSlash(x))
			// A folder that only held inputs goes with them.
			for dir := filepath.Dir(filepath.FromSlash(x)); err == nil && dir != "."; dir = filepath.Dir(dir) {
				if root.Remove(dir) != nil {
					break // it holds more
				}
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				root.Close()
				return task.Errorf(task.ReasonEngine, "cannot leave %s out of the output %s: %w", x, name, err)
			}
		}
		root.Close()
	}
	return nil
}

// gather waits for the log and makes every writable mount safe to read.
func (r *run) gather(ctx context.Context) error {
	dir, err := r.logs(ctx)
	if err != nil {
		return err
	}
	r.left.Log, r.left.Stdout, r.left.Stderr = filepath.Join(dir, "log"), filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")
	r.left.Mounts = map[string]string{}
	for _, m := range r.exec.Mounts {
		folder, ok := r.staged[m.Name]
		if !ok {
			continue
		}
		warnings, err := makeSafe(ctx, folder, m, r.exec.Resources.Disk)
		if err != nil {
			return err
		}
		r.left.Warnings = append(r.left.Warnings, warnings...)
		for _, w := range warnings {
			r.warn("%s", w)
		}
		r.left.Mounts[m.Name] = folder
	}
	return nil
}

// logs returns the folder of the plain log files, once they are whole; of a server that goes on, they hold what it wrote since
// the run began to use it.
func (r *run) logs(ctx context.Context) (string, error) {
	if r.seat != nil {
		return r.seat.logs(r)
	}
	if r.exec.HTTP != nil && r.exit == nil {
		r.follow.stop() // the server could not be ended, so its log has no end
	}
	select {
	case <-r.follow.done:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if err := r.follow.err; err != nil {
		return "", task.Errorf(task.ReasonEngine, "the log cannot be kept: %w", err)
	}
	return r.follow.dir, nil
}

// maxLeftDepth bounds how deep folders may be nested in what is left: no tool of the caller's would get at more.
const maxLeftDepth = 500

// makeSafe walks what a container left in a mount. Everything that is no regular file, folder or permitted link is an output
// error; rights are set so that the caller can read it, and special bits and attributes are taken off. most bounds what the sizes of
// files claim beyond what was written. The container is dead by now, so nothing changes under the walk.
func makeSafe(ctx context.Context, folder string, m task.Mount, most task.Bytes) (warnings []string, err error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, task.Errorf(task.ReasonEngine, "cannot open what the container left in %s: %w", m.Target, err)
	}
	defer root.Close()
	s := &leftFolder{root: root, mount: m, most: most, met: map[inode]bool{}}
	if err := s.walk(ctx, ".", 0); err != nil {
		if e, ok := err.(*task.Error); ok {
			return nil, e
		}
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			return nil, task.Errorf(task.ReasonOutput, "another user of the container keeps an output in %s to itself: %w", m.Target, err).
				WithHint("let the program make it readable for others, or run Longshore as root")
		}
		return nil, task.Errorf(task.ReasonEngine, "cannot read what the container left in %s: %w", m.Target, err)
	}
	if len(s.bad) > 0 {
		e := &task.Error{Code: task.ReasonOutput, Message: s.bad[0].What, Hint: s.bad[0].Mend, Findings: s.bad}
		if len(s.bad) > 1 {
			e.Message = fmt.Sprintf("%s, and %d more of the outputs are no regular files", s.bad[0].What, len(s.bad)-1)
		}
		return nil, e
	}
	return s.warnings, nil
}

// inode is a file, whatever its names.
type inode struct{ dev, ino uint64 }

// leftFolder is one walk of makeSafe.
type leftFolder struct {
	root     *os.Root
	mount    task.Mount
	count    int
	most     task.Bytes // what may be unwritten; 0 for no bound
	hollow   task.Bytes // what was met of it
	met      map[inode]bool
	bad      []task.Finding
	warnings []string
}

func (l *leftFolder) walk(ctx context.Context, name string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxLeftDepth {
		return task.Errorf(task.ReasonOutput, "the container left folders nested more than %d deep in %s", maxLeftDepth, l.mount.Target)
	}
	if err := own(l.root, name); err != nil {
		return err
	}
	if err := tolerate(l.root.Chmod(name, 0o755)); err != nil {
		return err
	}
	d, err := l.root.Open(name)
	if err != nil {
		return err
	}
	entries, err := l.list(d)
	d.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		child := filepath.Join(name, e.Name())
		if e.IsDir() {
			err = l.walk(ctx, child, depth+1)
		} else {
			err = l.entry(child, e.Type())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// list reads a folder, and takes the attributes off it and off what lies in it.
func (l *leftFolder) list(d *os.File) ([]fs.DirEntry, error) {
	here := fmt.Sprintf("/proc/self/fd/%d/", d.Fd())
	if err := strip(here + "."); err != nil {
		return nil, err
	}
	var all []fs.DirEntry
	for {
		some, err := d.ReadDir(1024)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if l.count += len(some); l.count > maxLeftFiles {
			return nil, task.Errorf(task.ReasonOutput, "the container left more than %d files in %s", maxLeftFiles, l.mount.Target)
		}
		for _, e := range some {
			if e.IsDir() {
				continue // when it is walked
			}
			if err := strip(here + e.Name()); err != nil {
				return nil, err
			}
		}
		all = append(all, some...)
	}
}

// maxAttributes is the most that the kernel lists of one file's attributes.
const maxAttributes = 64 << 10

// strip takes off a file the attributes that a container can have given it: file capabilities, by which whoever executes it on the
// machine would be root, access lists, and data that nobody measures. Those of the machine's own stay.
func strip(path string) error {
	var names [maxAttributes]byte
	n, err := unix.Llistxattr(path, names[:])
	if err != nil {
		return tolerate(notOffered(err))
	}
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		space, _, _ := strings.Cut(name, ".")
		switch {
		case space == "user", space == "trusted", name == "security.capability", strings.HasPrefix(name, "system.posix_acl_"):
			if err := tolerate(notOffered(unix.Lremovexattr(path, name))); err != nil {
				return fmt.Errorf("taking the attribute %s off: %w", name, err)
			}
		}
	}
	return nil
}

// notOffered accepts that a file system has no attributes, or one not any more.
func notOffered(err error) error {
	if err == unix.ENOTSUP || err == unix.ENODATA {
		return nil
	}
	return err
}

// entry makes one thing that is no folder safe.
func (l *leftFolder) entry(name string, t fs.FileMode) error {
	switch {
	case t.IsRegular():
		return l.file(name)
	case t&fs.ModeSymlink == 0:
		return l.refuse(name, kindName(t), "write regular files and folders only")
	case l.mount.Links != task.LinksKeptInside:
		return l.refuse(name, "symbolic link", "write the file itself: links are not taken over")
	}
	if _, err := l.root.Stat(name); err == nil {
		return nil
	}
	return l.drop(name, "is a symbolic link that does not stay inside the output") // or leads nowhere
}

// file makes a regular file safe.
func (l *leftFolder) file(name string) error {
	if err := own(l.root, name); err != nil {
		return err
	}
	st, err := safeMode(l.root, name)
	if err != nil {
		return err
	}
	if l.hollow += l.unwritten(st); l.most > 0 && l.hollow > l.most {
		return task.Errorf(task.ReasonOutput, "the files that the container left in %s have more than %s that was never written: holes, and further names of the same file", l.mount.Target, l.most).
			WithHint("raise the disk limit with --disk, if this is meant")
	}
	return nil
}

// unwritten is what of a file's size the limit of what is written does not see, though all of it is read when the file is measured,
// and written when it is copied: its holes, and everything of a file that was met before under another name.
func (l *leftFolder) unwritten(st fs.FileInfo) task.Bytes {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	if id := (inode{s.Dev, s.Ino}); s.Nlink > 1 {
		if l.met[id] {
			return task.Bytes(s.Size)
		}
		l.met[id] = true
	}
	return task.Bytes(max(s.Size-s.Blocks*512, 0))
}

// refuse notes something that may not be in an output. Outside of what is an output it is dropped.
func (l *leftFolder) refuse(name, kind, mend string) error {
	top, _, _ := strings.Cut(filepath.ToSlash(name), "/")
	if len(l.mount.Only) > 0 && !slices.Contains(l.mount.Only, top) {
		return l.drop(name, "is a "+kind+" and no output")
	}
	l.bad = append(l.bad, task.Finding{Rule: "output-kind", Severity: task.SeverityError, File: name, What: fmt.Sprintf("%s is a %s", filepath.Join(l.mount.Target, name), kind), Mend: mend})
	return nil
}

func (l *leftFolder) drop(name, why string) error {
	l.warnings = append(l.warnings, fmt.Sprintf("%s %s; it was dropped", filepath.Join(l.mount.Target, name), why))
	return l.root.Remove(name)
}

func kindName(t fs.FileMode) string {
	switch {
	case t&fs.ModeNamedPipe != 0:
		return "named pipe"
	case t&fs.ModeSocket != 0:
		return "socket"
	case t&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// own gives a file or folder to the user who runs Longshore: inside, it may belong to any user of the image.
func own(root *os.Root, name string) error {
	st, err := root.Lstat(name)
	if err != nil {
		return err
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if s, ok := st.Sys().(*syscall.Stat_t); ok && int(s.Uid) == uid && int(s.Gid) == gid {
		return nil
	}
	return tolerate(root.Lchown(name, uid, gid))
}

// tolerate accepts that the files of a container's other users cannot be changed without root; they are then copied, if they
// can be read, when they are published.
func tolerate(err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return nil
	}
	return err
}

// safeMode lets everybody read a file, keeps its execute bits and takes off setuid, setgid and sticky.
func safeMode(root *os.Root, name string) (fs.FileInfo, error) {
	st, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	want := 0o644 | st.Mode().Perm()&0o111
	if st.Mode() == want {
		return st, nil
	}
	return st, tolerate(root.Chmod(name, want))
}

// maxInlineValue bounds a value that is read from its file into result.json: 1 MiB.
const maxInlineValue = 1 << 20

// published is one output on its way to the output folder.
type published struct {
	name   string // in the output folder
	source string
}

// describe fills in the result's outputs, in the task's order.
func (r *run) describe() error {
	taken := map[string]bool{"result.json": true}
	for _, p := range r.task.Outputs() {
		v, ok := r.outputs[p.Name]
		if !ok {
			continue
		}
		name := safeName(p.Name, taken)
		o := task.OutputResult{Name: p.Name, Type: p.Type.Kind, Path: name}
		var err error
		if o.Size, o.Files, o.SHA256, err = sum(v.Path); err != nil {
			return task.Errorf(task.ReasonEngine, "cannot read the output %s: %w", p.Name, err)
		}
		o.Value = outputValue(p, v, o)
		r.result.Outputs = append(r.result.Outputs, o)
		r.files = append(r.files, published{name, v.Path})
	}
	return nil
}

// safeName is the output's name as one path element that is not taken yet.
func safeName(name string, taken map[string]bool) string {
	s := strings.Map(func(c rune) rune {
		if c == '/' || c == 0 {
			return '_'
		}
		return c
	}, name)
	if s == "" || s == "." || s == ".." {
		s = "output-" + strings.ReplaceAll(s, ".", "_")
	}
	for base, n := s, 2; taken[s]; n++ {
		s = fmt.Sprintf("%s-%d", base, n)
	}
	taken[s] = true
	return s
}

// fileValue is how a file or folder appears as a typed value.
type fileValue struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

func outputValue(p task.Parameter, v task.Value, o task.OutputResult) any {
	file := fileValue{o.Path, o.Size, o.SHA256}
	switch {
	case p.Type.Kind.OnDisk():
		return file
	case p.Type.Kind == task.Array:
		return arrayValue(*p.Type.Item, v, o.Path)
	case v.Text == "" && o.Size > maxInlineValue:
		return file
	case v.Text == "" && o.Size > 0:
		data, err := os.ReadFile(v.Path)
		if err != nil || !utf8.Valid(data) {
			return file
		}
		if !blank(data) { // of blanks alone, the contract has read the empty text
			v.Text = string(data)
		}
	}
	if p.Type.Kind == task.JSON && !json.Valid([]byte(v.Text)) {
		return v.Text
	}
	return v.Plain(p.Type)
}

// blank tells text of nothing but white space and control characters.
func blank(text []byte) bool {
	return len(bytes.TrimFunc(text, func(c rune) bool { return c <= ' ' })) == 0
}

// arrayValue shows items on disk by their path below the output folder.
func arrayValue(item task.Type, v task.Value, path string) any {
	list := make([]any, 0, len(v.Items))
	for i, it := range v.Items {
		at := fmt.Sprintf("%s/%d", path, i)
		switch {
		case item.Kind.OnDisk():
			list = append(list, map[string]string{"path": at})
		case item.Kind == task.Array:
			list = append(list, arrayValue(*item.Item, it, at))
		default:
			list = append(list, it.Plain(item))
		}
	}
	return list
}

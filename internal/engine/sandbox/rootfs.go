package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

// rootfs says which overlay to mount: see make_rootfs in launch.c.
type rootfs struct {
	layerRoot string   // the folder that one mount makes all layers reachable from; empty when the layers are absolute
	layers    []string // lowest first
	skeleton  string   // one more layer, below them
	upperRoot string
	upper     string // below upperRoot
	work      string // below upperRoot
	options   string
	workDir   string // the work folder, when it lies outside the container's folder and is to be removed
}

// overlayOptions: nothing but plain upper layers, which are layers again elsewhere; and no syncing, as a private layer is
// thrown away and whoever keeps one syncs it when it is complete.
const overlayOptions = ",redirect_dir=nofollow,metacopy=off,index=off,xino=off,volatile"

// newRootfs makes the folders of a root file system. dir is the container's folder.
func newRootfs(dir string, spec *engine.Spec, privileged bool) (rootfs, error) {
	r := rootfs{upperRoot: dir, upper: "upper", work: "work", options: overlayOptions}
	if !privileged {
		r.options += ",userxattr" // Ordinary users have no trusted.overlay attributes.
	}
	if err := os.Mkdir(filepath.Join(dir, "work"), 0o700); err != nil {
		return r, err
	}
	if w := spec.WritableLayer; w != "" {
		if err := r.useUpper(w, dir, spec.ID); err != nil {
			return r, err
		}
	} else if err := makeUpper(filepath.Join(dir, "upper"), spec.Image.Layers); err != nil {
		return r, err
	}
	var err error
	if r.layerRoot, r.layers, err = shareRoot(spec.Image.Layers); err != nil {
		return r, err
	}
	if len(spec.Folders) > 0 {
		r.skeleton, err = ownSkeleton(filepath.Join(dir, "skeleton"), spec.Folders)
	} else {
		r.skeleton, err = skeleton(filepath.Dir(dir))
	}
	return r, err
}

// ownSkeleton makes a skeleton of one container, with more folders in it.
func ownSkeleton(path string, folders []string) (string, error) {
	if err := mkdir(path, 0o755); err != nil {
		return "", err
	}
	if err := fillSkeleton(path); err != nil {
		return "", err
	}
	for _, f := range folders {
		below := path
		for _, name := range strings.Split(filepath.Clean("/" + f)[1:], "/") {
			below = filepath.Join(below, name)
			if err := mkdir(below, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return "", startError("unsupported", "the folder %q cannot be made: %v", f, err)
			}
		}
	}
	return path, nil
}

// skeletonName is a folder of Config.Dir, below all layers of every container: it has the mount points that an image may lack, so
// that they need not be made in each container's writable layer. Its name cannot be a container's ID.
const skeletonName = "_skeleton"

// skeleton makes the folder once and returns its path.
func skeleton(dir string) (string, error) {
	path := filepath.Join(dir, skeletonName)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	tmp, err := os.MkdirTemp(dir, skeletonName+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp) // Nothing is there any more if all went well.
	if err := fillSkeleton(tmp); err != nil {
		return "", err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil && !errors.Is(err, os.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return "", err
	}
	return path, nil
}

// fillSkeleton makes the mount points in a skeleton.
func fillSkeleton(dir string) error {
	for _, d := range []string{"dev", "etc", "proc", "sys"} {
		if err := mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, f := range []string{"hostname", "hosts", "resolv.conf"} {
		path := filepath.Join(dir, "etc", f)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mkdir makes a folder with a mode that the umask does not change.
func mkdir(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// makeUpper makes the private upper layer. The root folder of an overlay has the mode of its upper folder, so the top layer's is
// copied.
func makeUpper(dir string, layers []string) error {
	mode := os.FileMode(0o755)
	if n := len(layers); n > 0 {
		st, err := os.Stat(layers[n-1])
		if err != nil {
			return layerError(err)
		}
		mode = st.Mode() & (os.ModePerm | os.ModeSticky | os.ModeSetgid)
	}
	return mkdir(dir, mode)
}

// useUpper takes the caller's folder as upper layer. The work folder must be on the same file system: beside it, if the
// container's own folder is not.
func (r *rootfs) useUpper(w, dir, id string) error {
	var mine, theirs unix.Stat_t
	if err := unix.Stat(dir, &mine); err != nil {
		return err
	}
	if err := unix.Stat(w, &theirs); err != nil {
		return startError("mount", "the writable layer %s: %w", w, err)
	}
	r.upperRoot, r.upper = filepath.Dir(w), filepath.Base(w)
	r.workDir = filepath.Join(r.upperRoot, ".longshore-work-"+id)
	r.work = filepath.Base(r.workDir)
	if err := os.Mkdir(r.workDir, 0o700); err != nil {
		return startError("mount", "a work folder beside the writable layer: %w", err)
	}
	return nil
}

// shareRoot finds the deepest folder that holds all layers on one mount, so that one id-mapped mount serves hundreds of them.
// If there is none, it returns the layers as absolute paths.
func shareRoot(layers []string) (root string, rel []string, err error) {
	if len(layers) == 0 { // An image from scratch.
		return "", nil, nil
	}
	root = filepath.Dir(filepath.Clean(layers[0]))
	for _, l := range layers[1:] {
		for !strings.HasPrefix(l, strings.TrimSuffix(root, "/")+"/") {
			root = filepath.Dir(root)
		}
	}
	id, err := mountID(root)
	if err != nil {
		return "", nil, layerError(err)
	}
	for _, l := range layers {
		lid, err := mountID(l)
		if err != nil {
			return "", nil, layerError(err)
		}
		if lid != id {
			return "", layers, nil
		}
		r, err := filepath.Rel(root, l)
		if err != nil {
			return "", nil, layerError(err)
		}
		rel = append(rel, r)
	}
	return root, rel, nil
}

func layerError(err error) error {
	return fmt.Errorf("sandbox: a layer of the image is missing or unreadable: %w", err)
}

func mountID(path string) (uint64, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err != nil {
		return 0, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	return st.Mnt_id, nil
}

// mount is one mount of the container besides its root: see struct mnt in launch.c.
type mount struct {
	kind, source, target, options string
	attr                          uint64
	flags                         int
}

const (
	idMap     = 1
	recursive = 2
	file      = 4
	optional  = 8
)

const (
	quiet    = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	readOnly = unix.MOUNT_ATTR_RDONLY
)

// The parts of /proc and /sys that are hidden or read-only are those of the OCI runtimes' default configuration.
var (
	masked = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware",
	}
	frozen = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

// mounts lists everything that is mounted in a container, in order; devices are the mounts of what it is given of the machine's.
func mounts(spec *engine.Spec, devices []mount) ([]mount, error) {
	fresh := func(fs, target, options string, attr uint64) mount {
		return mount{kind: "fs", source: fs, target: target, options: options, attr: attr}
	}
	list := []mount{
		fresh("proc", "/proc", "", quiet),
		fresh("tmpfs", "/dev", "mode=755,size=64k", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC),
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		list = append(list, mount{kind: "bind", source: "/dev/" + name, target: "/dev/" + name, attr: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC})
	}
	for _, l := range [][2]string{{"/proc/self/fd", "/dev/fd"}, {"/proc/self/fd/0", "/dev/stdin"}, {"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"}, {"pts/ptmx", "/dev/ptmx"}} {
		list = append(list, mount{kind: "link", source: l[0], target: l[1]})
	}
	shm := spec.Limits.Shm
	if shm == 0 {
		shm = 64 << 20
	}
	list = append(list,
		fresh("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC),
		fresh("tmpfs", "/dev/shm", "mode=1777,size="+strconv.FormatInt(shm, 10), quiet),
	)
	if spec.Network != engine.NetworkHost {
		// The kernel lets only the owner of a network namespace mount its sysfs.
		sys := fresh("sysfs", "/sys", "", quiet|readOnly)
		sys.flags = optional
		list = append(list, sys)
	}
	for _, m := range masked {
		list = append(list, mount{kind: "mask", target: m})
	}
	for _, m := range frozen {
		list = append(list, mount{kind: "readonly", target: m})
	}
	names, err := nameFiles(spec)
	if err != nil {
		return nil, err
	}
	list = append(list, names...)
	list = append(list, devices...)
	for _, m := range spec.Mounts {
		one, err := userMount(m)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

func userMount(m engine.Mount) (mount, error) {
	if !filepath.IsAbs(m.Target) || filepath.Clean(m.Target) != m.Target || m.Target == "/" {
		return mount{}, startError("mount", "mount target %q is not an absolute, clean path below /", m.Target)
	}
	attr := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if m.ReadOnly {
		attr |= readOnly
	}
	if m.Tmpfs {
		size := m.Size
		if size == 0 {
			size = 64 << 20
		}
		return mount{kind: "fs", source: "tmpfs", target: m.Target, options: "mode=1777,size=" + strconv.FormatInt(size, 10), attr: attr}, nil
	}
	if !filepath.IsAbs(m.Source) {
		return mount{}, startError("mount", "mount source %q is not an absolute path", m.Source)
	}
	if _, err := os.Stat(m.Source); err != nil {
		return mount{}, startError("mount", "mount source for %s: %w", m.Target, err)
	}
	return mount{kind: "bind", source: m.Source, target: m.Target, attr: attr, flags: idMap | recursive}, nil
}

// nameFiles lists the files that tell a container its name and how to resolve others.
func nameFiles(spec *engine.Spec) ([]mount, error) {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t" + spec.Hostname + "\n"
	resolv := ""
	if spec.Network == engine.NetworkHost {
		b, err := os.ReadFile("/etc/hosts")
		if err != nil && !missing(err) {
			return nil, err
		}
		hosts += string(b)
		if b, err = os.ReadFile("/etc/resolv.conf"); err != nil && !missing(err) {
			return nil, err
		}
		resolv = string(b)
	}
	generated := func(target, content string) mount {
		// The launcher's strings end at a zero byte.
		return mount{kind: "file", source: strings.ReplaceAll(content, "\x00", ""), target: target, attr: readOnly | quiet}
	}
	return []mount{
		generated("/etc/hostname", spec.Hostname+"\n"),
		generated("/etc/hosts", hosts),
		generated("/etc/resolv.conf", resolv),
	}, nil
}

// tidyUpper removes the empty mount points that a start had to make in a writable layer that is kept. The layer's content is
// hostile, hence os.Root. What the container put something into stays.
func tidyUpper(upper string, made []string) error {
	root, err := os.OpenRoot(upper)
	if err != nil {
		return err
	}
	defer root.Close()
	for i := len(made) - 1; i >= 0; i-- {
		name := strings.TrimPrefix(made[i], "/")
		st, err := root.Lstat(name)
		if err != nil || !st.IsDir() && (!st.Mode().IsRegular() || st.Size() > 0) {
			continue
		}
		if err := root.Remove(name); err != nil && !missing(err) && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}

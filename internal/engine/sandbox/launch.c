// The launcher: turns a fresh copy of this program into the first process of a container.
//
// The engine starts /proc/self/exe with LONGSHORE_SANDBOX_LAUNCH set. The constructor below runs before the Go runtime
// and before any Go package is initialised, which is what makes a start take milliseconds whatever the program's size,
// and it is single-threaded, which is what the system calls it makes ask for. It never returns when it was asked to launch.
//
// Two small roles beside "container" serve an engine without root: "remove" and "socket", see helper.go.
//
// It holds no policy. Everything it does is written in a description that the engine (a trusted parent) left in a memory
// file, as a sequence of NUL-terminated strings in a fixed order; describe.go writes what is read here.
//
//   stage 1  in the machine's namespaces, with the caller's rights: joins the cgroups, clones stage 2 into the new
//            namespaces, and (with real root only) makes the mounts that only root may make, as detached mounts.
//   stage 2  is PID 1 of the container and root of the new user namespace only: attaches the mounts, leaves the
//            machine's file systems for good, then gives up every right and executes the container's command.
//
// No process of the container exists before stage 2 calls execve, so nothing races with what is done here; image content is
// hostile all the same, and every path into it is resolved by the kernel with RESOLVE_IN_ROOT.
//
// Both stages talk to the engine over a stream socket: 'P' pid, 'R' created paths, 'E' kind and message; a socket that closes
// without a further message means that execve succeeded.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif
#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

// The descriptors that the engine passes, fixed by spawn.go.
enum { CTL = 3, DESC = 4 };

// One mount of the container: made by prepare, attached by attach.
struct mnt {
	const char *kind;    // bind, fs, file, link, mask, readonly
	const char *source;  // bind: path on the machine; fs: file system type; file: content; link: where it leads
	const char *target;  // path in the container
	const char *options; // fs: comma-separated options
	unsigned long attr;  // MOUNT_ATTR_*
	int flags;           // see below
	int fd;              // the detached mount
};
enum {
	F_IDMAP = 1,     // bind: map the container's ids
	F_RECURSIVE = 2, // bind: with the mounts below it
	F_FILE = 4,      // the mount point, when it must be made, is a file
	F_OPTIONAL = 8,  // skip when the machine does not offer it
};

// The namespaces that a process can only be born into.
#define FIRST (CLONE_NEWUSER | CLONE_NEWPID)

static char *cursor, *limit;

// The description, in its order.
static int privileged;
static unsigned long base, n_ids;
static const char *rootfs_at, *layer_root, *skeleton, *upper_root, *upper_dir, *work_dir, *overlay_options;
static const char **layers;
static long n_layers;
static struct mnt *mounts;
static long n_mounts;

// Paths that had to be made in the root file system, for the engine to tidy away.
static char created[65536];
static size_t n_created;

static void send_all(const void *data, size_t n) {
	const char *p = data;
	while (n > 0) {
		ssize_t w = send(CTL, p, n, MSG_NOSIGNAL);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			_exit(125);
		p += w;
		n -= (size_t)w;
	}
}

static void message(char type, const char *body, size_t n) {
	char head[5] = {type};
	uint32_t len = (uint32_t)n;
	memcpy(head + 1, &len, 4);
	send_all(head, sizeof head);
	send_all(body, n);
}

// fail reports an error and ends the process. kind: i(nternal), c(ommand), m(ount), u(ser), n(ot offered by the machine).
static void fail(char kind, const char *format, ...) {
	char text[2048];
	int err = errno;
	text[0] = kind;
	va_list args;
	va_start(args, format);
	int n = vsnprintf(text + 1, sizeof text - 1, format, args);
	va_end(args);
	if (n < 0)
		n = 0;
	if ((size_t)n > sizeof text - 2)
		n = sizeof text - 2;
	if (err != 0) {
		int m = snprintf(text + 1 + n, sizeof text - 1 - (size_t)n, ": %s", strerror(err));
		if (m > 0)
			n += m;
		if ((size_t)n > sizeof text - 2)
			n = sizeof text - 2;
	}
	message('E', text, (size_t)n + 1);
	_exit(125);
}

// await reads the one byte by which the engine, or the other stage, lets this one go on. It ends the process when the engine is
// gone or gave up.
static void await(int fd, char want) {
	char got = 0;
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = CTL, .events = POLLRDHUP}};
	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			_exit(125);
	if (!(p[0].revents & POLLIN) || read(fd, &got, 1) != 1 || got != want)
		_exit(125);
}

static char *string(void) {
	char *s = cursor;
	char *nul = s < limit ? memchr(s, 0, (size_t)(limit - s)) : NULL;
	if (nul == NULL) {
		errno = 0;
		fail('i', "the description is cut short");
	}
	cursor = nul + 1;
	return s;
}

static long number(void) { return strtol(string(), NULL, 10); }

static unsigned long mask(void) { return strtoul(string(), NULL, 10); }

// load reads the memory file from an offset to its end.
static size_t load(off_t from) {
	struct stat st;
	if (fstat(DESC, &st) < 0)
		fail('i', "fstat of the description");
	size_t size = (size_t)(st.st_size - from), got = 0;
	char *buf = malloc(size + 1);
	if (buf == NULL)
		fail('i', "memory for the description");
	while (got < size) {
		ssize_t n = pread(DESC, buf + got, size - got, from + (off_t)got);
		if (n <= 0)
			fail('i', "reading the description");
		got += (size_t)n;
	}
	cursor = buf;
	limit = buf + size;
	return size;
}

static int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

static int sys_open_tree(int dir, const char *path, unsigned flags) {
	return (int)syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC);
}

static int sys_move_mount(int from, int to, const char *to_path) {
	unsigned flags = MOVE_MOUNT_F_EMPTY_PATH;
	if (to_path[0] == 0)
		flags |= MOVE_MOUNT_T_EMPTY_PATH;
	return (int)syscall(SYS_move_mount, from, "", to, to_path, flags);
}

static int sys_setattr(int fd, unsigned flags, uint64_t set, int userns) {
	struct mount_attr attr = {.attr_set = set};
	if (userns >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint64_t)userns;
	}
	return (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | flags, &attr, sizeof attr);
}

// raise_caps makes every permitted capability effective: changing the file system ids lowers some.
static void raise_caps(void) {
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &head, data) < 0)
		fail('i', "capget");
	data[0].effective = data[0].permitted;
	data[1].effective = data[1].permitted;
	if (syscall(SYS_capset, &head, data) < 0)
		fail('i', "capset");
}

// open_binds makes detached copies of the folders and files of the machine that the container is given.
static void open_binds(int userns) {
	for (long i = 0; i < n_mounts; i++) {
		struct mnt *m = &mounts[i];
		if (strcmp(m->kind, "bind") != 0)
			continue;
		unsigned rec = m->flags & F_RECURSIVE ? AT_RECURSIVE : 0;
		m->fd = sys_open_tree(AT_FDCWD, m->source, OPEN_TREE_CLONE | rec);
		if (m->fd < 0) {
			if (m->flags & F_OPTIONAL)
				continue;
			fail('m', "mounting %s on %s", m->source, m->target);
		}
		int map = m->flags & F_IDMAP ? userns : -1;
		if ((m->attr != 0 || map >= 0) && sys_setattr(m->fd, rec, m->attr, map) < 0) {
			if (map >= 0 && errno == EINVAL)
				fail('m', "mounting %s on %s: its file system cannot map user numbers (id-mapped mounts) on this kernel; use a folder on ext4, xfs or btrfs", m->source, m->target);
			fail('m', "mounting %s on %s: setting its options", m->source, m->target);
		}
	}
}

// lower_mount opens a folder of layers, id-mapped and read-only if there is a user namespace to map to.
static int lower_mount(const char *path, int userns) {
	int fd = sys_open_tree(AT_FDCWD, path, userns >= 0 ? OPEN_TREE_CLONE : 0);
	if (fd < 0)
		fail('i', "opening the layers' folder %s", path);
	if (userns < 0)
		return fd;
	if (sys_setattr(fd, 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, userns) < 0)
		fail('n', "the file system of %s cannot be mounted id-mapped (needs ext4, xfs, btrfs or a newer kernel)", path);
	return fd;
}

// attach_lower puts what lower_mount opened somewhere, as kernels before 6.15 let an overlay use attached mounts only: stage 1's mount
// namespace is private and ends with it. It may hide the paths of other folders.
static void attach_lower(int fd, int userns) {
	if (userns >= 0 && sys_move_mount(fd, AT_FDCWD, rootfs_at) < 0)
		fail('i', "attaching the layers at %s", rootfs_at);
}

// make_rootfs mounts the overlay of layers and upper layer and returns a detached mount of it. In a user namespace
// (userns < 0) the files belong to the mapped users already; else id-mapped mounts below the overlay translate, and the
// overlay is made with file system ids that the mapping knows, as it creates files of its own in the work folder.
static int make_rootfs(int userns) {
	// First of all, as attaching the others may hide its path.
	int up = sys_open_tree(AT_FDCWD, upper_root, userns >= 0 ? OPEN_TREE_CLONE : 0);
	int lowest = lower_mount(skeleton, userns);
	int low = layer_root[0] ? lower_mount(layer_root, userns) : AT_FDCWD;
	if (low != AT_FDCWD)
		attach_lower(low, userns);
	attach_lower(lowest, userns);
	if (up < 0)
		fail('i', "opening the writable layer's folder %s", upper_root);
	if (userns >= 0) {
		if (sys_setattr(up, 0, MOUNT_ATTR_NODEV, userns) < 0)
			fail('n', "the file system of %s cannot be mounted id-mapped (needs ext4, xfs, btrfs or a newer kernel)", upper_root);
		if (sys_move_mount(up, AT_FDCWD, rootfs_at) < 0)
			fail('i', "attaching the writable layer at %s", rootfs_at);
	}
	// Names relative to /proc/self/fd keep hundreds of layers within the one page that mount(2) reads.
	size_t room = 4096, used;
	char *opts = malloc(room);
	if (opts == NULL || chdir("/proc/self/fd") < 0)
		fail('i', "entering /proc/self/fd");
	used = (size_t)snprintf(opts, room, "lowerdir=");
	for (long i = n_layers - 1; i >= 0; i--) {
		int fd = low == AT_FDCWD ? lower_mount(layers[i], userns) : openat(low, layers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			fail('i', "opening layer %s of %s", layers[i], layer_root);
		if (low == AT_FDCWD)
			attach_lower(fd, userns);
		used += (size_t)snprintf(opts + used, room - used, "%d:", fd);
		if (used >= room) {
			errno = 0;
			fail('i', "%ld layers are too many for one overlay mount", n_layers);
		}
	}
	used += (size_t)snprintf(opts + used, room - used, "%d,upperdir=%d/%s,workdir=%d/%s%s", lowest, up, upper_dir, up, work_dir, overlay_options);
	if (used >= room) {
		errno = 0;
		fail('i', "%ld layers are too many for one overlay mount", n_layers);
	}
	if (userns >= 0) {
		setfsgid((gid_t)base);
		setfsuid((uid_t)base);
		raise_caps();
	}
	if (syscall(SYS_mount, "overlay", rootfs_at, "overlay", (unsigned long)MS_NODEV, opts) < 0)
		fail('i', "mounting the overlay of %ld layers (%s)", n_layers, opts);
	int root = sys_open_tree(AT_FDCWD, rootfs_at, OPEN_TREE_CLONE);
	if (root < 0)
		fail('i', "cloning the overlay mount");
	if (userns >= 0) {
		setfsuid(0);
		setfsgid(0);
		raise_caps();
	}
	if (chdir("/") < 0)
		fail('i', "chdir /");
	return root;
}

// new_fs makes a detached mount of a fresh file system.
static int new_fs(const struct mnt *m) {
	int ctx = (int)syscall(SYS_fsopen, m->source, FSOPEN_CLOEXEC);
	if (ctx < 0)
		return -1;
	char *copy = strdup(m->options), *rest = copy, *opt;
	while (copy != NULL && (opt = strsep(&rest, ",")) != NULL) {
		if (*opt == 0)
			continue;
		char *value = strchr(opt, '=');
		long r;
		if (value != NULL) {
			*value++ = 0;
			r = syscall(SYS_fsconfig, ctx, FSCONFIG_SET_STRING, opt, value, 0);
		} else {
			r = syscall(SYS_fsconfig, ctx, FSCONFIG_SET_FLAG, opt, NULL, 0);
		}
		if (r < 0)
			return -1;
	}
	free(copy);
	if (syscall(SYS_fsconfig, ctx, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	int fd = (int)syscall(SYS_fsmount, ctx, FSMOUNT_CLOEXEC, m->attr);
	int err = errno;
	close(ctx);
	errno = err;
	return fd;
}

// in_root opens a path of the container without leaving its root and without magic links such as /proc/self/fd/3.
static int in_root(int root, const char *path, uint64_t flags, uint64_t mode) {
	while (*path == '/')
		path++;
	return sys_openat2(root, *path ? path : ".", flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

static void note_created(const char *path) {
	size_t n = strlen(path) + 1;
	if (n_created + n <= sizeof created) {
		memcpy(created + n_created, path, n);
		n_created += n;
	}
}

// note_made notes the real path of an entry that was made in a folder: earlier symbolic links do not matter any more.
static void note_made(int parent, const char *name) {
	char link[64], path[PATH_MAX + 256];
	snprintf(link, sizeof link, "/proc/self/fd/%d", parent);
	ssize_t n = readlink(link, path, PATH_MAX - 1);
	if (n < 0) { // /proc is not there yet: it is what was made.
		n = 1;
		path[0] = '/';
	}
	path[n] = 0;
	snprintf(path + n, sizeof path - (size_t)n, "%s%s", n == 1 ? "" : "/", name);
	note_created(path);
}

// make_path opens a path of the container, making what is missing: folders, and a file at the end if is_file. Symbolic links
// that lead nowhere are followed inside the root and their targets made.
static int make_path(int root, const char *path, int is_file, int depth) {
	int fd = in_root(root, path, O_PATH, 0);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (depth > 16) {
		errno = ELOOP;
		return -1;
	}
	char parent[PATH_MAX];
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	if (n >= sizeof parent) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(parent, path, n);
	parent[n] = 0;
	char *slash = strrchr(parent, '/');
	char name[NAME_MAX + 1];
	const char *last = slash ? slash + 1 : parent;
	if (strlen(last) > NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(name, last);
	if (slash)
		slash[slash == parent ? 1 : 0] = 0;
	else
		strcpy(parent, "/");
	int dir = make_path(root, parent, 0, depth + 1);
	if (dir < 0)
		return -1;
	int made;
	if (is_file) {
		made = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
		if (made >= 0)
			close(made);
	} else {
		made = mkdirat(dir, name, 0755);
	}
	if (made >= 0) {
		note_made(dir, name);
	} else if (errno == EEXIST) {
		char link[PATH_MAX], next[2 * PATH_MAX];
		ssize_t len = readlinkat(dir, name, link, sizeof link - 1);
		close(dir);
		if (len < 0)
			return -1;
		link[len] = 0;
		if (link[0] == '/')
			snprintf(next, sizeof next, "%s", link);
		else
			snprintf(next, sizeof next, "%s/%s", parent, link);
		return make_path(root, next, is_file, depth + 1);
	}
	close(dir);
	if (made < 0)
		return -1;
	return in_root(root, path, O_PATH, 0);
}

// attach puts one prepared mount in its place in the container.
static void attach(int root, struct mnt *m) {
	static int null = -1, empty = -1;
	if (strcmp(m->kind, "mask") == 0 || strcmp(m->kind, "readonly") == 0) {
		int at = in_root(root, m->target, O_PATH, 0), over;
		if (at < 0)
			return; // The kernel does not offer it.
		if (m->kind[0] == 'r') {
			over = sys_open_tree(at, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
			if (over < 0 || sys_setattr(over, AT_RECURSIVE, MOUNT_ATTR_RDONLY, -1) < 0)
				fail('i', "making %s read-only", m->target);
		} else {
			struct stat st;
			if (fstat(at, &st) < 0)
				fail('i', "looking at %s", m->target);
			if (S_ISDIR(st.st_mode)) {
				struct mnt fs = {.source = "tmpfs", .options = "size=0,nr_inodes=1,mode=555", .attr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
				if (empty < 0 && (empty = new_fs(&fs)) < 0)
					fail('i', "masking %s", m->target);
				over = empty;
				empty = sys_open_tree(over, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
			} else {
				if (null < 0)
					null = in_root(root, "/dev/null", O_PATH, 0);
				over = sys_open_tree(null, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
			}
		}
		if (over < 0 || sys_move_mount(over, at, "") < 0)
			fail('i', "masking %s", m->target);
		close(over);
		close(at);
		return;
	}
	if (strcmp(m->kind, "link") == 0) {
		if (symlink(m->source, m->target) < 0)
			fail('i', "linking %s", m->target);
		return;
	}
	if (m->fd < 0)
		return; // Optional, and not offered.
	struct stat st, target;
	if (fstat(m->fd, &st) < 0)
		fail('m', "mounting on %s", m->target);
	int at = make_path(root, m->target, !S_ISDIR(st.st_mode), 0);
	if (at < 0)
		fail('m', "mounting %s on %s: making the mount point", m->source, m->target);
	if (fstat(at, &target) < 0 || S_ISDIR(st.st_mode) != S_ISDIR(target.st_mode)) {
		errno = 0;
		fail('m', "mounting %s on %s: one is a folder and the other is not", m->source, m->target);
	}
	if (sys_move_mount(m->fd, at, "") < 0)
		fail('m', "mounting %s on %s", m->source, m->target);
	close(m->fd);
	close(at);
}

static void write_file(const char *path, const char *text, int optional) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text)) {
		close(fd);
		return;
	}
	if (!optional)
		fail('i', "writing %s to %s", text, path);
	if (fd >= 0)
		close(fd);
}

static void network(void) {
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = {.ifr_name = "lo"};
	if (s < 0 || ioctl(s, SIOCGIFFLAGS, &req) < 0)
		fail('i', "finding the loopback interface");
	req.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &req) < 0)
		fail('i', "starting the loopback interface");
	close(s);
	// Port 80 without a capability: these ports belong to the container alone.
	write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0", 0);
}

// checked refuses a program that leads through a magic link, as /proc/self/exe would still be the engine's own program
// while execve reads it, also as the interpreter of a script. It answers like access(2).
static int checked(const char *path, int depth) {
	char head[256];
	int fd = sys_openat2(AT_FDCWD, path, O_PATH, 0, RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return -1;
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return 0; // Not readable, perhaps executable all the same; then it is no script.
	ssize_t n = read(fd, head, sizeof head - 1);
	close(fd);
	if (n < 2 || head[0] != '#' || head[1] != '!')
		return 0;
	head[n] = 0;
	char *p = head + 2 + strspn(head + 2, " \t");
	p[strcspn(p, " \t\n")] = 0;
	if (*p == 0 || depth > 5)
		return 0;
	if (checked(p, depth + 1) < 0 && errno == ELOOP)
		return -1;
	return 0;
}

// execute executes a program. It returns when that failed for a reason that errno tells.
static void execute(const char *path, char **argv, char **env) {
	if (checked(path, 0) == 0)
		execve(path, argv, env);
	if (errno == ELOOP) {
		errno = 0;
		fail('c', "exec \"%s\": it leads through a link of /proc, or in circles", path);
	}
}

static void run(char **argv, char **env, const char *search) {
	const char *name = argv[0];
	if (strchr(name, '/') != NULL) {
		execute(name, argv, env);
		if (errno == ENOENT || errno == ENOTDIR) {
			struct stat st;
			if (stat(name, &st) == 0)
				fail('c', "exec \"%s\": its interpreter or dynamic loader is missing in the image", name);
			errno = 0;
			fail('c', "exec \"%s\": no such file in the image", name);
		}
		fail('c', "exec \"%s\"", name);
	}
	int denied = 0;
	const char *p = search;
	while (*p != 0) {
		size_t n = strcspn(p, ":");
		char path[PATH_MAX];
		int len = snprintf(path, sizeof path, "%.*s%s%s", (int)n, n ? p : "", n ? "/" : "./", name);
		p += n + (p[n] == ':');
		if (len < 0 || (size_t)len >= sizeof path)
			continue;
		struct stat st;
		if (stat(path, &st) < 0 || S_ISDIR(st.st_mode))
			continue;
		execute(path, argv, env);
		if (errno == EACCES) {
			denied = 1;
			continue;
		}
		if (errno == ENOENT)
			fail('c', "exec \"%s\": the interpreter or dynamic loader of %s is missing in the image", name, path);
		fail('c', "exec \"%s\" (%s)", name, path);
	}
	errno = 0;
	if (denied)
		fail('c', "exec \"%s\": found in the image's PATH (%s), but not executable for this user", name, search);
	fail('c', "exec \"%s\": not found in the image's PATH (%s)", name, search);
}

static char **strings(long n) {
	char **list = calloc((size_t)n + 1, sizeof *list);
	if (list == NULL)
		fail('i', "memory for the description");
	for (long i = 0; i < n; i++)
		list[i] = string();
	return list;
}

// become gives up every right and executes the command: the last part of stage 2. Its description comes late, as the engine
// looks the user up in the finished root file system.
static void become(int root, off_t at) {
	load(at);
	uid_t uid = (uid_t)mask();
	gid_t gid = (gid_t)mask();
	long n_groups = number();
	gid_t *groups = calloc((size_t)n_groups + 1, sizeof *groups);
	for (long i = 0; groups != NULL && i < n_groups; i++)
		groups[i] = (gid_t)mask();
	int set_groups = (int)number();
	unsigned long caps = mask();
	const char *dir = string();
	long n_limits = number();
	for (long i = 0; i < n_limits; i++) {
		int which = (int)number();
		struct rlimit r;
		r.rlim_cur = r.rlim_max = (rlim_t)mask();
		struct rlimit now;
		if (getrlimit(which, &now) == 0 && now.rlim_max < r.rlim_max)
			r.rlim_cur = r.rlim_max = now.rlim_max; // A lower limit stands already, and raising takes a right we need not have.
		if (setrlimit(which, &r) < 0)
			fail('i', "setrlimit %d", which);
	}
	const char *search = string();
	long n_args = number();
	char **argv = strings(n_args);
	long n_env = number();
	char **env = strings(n_env);
	size_t filter_len = (size_t)(limit - cursor);
	struct sock_fprog filter = {.len = (unsigned short)(filter_len / sizeof(struct sock_filter)), .filter = malloc(filter_len)};
	if (filter.filter == NULL || groups == NULL || filter.len == 0 || filter_len % sizeof(struct sock_filter) != 0)
		fail('i', "the system call filter is damaged");
	memcpy(filter.filter, cursor, filter_len);

	int cwd = make_path(root, dir, 0, 0);
	if (cwd < 0 || fchdir(cwd) < 0)
		fail('c', "entering the working directory %s", dir);
	close(cwd);
	umask(022);
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	for (int s = 1; s <= SIGRTMAX; s++)
		if (s != SIGKILL && s != SIGSTOP)
			sigaction(s, &dfl, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) < 0)
		fail('i', "close_range");

	for (int c = 0; c < 64; c++)
		if (!(caps >> c & 1) && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EINVAL)
			fail('i', "dropping capability %d", c);
	if (set_groups && setgroups((size_t)n_groups, groups) < 0)
		fail('u', "setgroups");
	if (setresgid(gid, gid, gid) < 0)
		fail('u', "changing to group %u", gid);
	if (setresuid(uid, uid, uid) < 0)
		fail('u', "changing to user %u", uid);
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}};
	if (uid == 0) {
		data[0].effective = data[0].permitted = (uint32_t)caps;
		data[1].effective = data[1].permitted = (uint32_t)(caps >> 32);
	}
	if (syscall(SYS_capset, &head, data) < 0)
		fail('i', "dropping capabilities");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		fail('i', "clearing ambient capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail('i', "no_new_privs");
	// Changing users cleared this; the engine that died meanwhile has closed its socket.
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		fail('i', "asking to end with the engine");
	char probe;
	if (recv(CTL, &probe, 1, MSG_DONTWAIT | MSG_PEEK) == 0)
		_exit(125);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) < 0)
		fail('n', "installing the system call filter");
	run(argv, env, search);
}

// make_files makes detached mounts of files whose content is in the description, in a file system of their own.
static void make_files(void) {
	int dir = -1;
	for (long i = 0; i < n_mounts; i++) {
		struct mnt *m = &mounts[i];
		if (strcmp(m->kind, "file") != 0)
			continue;
		struct mnt fs = {.source = "tmpfs", .options = "size=1m,mode=755", .attr = m->attr & ~(unsigned long)MOUNT_ATTR_RDONLY};
		if (dir < 0 && (dir = new_fs(&fs)) < 0)
			fail('i', "making a file system for %s", m->target);
		char name[24];
		snprintf(name, sizeof name, "%ld", i);
		int f = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
		size_t n = strlen(m->source);
		if (f < 0 || write(f, m->source, n) != (ssize_t)n || fchmod(f, 0644) < 0)
			fail('i', "writing %s", m->target);
		close(f);
		m->fd = sys_open_tree(dir, name, OPEN_TREE_CLONE);
		if (m->fd < 0 || sys_setattr(m->fd, 0, m->attr, -1) < 0)
			fail('i', "preparing %s", m->target);
		m->source = "a generated file";
	}
	if (dir >= 0)
		close(dir);
}

// hand_over writes (in stage 1) or reads (in stage 2) the numbers of the mounts' descriptors: the two stages share the
// descriptor table, but not the memory.
static void hand_over(int fd, int writing, int *root) {
	for (long i = -1; i < n_mounts; i++) {
		int *at = i < 0 ? root : &mounts[i].fd, one = *at;
		ssize_t n = writing ? write(fd, &one, sizeof one) : read(fd, &one, sizeof one);
		if (n != sizeof one)
			fail('i', "handing over");
		if (one >= 0)
			*at = one;
	}
}

// stage2 is PID 1 of the container.
static void stage2(int gate, unsigned long flags, off_t late, const char *host) {
	int root = -1;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	await(gate, 'U');
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		fail('i', "becoming root of the user namespace");
	setsid();
	syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL); // Not the caller's keys; the filter forbids keyctl besides.
	// The other namespaces are made here and not by clone, as stage 1 mounts the root file system in the meantime.
	if (unshare((int)(flags & ~FIRST)) < 0)
		fail('n', "making the container's namespaces");
	if (syscall(SYS_mount, "", "/", "", (unsigned long)(MS_REC | MS_PRIVATE), "") < 0)
		fail('i', "making the mount namespace private");
	if (sethostname(host, strlen(host)) < 0)
		fail('i', "setting the host name");
	if (flags & CLONE_NEWNET)
		network();
	// The kernel counts these against whoever made the namespace too, who has 128 for everything else on the machine.
	write_file("/proc/sys/user/max_inotify_instances", "64", 1);
	for (long i = 0; i < n_mounts; i++) {
		struct mnt *m = &mounts[i];
		if (strcmp(m->kind, "fs") == 0 && (m->fd = new_fs(m)) < 0 && !(m->flags & F_OPTIONAL))
			fail(strcmp(m->source, "tmpfs") == 0 ? 'm' : 'n', "mounting a new %s (%s) on %s", m->source, m->options, m->target);
	}
	make_files();
	if (privileged) {
		await(gate, 'G');
		hand_over(gate, 0, &root);
	} else {
		open_binds(-1);
		root = make_rootfs(-1);
	}
	if (sys_move_mount(root, AT_FDCWD, "/") < 0)
		fail('i', "attaching the root file system");
	if (fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		fail('i', "changing the root file system");
	if (syscall(SYS_umount2, ".", MNT_DETACH) < 0 || chdir("/") < 0)
		fail('i', "leaving the machine's root file system");
	int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		fail('i', "opening the root folder");
	umask(0);
	for (long i = 0; i < n_mounts; i++)
		attach(top, &mounts[i]);
	message('R', created, n_created);
	await(CTL, 'G');
	become(top, late);
}

// map_ids gives the new user namespace its users and groups. Without real root the engine does it, as it may take a helper.
static void map_ids(long pid) {
	static const char *const files[] = {"uid_map", "gid_map"};
	char path[64], line[64];
	snprintf(line, sizeof line, "0 %lu %lu\n", base, n_ids);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "/proc/%ld/%s", pid, files[i]);
		write_file(path, line, 0);
	}
}

static void stage1(void) {
	off_t late = (off_t)load(0);
	if (strcmp(string(), "longshore sandbox 1") != 0) {
		errno = 0;
		fail('i', "the description is of another version");
	}
	privileged = (int)number();
	unsigned long flags = mask();
	base = mask();
	n_ids = mask();
	const char *oom = string();
	for (long n = number(); n > 0; n--) {
		// The descriptor was opened by the engine, which has the right. Moving the one calling thread is what makes this cheap:
		// moving a process makes the kernel wait for every other one.
		int fd = (int)number();
		if (write(fd, "0", 1) != 1)
			fail('i', "joining a cgroup");
		close(fd);
	}
	const char *host = string();
	rootfs_at = string();
	layer_root = string();
	n_layers = number();
	layers = (const char **)strings(n_layers);
	skeleton = string();
	upper_root = string();
	upper_dir = string();
	work_dir = string();
	overlay_options = string();
	n_mounts = number();
	mounts = calloc((size_t)n_mounts + 1, sizeof *mounts);
	if (mounts == NULL)
		fail('i', "memory for the mounts");
	for (long i = 0; i < n_mounts; i++) {
		struct mnt *m = &mounts[i];
		m->kind = string();
		m->source = string();
		m->target = string();
		m->options = string();
		m->attr = mask();
		m->flags = (int)number();
		m->fd = -1;
	}
	write_file("/proc/self/oom_score_adj", oom, 1);
	if (privileged && unshare(CLONE_NEWNS) < 0)
		fail('n', "making a mount namespace");
	if (privileged && syscall(SYS_mount, "", "/", "", (unsigned long)(MS_REC | MS_PRIVATE), "") < 0) {
		if (errno == EINVAL)
			fail('n', "the root folder is not a mount, as in a plain chroot: bind it onto itself before entering it");
		fail('n', "making the mount namespace private");
	}

	int gate[2];
	if (pipe2(gate, O_CLOEXEC) < 0)
		fail('i', "pipe");
	long pid = syscall(SYS_clone, (flags & FIRST) | CLONE_PARENT | CLONE_FILES, NULL, NULL, NULL, NULL);
	if (pid < 0)
		fail('n', "making the container's namespaces");
	if (pid == 0) {
		stage2(gate[0], flags, late, host);
		_exit(125);
	}
	// First of all, so that the engine can end stage 2 whatever goes wrong.
	char text[32];
	int n = snprintf(text, sizeof text, "%ld", pid);
	message('P', text, (size_t)n);
	int root = -1;
	if (privileged) {
		map_ids(pid);
		if (write(gate[1], "U", 1) != 1)
			fail('i', "handing over");
		char path[64];
		snprintf(path, sizeof path, "/proc/%ld/ns/user", pid);
		int userns = open(path, O_RDONLY | O_CLOEXEC);
		if (userns < 0)
			fail('i', "opening the user namespace");
		open_binds(userns);
		root = make_rootfs(userns);
		if (write(gate[1], "G", 1) != 1)
			fail('i', "handing over");
		hand_over(gate[1], 1, &root);
	} else {
		await(CTL, 'M');
		if (write(gate[1], "U", 1) != 1)
			fail('i', "handing over");
	}
	_exit(0);
}

// in_user_namespace makes this process root of a new user namespace that the engine gives its users.
static void in_user_namespace(void) {
	if (unshare(CLONE_NEWUSER) < 0)
		fail('n', "making a user namespace");
	message('P', "", 0);
	await(CTL, 'M');
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		fail('i', "becoming root of the user namespace");
}

// empty empties a folder: the top, or one in it, whose folders move to the top where they are not empty. So no number of open files
// and no path grows with the depth: rmtree.All in C.
static void empty(int top, int at) {
	static unsigned long moved;
	for (int seen = 1; seen;) {
		seen = 0;
		int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *dir = fd < 0 ? NULL : fdopendir(fd);
		if (dir == NULL)
			fail('i', "reading a folder to remove it");
		for (struct dirent *e; (e = readdir(dir)) != NULL;) {
			if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
				continue;
			seen = 1;
			if (unlinkat(at, e->d_name, 0) == 0 || unlinkat(at, e->d_name, AT_REMOVEDIR) == 0 || errno == ENOENT)
				continue;
			if (errno != ENOTEMPTY && errno != EEXIST)
				fail('i', "removing %s", e->d_name);
			if (at != top) {
				char name[24];
				int err;
				do {
					snprintf(name, sizeof name, "%lu", ++moved);
					err = renameat2(at, e->d_name, top, name, RENAME_NOREPLACE);
				} while (err < 0 && errno == EEXIST);
				if (err < 0)
					fail('i', "moving %s to remove it", e->d_name);
				continue;
			}
			int below = openat(top, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (below < 0)
				fail('i', "opening %s to remove it", e->d_name);
			empty(top, below);
			close(below);
		}
		closedir(dir);
	}
}

// remove_tree empties a folder of files that belong to a container's users.
static void remove_tree(void) {
	load(0);
	const char *dir = string();
	in_user_namespace();
	int top = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		fail('i', "opening %s to remove it", dir);
	empty(top, top);
	message('R', "", 0);
	_exit(0);
}

// pass_sockets makes sockets in a container's network and passes them to the engine.
static void pass_sockets(void) {
	if (setns(DESC, CLONE_NEWUSER) < 0 || setns(DESC + 1, CLONE_NEWNET) < 0)
		fail('i', "entering the container's network");
	int fds[2] = {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	int n = fds[1] < 0 ? 1 : 2;
	if (fds[0] < 0)
		fail('i', "making a socket");
	char space[CMSG_SPACE(sizeof fds)] = {0};
	char byte = 'S';
	struct iovec text = {&byte, 1};
	struct msghdr msg = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = space, .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof(int));
	if (sendmsg(CTL, &msg, MSG_NOSIGNAL) < 0)
		_exit(125);
	_exit(0);
}

__attribute__((constructor)) static void longshore_sandbox_launch(void) {
	const char *role = getenv("LONGSHORE_SANDBOX_LAUNCH");
	if (role == NULL)
		return;
	if (strcmp(role, "container") == 0)
		stage1();
	if (strcmp(role, "remove") == 0)
		remove_tree();
	if (strcmp(role, "socket") == 0)
		pass_sockets();
	_exit(125);
}

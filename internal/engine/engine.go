// Package engine declares where executions happen: the Engine interface and the plain description of one container that an
// engine needs. It knows nothing of contracts, tasks, parameters or images as archives: whoever calls it has already turned
// those into a process, folders, limits and the unpacked layers of an image.
//
// The order of calls for one container:
//
//	Start ──▶ [Dial, Logs, Stats]… ──▶ Wait ──▶ Remove
//	   │                                ▲
//	   └────────── Stop ────────────────┘
//
// Remove is safe in every state, any number of times, and after a Start that failed. Wait may be called by several
// goroutines and again after the end: it answers the same Exit. Names and labels of everything an engine creates derive
// from Spec.ID, so that a crashed caller's leftovers can be found (Leftovers) and removed.
package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
)

// Engine runs containers. All methods are safe for concurrent use.
type Engine interface {
	// Name is the word users choose the engine by, for example "sandbox".
	Name() string

	// Start creates the container of spec and starts its process. When it returns nil the process was executed (its
	// execve succeeded). When it returns an error nothing is left behind. An error that is not the engine's own fault is
	// a *StartError; ctx bounds the start only, not the life of the container.
	Start(ctx context.Context, spec Spec) (Handle, error)

	// Wait blocks until the container's main process has ended and everything it left running is dead. The error is
	// ctx's, or ErrUnknown for a handle this engine does not know. A failing program is an Exit, never an error.
	Wait(ctx context.Context, h Handle) (Exit, error)

	// Logs returns what the container wrote to stdout and stderr as frames (see LogReader), from byte 0. With follow, the
	// reader blocks for more until the container has ended. It is usable from Start until Remove. The caller closes it.
	Logs(ctx context.Context, h Handle, follow bool) (io.ReadCloser, error)

	// Stop asks the container to end: SIGTERM (or Spec.Process.StopSignal), and SIGKILL after grace. It returns once the
	// container is dead; stopping one that has ended already is not an error.
	Stop(ctx context.Context, h Handle, grace time.Duration) error

	// Remove ends the container if it still runs and removes everything the engine made for it: processes, mounts,
	// namespaces, cgroups, the writable layer, and the log. Folders that Spec.Mounts name are the caller's and stay.
	Remove(ctx context.Context, h Handle) error
}

// Dialer is the optional ability to open a connection to a port inside the container's own network, without publishing it.
// A refused connection unwraps to syscall.ECONNREFUSED.
type Dialer interface {
	Dial(ctx context.Context, h Handle, port int) (net.Conn, error)
}

// Listener is the optional ability to tell where a container's programs take TCP connections.
type Listener interface {
	// Listeners returns the addresses and ports in the container's own network; none when the network is not its own.
	Listeners(ctx context.Context, h Handle) ([]netip.AddrPort, error)
}

// Stater is the optional ability to tell what a running container has used so far.
type Stater interface {
	Stats(ctx context.Context, h Handle) (Usage, error)
}

// Sweeper is the optional ability to find and remove what crashed processes left behind.
type Sweeper interface {
	// Leftovers lists containers, mounts, cgroups and folders of runs whose owner is no longer alive.
	Leftovers(ctx context.Context) ([]Leftover, error)
	// Sweep removes them and tells what it removed.
	Sweep(ctx context.Context) ([]Leftover, error)
}

// FolderRemover is the optional ability to remove folders that containers wrote to through Spec.Mounts or Spec.WritableLayer. Their
// files may belong to users that the caller is not, and lie deeper than any path leads.
type FolderRemover interface {
	// RemoveFolder removes a folder, or file, and all it holds; a missing one is not an error.
	RemoveFolder(ctx context.Context, path string) error
}

// GPUProvider is the optional ability to give containers whole GPUs (Spec.GPUs). An engine without it has none.
type GPUProvider interface {
	// GPUs names the GPUs of this machine, those in use too. The error says why there are none.
	GPUs() ([]string, error)
}

// Inspector is the optional ability to tell what this machine offers to the engine, for the doctor command.
type Inspector interface {
	Inspect(ctx context.Context) []Check
}

// Spec describes one container completely. It is plain data and can be stored.
type Spec struct {
	// ID names the container, unique per engine: lower-case letters, digits and "-", at most 64 characters.
	ID string
	// Labels are kept with the container for people and tools; engines do not interpret them.
	Labels map[string]string

	Image   Image
	Process Process
	Mounts  []Mount
	Limits  Limits
	Network Network
	// GPUs is how many whole GPUs the container gets, which no other container of the engine has meanwhile. A start that
	// cannot have them fails with a StartError of kind "limit".
	GPUs int

	// Hostname inside the container; empty means the first 12 characters of ID.
	Hostname string
	// Folders are absolute paths of folders that are made, empty and root's, where the image has nothing: its volumes.
	Folders []string
	// WritableLayer, when not empty, is an existing empty folder that receives what the container changes in its root
	// file system, as an overlayfs upper layer with the container's own user and group numbers, and stays after Remove.
	// Image builds use it. Empty means a private layer that Remove deletes.
	WritableLayer string
	// LogLimit bounds the kept log in bytes; what comes later is counted, not kept. Zero means DefaultLogLimit.
	LogLimit int64
	// LogMark, when not empty, is a text that somebody who follows the log waits for: where a stream first has it, it is kept
	// even if the log is full.
	LogMark string
}

// DefaultLogLimit is the log size that is kept when Spec.LogLimit is zero: 64 MiB.
const DefaultLogLimit = 64 << 20

// Image is the unpacked image a container starts from.
type Image struct {
	// Reference and Digest name the image for engines that fetch it themselves, and for messages.
	Reference, Digest string
	// Layers are folders on this machine, lowest first, each one layer in overlayfs form with the image's own user and
	// group numbers. They are never written to.
	Layers []string
}

// Process is the resolved command: image defaults and package settings are already merged.
type Process struct {
	// Args is the whole command line, never empty. Args[0] is looked up in the container's PATH when it has no slash.
	Args []string
	// Env holds NAME=VALUE entries; the engine adds none but PATH, HOME and HOSTNAME when they are missing.
	Env []string
	// Dir is the working directory, absolute; it is created when missing. Empty means "/".
	Dir string
	// User is "", "name", "uid", "name:group", "uid:gid" and so on, looked up in the container's /etc/passwd and
	// /etc/group; empty means root.
	User string
	// StopSignal is the signal Stop sends first, for example "SIGINT" or "15"; empty means SIGTERM.
	StopSignal string
	// Capabilities selects what root inside keeps. The zero value keeps nothing.
	Capabilities Capabilities
}

// Capabilities is a named set of Linux capabilities; they are valid inside the container's own user namespace only.
type Capabilities string

// The capability sets.
const (
	// CapNone keeps no capability: the default.
	CapNone Capabilities = ""
	// CapDefault keeps the set that container engines usually give (CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID,
	// SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP). Image builds need it.
	CapDefault Capabilities = "default"
)

// Mount binds a file or folder of this machine into the container.
type Mount struct {
	// Source is an absolute path on this machine. User and group numbers appear inside as they are outside (root's files
	// are the container's root's).
	Source string
	// Target is an absolute, clean path inside; missing parents and the mount point itself are created.
	Target string
	// ReadOnly forbids every change, also of metadata.
	ReadOnly bool
	// Tmpfs makes a fresh file system in memory instead of binding Source; Size bounds it in bytes (zero: 64 MiB).
	Tmpfs bool
	Size  int64
}

// Limits bound what a container may use. Zero means the engine's default where one is named, else no limit.
type Limits struct {
	MilliCPU int64 // thousandths of a core
	Memory   int64 // bytes; swap is never granted on top
	Pids     int64 // processes and threads; zero means DefaultPids
	// Disk bounds, in bytes, the growth of the writable layer together with all writable mounts. It is watched, and the
	// container is killed when it is passed (Exit.DiskExceeded). Single files cannot grow beyond it at all.
	Disk int64
	// Shm is the size of /dev/shm in bytes; zero means 64 MiB.
	Shm int64
}

// DefaultPids is the process limit when Limits.Pids is zero.
const DefaultPids = 4096

// Network says what a container can reach.
type Network string

// The networks.
const (
	// NetworkNone is a private network namespace with loopback only: the default.
	NetworkNone Network = ""
	// NetworkHost shares the machine's network. Only for what an operator allowed.
	NetworkHost Network = "host"
)

// Handle names a started container. It is plain data: stored, it lets a restarted process take the container up again.
type Handle struct {
	ID     string
	Engine string
	// PID is the main process as the machine sees it, zero where that means nothing.
	PID int
	// StartedAt is when the process was executed.
	StartedAt time.Time
	// Steps tells where the time of Start went, in order; for people and benchmarks.
	Steps []Step
	// Notes tell what people should know of how it was started, such as what a device's description asks for and was not given.
	Notes []string
}

// Step is one named part of a start and the time it took.
type Step struct {
	Name string
	Took time.Duration
}

// Exit tells how a container ended.
type Exit struct {
	// Code is the process's exit code; 128+n when signal n ended it.
	Code int
	// Signal is the number of the signal that ended the main process, or zero.
	Signal int
	// OOM tells that the kernel killed something in the container because its memory limit was reached.
	OOM bool
	// PidsExceeded tells that the process limit was hit at least once.
	PidsExceeded bool
	// DiskExceeded tells that the engine killed the container because of Limits.Disk.
	DiskExceeded bool
	// Stopped tells that Stop or Remove ended it.
	Stopped bool
	// LogDropped counts bytes of log beyond Spec.LogLimit that were not kept.
	LogDropped int64
	EndedAt    time.Time
	Usage      Usage
	// Unenforced names limits that this machine could not enforce, each with the reason; empty when all held.
	Unenforced []string
}

// Usage is what a container has used. Zero means not measured.
type Usage struct {
	PeakMemory int64 // bytes
	// Memory is what it has now, in bytes; zero in an Exit.
	Memory int64
	CPU    time.Duration
	Disk   int64 // bytes written to the writable layer and writable mounts, as last measured
}

// Leftover is one thing a crashed process left behind.
type Leftover struct {
	Kind string // "process", "mount", "cgroup", "folder"
	Name string // path, pid or cgroup
	ID   string // the container it belonged to, if known
}

// Check is one fact about this machine.
type Check struct {
	Name string
	// OK is true when the engine can work with it; Optional facts only limit what can be done.
	OK, Optional bool
	Detail       string
	// Mend says what to do, when OK is false.
	Mend string
}

// ErrUnknown is returned for a handle that the engine does not know (any more).
var ErrUnknown = errors.New("engine: unknown container")

// StartError is a start that failed because of what was asked for, not because of the engine.
type StartError struct {
	// Kind is "command" (not found or not executable in the image), "user", "mount", "limit" or "unsupported".
	Kind string
	Err  error
}

func (e *StartError) Error() string { return e.Err.Error() }

func (e *StartError) Unwrap() error { return e.Err }

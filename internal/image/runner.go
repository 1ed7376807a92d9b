package image

import (
	"context"
	"io"
	"time"
)

// Runner executes one RUN instruction. The application supplies it; this package knows no engine. It must be safe for
// concurrent use.
type Runner interface {
	// Run starts spec's command, waits for its end and returns how it ended. A command that fails is a RunResult, not an
	// error; an error means that it could not be run. When Run returns nothing of it is alive or mounted any more.
	Run(ctx context.Context, spec RunSpec) (RunResult, error)
}

// RunSpec describes the container of one RUN instruction.
type RunSpec struct {
	// Layers are folders in overlayfs form, lowest first; empty for FROM scratch. They must not be written to.
	Layers []string
	// Upper is an existing empty folder that receives the changes as an overlayfs upper layer, with the container's own
	// user and group numbers. The overlay must be mounted without redirect_dir and metacopy, because an upper that
	// points into its lowers cannot become a layer. The parent of Upper is private to this step and on the same file
	// system, so that an overlayfs work folder can be put beside it; what is put there is removed after Run.
	Upper string
	// Args is the whole command line, never empty.
	Args []string
	// Env holds NAME=VALUE entries, all there are.
	Env []string
	// Dir is the absolute working directory; it exists in the image.
	Dir string
	// User is as in a Dockerfile: "", "name", "uid", "name:group", "uid:gid".
	User   string
	Mounts []RunMount
	// Network tells whether the command may use the machine's network.
	Network bool
	// Output receives stdout and stderr together, as they are written.
	Output io.Writer
	// Limits bound the command; zero fields mean the runner's defaults.
	Limits RunLimits
}

// RunMount is a file, folder or memory file system that a command sees while it runs.
type RunMount struct {
	// Source is an absolute path on this machine, empty for Tmpfs.
	Source string
	// Target is an absolute, clean path inside.
	Target   string
	ReadOnly bool
	// Tmpfs makes a fresh memory file system of Size bytes (0: the runner's default).
	Tmpfs bool
	Size  int64
}

// RunLimits bound one command of a build. Zero means the runner's default.
type RunLimits struct {
	MilliCPU int64         // thousandths of a core
	Memory   int64         // bytes
	Pids     int64         // processes and threads
	Disk     int64         // bytes of growth
	Timeout  time.Duration // applied by Build through the context, too
}

// RunResult tells how a command ended.
type RunResult struct {
	// ExitCode is 0 for success, 128+n when signal n ended the command.
	ExitCode int
	// Reason explains an end that was not the command's own doing, for example "memory limit reached"; may be empty.
	Reason string
}

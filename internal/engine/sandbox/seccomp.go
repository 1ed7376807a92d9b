package sandbox

import (
	"embed"
	"fmt"
	"runtime"

	"longshore/internal/engine"
)

// filters holds the system call filters: the moby project's default profile, less a gap of it (hiddenFamily in the test), compiled by
// libseccomp for each architecture and capability set, as the kernel's own instructions. Compiling takes longer than a whole start,
// so it is done beforehand; TestFilters (build tag seccomp) compiles again and compares, and writes the files anew with -update.
//
//go:embed filter/*.bpf
var filters embed.FS

// filter returns the system call filter for a process with the given capabilities.
func filter(caps engine.Capabilities) ([]byte, error) {
	name := filterName(runtime.GOARCH, caps)
	b, err := filters.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("sandbox: no system call filter for %s (%s); make one with: go test -tags seccomp -run TestFilters -update ./internal/engine/sandbox", runtime.GOARCH, name)
	}
	return b, nil
}

func filterName(arch string, caps engine.Capabilities) string {
	set := "none"
	if caps == engine.CapDefault {
		set = "default"
	}
	return "filter/" + arch + "-" + set + ".bpf"
}

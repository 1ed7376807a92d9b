//go:build seccomp

package sandbox

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"slices"
	"testing"

	"github.com/moby/profiles/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	lib "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

var update = flag.Bool("update", false, "write the compiled filters anew")

// minKernel is the oldest kernel the filters are for; rules for newer ones only are left out, as the filters are made once.
var minKernel = seccomp.KernelVersion{Kernel: 6, Major: 1}

// TestFilters compiles the moby profile again and compares with the files that the engine embeds.
func TestFilters(t *testing.T) {
	for _, arch := range []struct {
		goarch, moby string
		native       lib.ScmpArch
		others       []lib.ScmpArch
	}{
		{"amd64", "amd64", lib.ArchAMD64, []lib.ScmpArch{lib.ArchX86}},
		{"arm64", "arm64", lib.ArchARM64, []lib.ScmpArch{lib.ArchARM}},
	} {
		for _, caps := range []engine.Capabilities{engine.CapNone, engine.CapDefault} {
			name := filterName(arch.goarch, caps)
			got := compile(t, arch.moby, arch.native, arch.others, caps)
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what moby's profile compiles to with this libseccomp; look at the change and run the test with -update", name)
			}
		}
	}
}

func compile(t *testing.T, arch string, native lib.ScmpArch, others []lib.ScmpArch, caps engine.Capabilities) []byte {
	t.Helper()
	var names []string
	if caps == engine.CapDefault {
		for _, c := range capDefault {
			names = append(names, c.name)
		}
	}
	profile := seccomp.DefaultProfile()
	f, err := lib.NewFilter(action(t, profile.DefaultAction, profile.DefaultErrnoRet))
	check(t, err)
	defer f.Release()
	// A binary tree: the kernel runs the filter once for every system call number when it is installed.
	check(t, f.SetOptimize(2))
	host, err := lib.GetNativeArch()
	check(t, err)
	for _, a := range append([]lib.ScmpArch{native}, others...) {
		if a != host {
			check(t, f.AddArch(a))
		}
	}
	if host != native {
		check(t, f.RemoveArch(host))
	}
	for _, s := range profile.Syscalls {
		if !applies(s, arch, names) {
			continue
		}
		for _, name := range s.Names {
			call, err := lib.GetSyscallFromName(name)
			if err != nil {
				continue // Newer than this libseccomp: answered ENOSYS below.
			}
			do := action(t, s.Action, s.ErrnoRet)
			if do == action(t, profile.DefaultAction, profile.DefaultErrnoRet) {
				continue
			}
			var conds []lib.ScmpCondition
			for _, a := range s.Args {
				cond, err := lib.MakeCondition(a.Index, operator(t, a.Op), a.Value, a.ValueTwo)
				check(t, err)
				conds = append(conds, cond)
			}
			if len(conds) == 0 {
				check(t, f.AddRule(call, do))
			} else {
				check(t, f.AddRuleConditional(call, do, conds))
			}
		}
	}
	file, err := os.CreateTemp(t.TempDir(), "filter")
	check(t, err)
	defer file.Close()
	check(t, f.ExportBPF(file))
	body, err := os.ReadFile(file.Name())
	check(t, err)

	// System calls newer than the profile answer ENOSYS, so that C libraries fall back, instead of the profile's EPERM.
	// New calls have the same number on every architecture, so none needs telling apart.
	last := newest(t, native)
	prelude := append(hiddenFamily(native), []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: last, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	}...)
	var out bytes.Buffer
	check(t, binary.Write(&out, binary.LittleEndian, prelude))
	out.Write(body)
	return out.Bytes()
}

// hiddenFamily refuses the one way to make a socket that moby's profile permits and the engine does not: socketcall's number 1, by which
// a 32-bit program names the family in memory, where no filter sees it. It would get one for AF_VSOCK, which leads out of a virtual
// machine past every network namespace, or AF_ALG. The call socket, which 32-bit programs have as well, is filtered like everybody's.
func hiddenFamily(native lib.ScmpArch) []unix.SockFilter {
	if native != lib.ArchAMD64 {
		return nil // 32-bit programs of ARM have no socketcall.
	}
	const (
		number, arch, argument = 0, 4, 16 // offsets in struct seccomp_data
		socketcall, makeSocket = 102, 1
	)
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: arch},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.AUDIT_ARCH_I386, Jf: 5},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: socketcall, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: argument},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: makeSocket, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	}
}

// newest is the highest system call number that this libseccomp knows for an architecture.
func newest(t *testing.T, arch lib.ScmpArch) uint32 {
	t.Helper()
	for n := 1023; n > 0; n-- {
		if _, err := lib.ScmpSyscall(n).GetNameByArch(arch); err == nil {
			return uint32(n)
		}
	}
	t.Fatal("libseccomp knows no system call")
	return 0
}

// applies decides as moby does: an exclusion holds when any of its parts does, an inclusion when all of them do.
func applies(s *seccomp.Syscall, arch string, caps []string) bool {
	has := func(c string) bool { return slices.Contains(caps, c) }
	old := func(v *seccomp.KernelVersion) bool {
		return v.Kernel < minKernel.Kernel || v.Kernel == minKernel.Kernel && v.Major <= minKernel.Major
	}
	if x := s.Excludes; x != nil {
		if slices.Contains(x.Arches, arch) || slices.ContainsFunc(x.Caps, has) || x.MinKernel != nil && old(x.MinKernel) {
			return false
		}
	}
	if x := s.Includes; x != nil {
		if len(x.Arches) > 0 && !slices.Contains(x.Arches, arch) || x.MinKernel != nil && !old(x.MinKernel) {
			return false
		}
		return !slices.ContainsFunc(x.Caps, func(c string) bool { return !has(c) })
	}
	return true
}

func action(t *testing.T, a specs.LinuxSeccompAction, errno *uint) lib.ScmpAction {
	t.Helper()
	switch a {
	case specs.ActAllow:
		return lib.ActAllow
	case specs.ActErrno:
		code := int16(unix.EPERM)
		if errno != nil {
			code = int16(*errno)
		}
		return lib.ActErrno.SetReturnCode(code)
	}
	t.Fatalf("moby's profile has the new action %q", a)
	return 0
}

func operator(t *testing.T, op specs.LinuxSeccompOperator) lib.ScmpCompareOp {
	t.Helper()
	ops := map[specs.LinuxSeccompOperator]lib.ScmpCompareOp{
		specs.OpEqualTo: lib.CompareEqual, specs.OpNotEqual: lib.CompareNotEqual, specs.OpGreaterThan: lib.CompareGreater,
		specs.OpGreaterEqual: lib.CompareGreaterEqual, specs.OpLessThan: lib.CompareLess, specs.OpLessEqual: lib.CompareLessOrEqual,
		specs.OpMaskedEqual: lib.CompareMaskedEqual,
	}
	o, ok := ops[op]
	if !ok {
		t.Fatalf("moby's profile has the new operator %q", op)
	}
	return o
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

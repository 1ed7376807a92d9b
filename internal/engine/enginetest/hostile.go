package enginetest

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"

	"longshore/internal/engine"
)

// diskUnnamed: files that have no name any more are noticed too, in the writable layer as in writable mounts.
func diskUnnamed(s *suite) {
	for _, dir := range []string{"/tmp", "/out"} {
		spec := s.shell("cd " + dir + `; exec 3>a 4>b; rm a b; for f in 3 4; do dd if=/dev/zero bs=65536 count=48 >&$f 2>/dev/null; done; sleep 1000`)
		spec.Mounts = []engine.Mount{{Source: s.T.TempDir(), Target: "/out"}}
		spec.Limits.Disk = 4 << 20
		exit, _, _ := s.run(spec)
		if !exit.DiskExceeded || exit.Code != 137 {
			s.Errorf("unnamed files in %s: %+v", dir, exit)
		}
	}
}

// diskEmpty: empty files take of the disk as well.
func diskEmpty(s *suite) {
	spec := s.shell("mkdir /tmp/many; cd /tmp/many; seq 1 1000 | xargs touch; sleep 1000")
	spec.Limits.Disk = 2 << 20
	exit, _, _ := s.run(spec)
	if !exit.DiskExceeded || exit.Code != 137 {
		s.Errorf("a thousand empty files: %+v", exit)
	}
}

// vsockByOldCall is an ELF program that makes a socket for AF_VSOCK by the 32-bit call socketcall, and exits with the error's number.
func vsockByOldCall() []byte {
	const base, start = 0x400000, 64 + 56
	code := []byte{
		0xb8, 102, 0, 0, 0, // mov eax, socketcall
		0xbb, 1, 0, 0, 0, // mov ebx, its socket
		0xb9, 0, 0, 0, 0, // mov ecx, arguments
		0xcd, 0x80, // int 0x80
		0x89, 0xc7, // mov edi, eax
		0xf7, 0xdf, // neg edi
		0xb8, 60, 0, 0, 0, // mov eax, exit
		0x0f, 0x05, // syscall
	}
	binary.LittleEndian.PutUint32(code[11:], base+start+uint32(len(code)))
	code = append(code, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0) // AF_VSOCK, SOCK_STREAM, 0
	size := uint64(start + len(code))
	var b []byte
	b = append(b, 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	le := binary.LittleEndian
	b = le.AppendUint16(le.AppendUint16(b, 2), 62)                     // an executable for x86-64
	b = le.AppendUint64(le.AppendUint32(b, 1), base+start)             // version, entry
	b = le.AppendUint32(le.AppendUint64(le.AppendUint64(b, 64), 0), 0) // program headers, sections, flags
	for _, n := range []uint16{64, 56, 1, 0, 0, 0} {                   // sizes and counts of headers
		b = le.AppendUint16(b, n)
	}
	b = le.AppendUint32(le.AppendUint32(b, 1), 5) // one segment, to read and execute
	for _, n := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, n)
	}
	return append(b, code...)
}

// hiddenSocket: no container gets a socket that leads out past its network namespace, by no way of asking.
func hiddenSocket(s *suite) {
	if runtime.GOARCH != "amd64" {
		s.Skip("the program is for amd64")
	}
	dir := s.T.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vsock"), vsockByOldCall(), 0o755); err != nil {
		s.Fatal(err)
	}
	spec := s.spec("/probe/vsock")
	spec.Mounts = []engine.Mount{{Source: dir, Target: "/probe", ReadOnly: true}}
	const eperm, sigsegv = 1, 128 + 11 // the latter of a kernel without 32-bit calls
	if exit, _, _ := s.run(spec); exit.Code != eperm && exit.Code != sigsegv {
		s.Errorf("socketcall(socket, AF_VSOCK) ended with %d, want %d", exit.Code, eperm)
	}
}

// watches: one container does not use up what the engine's user has on the machine to watch files with, which is 128 by default.
func watches(s *suite) { s.lines(s.shell("cat /proc/sys/user/max_inotify_instances"), "64") }

package sandbox

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"longshore/internal/engine"
)

// capability is one Linux capability by number and name.
type capability struct {
	bit  uint
	name string
}

// capDefault is engine.CapDefault.
var capDefault = []capability{
	{unix.CAP_CHOWN, "CAP_CHOWN"},
	{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
	{unix.CAP_FOWNER, "CAP_FOWNER"},
	{unix.CAP_FSETID, "CAP_FSETID"},
	{unix.CAP_KILL, "CAP_KILL"},
	{unix.CAP_SETGID, "CAP_SETGID"},
	{unix.CAP_SETUID, "CAP_SETUID"},
	{unix.CAP_SETPCAP, "CAP_SETPCAP"},
	{unix.CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"},
	{unix.CAP_SYS_CHROOT, "CAP_SYS_CHROOT"},
	{unix.CAP_SETFCAP, "CAP_SETFCAP"},
}

// capMask returns the capabilities of a set as the kernel's bit mask.
func capMask(set engine.Capabilities) (uint64, error) {
	if !slices.Contains([]engine.Capabilities{engine.CapNone, engine.CapDefault}, set) {
		return 0, unsupported(fmt.Errorf("sandbox: no capability set %q", set))
	}
	var mask uint64
	if set == engine.CapDefault {
		for _, c := range capDefault {
			mask |= 1 << c.bit
		}
	}
	return mask, nil
}

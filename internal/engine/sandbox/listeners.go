package sandbox

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"longshore/internal/engine"
)

var _ engine.Listener = (*Engine)(nil)

// Listeners implements engine.Listener by the kernel's own tables. With the machine's network they tell of all its programs,
// so there is no answer then.
func (e *Engine) Listeners(_ context.Context, h engine.Handle) ([]netip.AddrPort, error) {
	c, err := e.container(h.ID)
	if err != nil || c.hostNetwork {
		return nil, err
	}
	var list []netip.AddrPort
	for _, table := range []string{"tcp", "tcp6"} {
		found, err := listening(fmt.Sprintf("/proc/%d/net/%s", c.proc.Pid, table))
		if err != nil {
			return nil, fmt.Errorf("sandbox: %w", err)
		}
		list = append(list, found...)
	}
	return list, nil
}

// listening reads the sockets that take connections from a table as /proc/net/tcp shows it.
func listening(table string) ([]netip.AddrPort, error) {
	f, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const listen = "0A" // TCP_LISTEN
	var list []netip.AddrPort
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != listen {
			continue
		}
		if a, ok := socketAddress(fields[1]); ok {
			list = append(list, a)
		}
	}
	return list, lines.Err()
}

// socketAddress reads an address and a port in hexadecimal digits, the address in words of 32 bits of the machine's order.
func socketAddress(text string) (netip.AddrPort, bool) {
	address, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word) // little-endian, as on every machine that Longshore runs on
	}
	addr, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), ok && err == nil
}

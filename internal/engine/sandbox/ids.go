package sandbox

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
)

// ids says which of the machine's user and group numbers containers get, and by what right.
type ids struct {
	// privileged: this process is real root. Each container gets a range of its own that nobody else uses, and id-mapped mounts
	// keep the numbers on disk as the container knows them. Otherwise containers share numbers that this user has, and files on
	// disk belong to those.
	privileged bool
	// count is how many numbers a container has: idCount, or 1.
	count int
	// users and groups are the maps of an unprivileged container, as newuidmap and the kernel take them.
	users, groups []idRange
	// helpers: the maps are set by the programs newuidmap and newgidmap.
	helpers bool
	// why there is only one number, and how to get more.
	why string
}

// idRange maps count numbers from inside on to those from outside on.
type idRange struct{ inside, outside, count int }

const wholeRange = 1<<32 - 1

// findIDs looks at this process's rights once, on first use.
var findIDs = sync.OnceValues(func() (*ids, error) {
	own, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(own))
	switch {
	case os.Geteuid() == 0 && len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == strconv.Itoa(wholeRange):
		return &ids{privileged: true, count: idCount}, nil
	case os.Geteuid() == 0:
		return nestedIDs(own)
	}
	return userIDs()
})

// nestedIDs is for root of a user namespace, who is nobody special outside: containers get the same numbers.
func nestedIDs(users []byte) (*ids, error) {
	groups, err := os.ReadFile("/proc/self/gid_map")
	if err != nil {
		return nil, err
	}
	n := min(mapped(users), mapped(groups), idCount)
	same := []idRange{{0, 0, n}}
	return &ids{count: n, users: same, groups: same, why: "the user namespace that this program runs in has few numbers; give it 65536"}, nil
}

// mapped counts the numbers from 0 on in a map.
func mapped(m []byte) int {
	n := 0
	for s := bufio.NewScanner(bytes.NewReader(m)); s.Scan(); {
		var inside, outside, count int
		if _, err := fmt.Sscan(s.Text(), &inside, &outside, &count); err == nil && inside == n {
			n += min(count, idCount)
		}
	}
	return n
}

// userIDs is for an ordinary user: root inside is that user, and the other numbers are those that /etc/subuid grants.
func userIDs() (*ids, error) {
	uid, gid := os.Geteuid(), os.Getegid()
	i := &ids{count: 1, users: []idRange{{0, uid, 1}}, groups: []idRange{{0, gid, 1}}}
	for _, program := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(program); err != nil {
			i.why = "the program " + program + " is missing; install the package uidmap"
			return i, nil
		}
	}
	subUsers, err := subIDs("/etc/subuid", uid)
	if err != nil {
		return nil, err
	}
	subGroups, err := subIDs("/etc/subgid", uid)
	if err != nil {
		return nil, err
	}
	if subUsers.count < idCount-1 || subGroups.count < idCount-1 {
		i.why = "/etc/subuid and /etc/subgid do not grant this user 65536 numbers; as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"
		return i, nil
	}
	i.count, i.helpers = idCount, true
	i.users = append(i.users, idRange{1, subUsers.outside, idCount - 1})
	i.groups = append(i.groups, idRange{1, subGroups.outside, idCount - 1})
	return i, nil
}

// subIDs finds the largest range that a file grants a user, by name or number.
func subIDs(path string, uid int) (idRange, error) {
	var best idRange
	b, err := os.ReadFile(path)
	if missing(err) {
		return best, nil
	}
	if err != nil {
		return best, err
	}
	names := []string{strconv.Itoa(uid)}
	if u, err := user.LookupId(names[0]); err == nil {
		names = append(names, u.Username)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != names[0] && f[0] != names[len(names)-1] {
			continue
		}
		first, err1 := strconv.Atoi(f[1])
		count, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && count > best.count {
			best = idRange{1, first, count}
		}
	}
	return best, nil
}

// base picks the range of the machine's numbers for a privileged container: one of 16384 far above what people and services use.
// Two containers with the same range are still apart by all their other namespaces.
func (i *ids) base() uint64 {
	if !i.privileged {
		return 0
	}
	return 1<<30 + rand.Uint64N(1<<14)*idCount
}

// apply gives an unprivileged container's new user namespace its numbers.
func (i *ids) apply(pid int) error {
	if i.helpers {
		if err := i.help("newuidmap", pid, i.users); err != nil {
			return err
		}
		return i.help("newgidmap", pid, i.groups)
	}
	if os.Geteuid() != 0 { // The kernel's condition for setting the map of groups without any right.
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/setgroups", pid), []byte("deny"), 0); err != nil {
			return fmt.Errorf("sandbox: mapping groups: %w", err)
		}
	}
	for file, ranges := range map[string][]idRange{"uid_map": i.users, "gid_map": i.groups} {
		r := ranges[0]
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, file), fmt.Appendf(nil, "%d %d %d\n", r.inside, r.outside, r.count), 0); err != nil {
			return fmt.Errorf("sandbox: mapping users: %w", err)
		}
	}
	return nil
}

func (i *ids) help(program string, pid int, ranges []idRange) error {
	args := []string{strconv.Itoa(pid)}
	for _, r := range ranges {
		args = append(args, strconv.Itoa(r.inside), strconv.Itoa(r.outside), strconv.Itoa(r.count))
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("sandbox: %s: %w: %s", program, err, bytes.TrimSpace(out))
	}
	return nil
}

// setGroups tells whether the kernel lets a container's process choose its groups.
func (i *ids) setGroups() bool { return i.privileged || i.helpers || os.Geteuid() == 0 }

package sandbox

// CgroupSuffix is how the cgroups of one Config.Dir end.
var CgroupSuffix = cgroupSuffix

// OnlyRoot tells that this process may give containers no user but root.
func OnlyRoot() bool {
	i, err := findIDs()
	return err == nil && i.count == 1
}

// StartOf is when a process started, as State.Owner has it.
func StartOf(pid int) uint64 {
	_, start, err := procStat(pid)
	if err != nil {
		return 0
	}
	return start
}

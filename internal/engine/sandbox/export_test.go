package sandbox

// CgroupSuffix is how the cgroups of one Config.Dir end.
var CgroupSuffix = cgroupSuffix

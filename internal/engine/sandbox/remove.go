package sandbox

import "longshore/internal/rmtree"

// removeAll removes a folder with files of a container's users, which an ordinary user may not do as himself. A missing one is no
// error.
func removeAll(dir string) error {
	i, err := findIDs()
	if err != nil {
		return err
	}
	if err = rmtree.All(dir); err == nil || i.privileged {
		return err
	}
	if err := removeAs(i, dir); err != nil {
		return err
	}
	return rmtree.All(dir)
}

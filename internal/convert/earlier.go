package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"longshore/internal/adapter"
)

// Earlier is what a converted package was made of.
type Earlier struct {
	adapter.Plan
	// Folder has the build context of the earlier package, as a slash path in the converted one.
	Folder string
}

// EarlierIn answers what a package was made of that is a converted one, and what that was made of, and so on.
func EarlierIn(pkg fs.FS) ([]Earlier, error) {
	var list []Earlier
	for folder := "."; ; {
		at := path.Join(folder, planFile)
		data, err := fs.ReadFile(pkg, at)
		if errors.Is(err, fs.ErrNotExist) {
			return list, nil
		}
		folder = path.Join(folder, appFolder)
		e := Earlier{Folder: folder}
		if err == nil {
			err = json.Unmarshal(data, &e.Plan)
		}
		if err == nil && e.Task == nil {
			err = errors.New("it names no task")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		list = append(list, e)
	}
}

package task

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// itemName is the name of an item in an array's folder.
var itemName = regexp.MustCompile(`^(0|[1-9][0-9]{0,6})$`)

// arrayFolder tells whether a value for an array is given as a folder, as the output folders of arrays are.
func arrayFolder(t Type, path string) bool {
	st, err := os.Stat(path)
	return t.Kind == Array && err == nil && st.IsDir()
}

// fromFolder reads an array from a folder whose entries 0, 1, … are the items, folders again for arrays of arrays. What has
// another name (a file with the size, files beside items) is left out; gaps are an error.
func fromFolder(t Type, dir string, g Given) (Value, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Value{}, fmt.Errorf("cannot read %s: %w", g.shown(), bare(err))
	}
	there := map[string]bool{}
	for _, e := range entries {
		if itemName.MatchString(e.Name()) {
			there[e.Name()] = true
		}
	}
	if len(there) == 0 && len(entries) > 1 { // an empty array has at most the file with its size
		return Value{}, fmt.Errorf("%s holds no items: they are called 0, 1, …", g.shown())
	}
	shown := g.shown()
	v := Value{Items: make([]Value, 0, len(there))}
	for i := range len(there) {
		name := strconv.Itoa(i)
		if !there[name] {
			return Value{}, fmt.Errorf("%s has %d items, and none is called %s", shown, len(there), name)
		}
		g.Path, g.As = filepath.Join(dir, name), shown+"/"+name
		item, err := parseGiven(*t.Item, g)
		if err != nil {
			return Value{}, &itemError{i, err}
		}
		v.Items = append(v.Items, item)
	}
	return v, nil
}

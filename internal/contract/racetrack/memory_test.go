package racetrack_test

import (
	"io/fs"
	"testing/fstest"
)

// memory is a package that is on no disk.
func memory(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return m
}

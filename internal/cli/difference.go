package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"longshore/internal/dispatch"
	"longshore/internal/task"
)

// difference is the first place where the files of two result folders differ.
type difference struct {
	// File is relative to both folders.
	File string `json:"file"`
	// Offset is that of the first differing byte, from 0.
	Offset int64 `json:"offset"`
	// Bytes are the two bytes there, in the order of the folders; nil where a file has ended.
	Bytes [2]*byte `json:"bytes"`
	// Only is 1 or 2 when the file is in the first or the second folder only, and 0 when it is in both.
	Only int `json:"only,omitempty"`
}

// words tells the difference to people; first and second name the folders.
func (d *difference) words(first, second string) string {
	if d.Only != 0 {
		return fmt.Sprintf("%s is in %s only", d.File, []string{first, second}[d.Only-1])
	}
	return fmt.Sprintf("%s, byte %d (from 0): %s in %s, %s in %s", d.File, d.Offset, byteWords(d.Bytes[0]), first, byteWords(d.Bytes[1]), second)
}

func byteWords(b *byte) string {
	switch {
	case b == nil:
		return "the end of the file"
	case *b > ' ' && *b < 0x7f:
		return fmt.Sprintf("0x%02x (%s)", *b, strconv.Quote(string(rune(*b))))
	}
	return fmt.Sprintf("0x%02x", *b)
}

// outcome is the folder of one run with its result.
type outcome struct {
	dir string
	res *task.Result
}

// firstDifference compares the output files of two outcomes in the order of their paths, and then their logs. It is nil when
// all are the same. Only regular files inside the folders are looked at: the folders may be a stranger's.
func firstDifference(a, b outcome) (*difference, error) {
	rootA, err := os.OpenRoot(a.dir)
	if err != nil {
		return nil, err
	}
	defer rootA.Close()
	rootB, err := os.OpenRoot(b.dir)
	if err != nil {
		return nil, err
	}
	defer rootB.Close()
	outputs := append(outputPaths(a.res), outputPaths(b.res)...)
	for _, paths := range [][]string{outputs, {logName(outputs)}} {
		if d, err := compareTrees(rootA.FS(), rootB.FS(), paths); d != nil || err != nil {
			return d, err
		}
	}
	return nil, nil
}

func outputPaths(res *task.Result) []string {
	var paths []string
	for _, o := range res.Outputs {
		if o.Path != "" {
			paths = append(paths, o.Path)
		}
	}
	return paths
}

// logName is the log's name in a folder with these outputs: it makes way for an output of its own name.
func logName(outputs []string) string {
	if slices.Contains(outputs, dispatch.LogFile) {
		return dispatch.LogFile + ".txt"
	}
	return dispatch.LogFile
}

// compareTrees compares the files at and below paths in two trees.
func compareTrees(a, b fs.FS, paths []string) (*difference, error) {
	inA, err := filesBelow(a, paths)
	if err != nil {
		return nil, err
	}
	inB, err := filesBelow(b, paths)
	if err != nil {
		return nil, err
	}
	all := append(slices.Clone(inA), inB...)
	slices.Sort(all)
	for _, name := range slices.Compact(all) {
		_, hasA := slices.BinarySearch(inA, name)
		_, hasB := slices.BinarySearch(inB, name)
		switch {
		case !hasB:
			return &difference{File: name, Only: 1}, nil
		case !hasA:
			return &difference{File: name, Only: 2}, nil
		}
		d, err := compareFiles(a, b, name)
		if err != nil {
			return nil, task.Errorf(task.ReasonInput, "%s cannot be compared: %w", name, err)
		}
		if d != nil {
			return d, nil
		}
	}
	return nil, nil
}

// filesBelow lists the regular files at and below paths, sorted, each once.
func filesBelow(fsys fs.FS, paths []string) ([]string, error) {
	var files []string
	for _, p := range paths {
		if !fs.ValidPath(p) {
			return nil, task.Errorf(task.ReasonInput, "result.json names the output %q, which is no path inside its folder", p)
		}
		err := fs.WalkDir(fsys, p, func(name string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist) && name == p:
				return nil
			case err == nil && e.Type().IsRegular():
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// compareFiles finds the first differing byte of a file in two trees.
func compareFiles(a, b fs.FS, name string) (*difference, error) {
	fileA, err := a.Open(name)
	if err != nil {
		return nil, err
	}
	defer fileA.Close()
	fileB, err := b.Open(name)
	if err != nil {
		return nil, err
	}
	defer fileB.Close()
	offset, bytes, err := firstByte(fileA, fileB)
	if err != nil || bytes == [2]*byte{} {
		return nil, err
	}
	return &difference{File: name, Offset: offset, Bytes: bytes}, nil
}

// firstByte reads two streams up to their first differing byte. Both bytes are nil when the streams are the same.
func firstByte(a, b io.Reader) (offset int64, bytes [2]*byte, err error) {
	const buffer = 64 << 10
	readers := [2]*bufio.Reader{bufio.NewReaderSize(a, buffer), bufio.NewReaderSize(b, buffer)}
	for {
		var parts [2][]byte
		for i, r := range readers {
			// What is there, at least one byte, without taking it.
			if _, err := r.Peek(1); err != nil && !errors.Is(err, io.EOF) {
				return 0, bytes, err
			}
			if parts[i], err = r.Peek(r.Buffered()); err != nil {
				return 0, bytes, err
			}
		}
		n := min(len(parts[0]), len(parts[1]))
		for i := range n {
			if x, y := parts[0][i], parts[1][i]; x != y {
				return offset + int64(i), [2]*byte{&x, &y}, nil
			}
		}
		offset += int64(n)
		if n == 0 {
			for i, part := range parts {
				if len(part) > 0 {
					bytes[i] = &part[0]
				}
			}
			return offset, bytes, nil
		}
		for _, r := range readers {
			if _, err := r.Discard(n); err != nil {
				return 0, bytes, err
			}
		}
	}
}

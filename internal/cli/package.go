package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// archiver packs the outputs of a run as the platform hands them out.
type archiver struct {
	file string // "" packs nothing
	pack contract.ResultPackager
}

// newArchiver checks beforehand that the archive can be made.
func newArchiver(c contract.Contract, file string) (archiver, error) {
	if file == "" {
		return archiver{}, nil
	}
	usage := func(why error) error {
		return task.Errorf(task.CodeUsage, "--package %s: %w", file, why)
	}
	pack, ok := c.(contract.ResultPackager)
	if !ok {
		return archiver{}, usage(fmt.Errorf("%s defines no archive of results; the outputs are in the folder of -o", c.Name()))
	}
	if st, err := os.Stat(file); err == nil && !st.Mode().IsRegular() {
		return archiver{}, usage(errors.New("is no file that can be replaced"))
	}
	if st, err := os.Stat(filepath.Dir(file)); err != nil || !st.IsDir() {
		return archiver{}, usage(errors.New("its folder does not exist"))
	}
	return archiver{file, pack}, nil
}

// write packs the result that lies in dir. The file appears when it is whole, or not at all.
func (a archiver) write(g *globals, dir string, res *task.Result) error {
	if a.file == "" {
		return nil
	}
	notes, err := a.replace(dir, res)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "the archive %s cannot be written: %w", a.file, err).WithHint("the outputs are in %s", dir)
	}
	for _, n := range notes {
		g.info("note: %s", n)
	}
	g.info("archive: %s", a.file)
	return nil
}

func (a archiver) replace(dir string, res *task.Result) (notes []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := os.CreateTemp(filepath.Dir(a.file), "."+filepath.Base(a.file)+".longshore-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // fails once it has its name
	notes, err = a.pack.PackResult(contract.ResultFiles{FS: contract.Folder{Root: root}, Result: res}, f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	return notes, os.Rename(f.Name(), a.file)
}

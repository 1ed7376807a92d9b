package convert

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"io"
	"io/fs"
	"strings"

	"longshore/internal/adapter"
	"longshore/internal/contract"
	"longshore/internal/task"
)

// programs holds adapter.gz, the compressed program of cmd/longshore-adapter for this kind of machine. It is built before
// this package is compiled, and not kept in the repository.
//
//go:generate sh program/build.sh
//go:embed all:program
var programs embed.FS

// program returns the adapter.
func program() ([]byte, error) {
	data, err := programs.ReadFile("program/adapter.gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, (&task.Error{Code: task.ReasonEngine, Message: "this build of Longshore lacks the program that converted images need"}).
			WithHint("build it with `make build`, or run `go generate ./internal/convert` before `go build`")
	}
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// frontArchive is what the final layer unpacks: the adapter, and the folders it needs, open for programs of any user. Equal
// folders give equal bytes.
func frontArchive(dir string, folders []string) ([]byte, error) {
	data, err := program()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	add := func(name string, kind byte, mode int64, content []byte) {
		h := &tar.Header{Name: strings.TrimPrefix(name, "/"), Typeflag: kind, Mode: mode, Size: int64(len(content)), Format: tar.FormatPAX}
		if err == nil {
			err = w.WriteHeader(h)
		}
		if err == nil {
			_, err = w.Write(content)
		}
	}
	add(dir+"/", tar.TypeDir, 0o755, nil)
	add(dir+"/"+adapter.RunsFolder+"/", tar.TypeDir, 0o1777, nil)
	add(contract.FrontProgram(dir), tar.TypeReg, 0o755, data)
	for _, f := range folders {
		add(f+"/", tar.TypeDir, 0o777, nil)
	}
	err = errors.Join(err, w.Close(), z.Close())
	return b.Bytes(), err
}

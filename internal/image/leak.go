package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// shortLeak is the length from which on a value is looked for in layers: shorter ones are there by chance.
const shortLeak = 8

// checkLeaks refuses a layer, given as its folder, that holds one of the values which must not be stored.
func (b *builder) checkLeaks(ctx context.Context, layer string) error {
	if len(b.opts.Sensitive) == 0 {
		return nil
	}
	err := filepath.WalkDir(layer, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		key := ""
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			var target string
			if target, err = os.Readlink(name); err == nil {
				key = b.leaked([]byte(target))
			}
		case d.Type().IsRegular():
			key, err = b.leakedFile(name)
		}
		if err == nil && key != "" {
			err = leakError(key, "the file "+name[len(layer):])
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a step that leaves nothing
	}
	return err
}

// leaked names the value that data holds, "" for none.
func (b *builder) leaked(data []byte) string {
	for _, key := range slices.Sorted(maps.Keys(b.opts.Sensitive)) {
		if v := b.opts.Sensitive[key]; len(v) >= shortLeak && bytes.Contains(data, []byte(v)) {
			return key
		}
	}
	return ""
}

// leakedFile is leaked for a file of any size.
func (b *builder) leakedFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	longest := 0
	for _, v := range b.opts.Sensitive {
		longest = max(longest, len(v))
	}
	buf := make([]byte, longest+256<<10)
	kept := 0 // the end of what was read before, where a value may begin
	for {
		n, err := f.Read(buf[kept:])
		if key := b.leaked(buf[:kept+n]); key != "" {
			return key, nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return "", nil
		case err != nil:
			return "", err
		}
		n += kept
		kept = min(n, longest)
		copy(buf, buf[n-kept:n])
	}
}

func leakError(key, where string) error {
	return &Error{
		Kind: KindInvalid, What: fmt.Sprintf("secret %s would be stored in the image", key), Why: where + " holds its value",
		Hint: "leave its file out with .dockerignore, and read it with RUN --mount=type=secret in the one command that needs it",
	}
}

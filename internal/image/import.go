package image

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
)

// ImportOptions describe an image that is made from a root file system.
type ImportOptions struct {
	// Names are given to the image; at least one.
	Names []string
	// Entrypoint, Cmd, Env (NAME=VALUE) and WorkingDir become its configuration.
	Entrypoint, Cmd, Env []string
	WorkingDir           string
	Progress             Progress
}

// Import makes an image of one layer from a tar archive of a root file system, which may be compressed with gzip or zstd.
// The image is for this machine's platform and has no creation time, so that the same archive gives the same digest.
func (s *Store) Import(ctx context.Context, path string, opts ImportOptions) (*Image, error) {
	done, err := s.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	for _, n := range opts.Names {
		if _, err := ParseReference(n); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fileError(path, err)
	}
	if st.IsDir() {
		return nil, &Error{Kind: KindInvalid, What: path, Why: "is a folder", Hint: "make a tar archive of it first", Err: fs.ErrInvalid}
	}
	layer, err := s.ingest(ctx, layerSource{name: path, r: f, size: st.Size(), progress: opts.Progress})
	if err != nil {
		return nil, err
	}
	platform := ThisPlatform()
	config, err := json.Marshal(configFile{
		Architecture: platform.Architecture, Variant: platform.Variant, OS: platform.OS,
		Config:  configRun{Entrypoint: opts.Entrypoint, Cmd: opts.Cmd, Env: opts.Env, WorkingDir: opts.WorkingDir},
		RootFS:  configRootFS{Type: "layers", DiffIDs: []Digest{layer.diff}},
		History: []configChange{{CreatedBy: "import"}},
	})
	if err != nil {
		return nil, s.storeError(err)
	}
	// Described uncompressed, as every image that is made here, so that it does not depend on how the archive was compressed.
	known, ok := s.knownLayer(archiveLayer{diff: layer.diff})
	if !ok {
		return nil, &Error{Kind: KindStore, What: path, Why: "its layer vanished from the store", Hint: "import it again"}
	}
	return s.commit(path, nil, config, []layerInfo{known}, opts.Names)
}

package image

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
)

// builtRecord says what a build with certain options made last, and of what.
type builtRecord struct {
	Fingerprint string `json:"fingerprint"`
	Manifest    Digest `json:"manifest"`
}

// Fingerprint tells cheaply what a build depends on: it looks at the names, sizes and times of the context's files, not
// at their contents. Equal fingerprints mean that nothing a build would see has changed, other than what RUN fetches
// from the network and images in registries.
func (s *Store) Fingerprint(ctx context.Context, opts BuildOptions) (string, error) {
	b, err := s.newBuilder(opts)
	if err != nil {
		return "", err
	}
	defer b.close()
	files, err := b.fingerprintFiles(ctx)
	if err != nil {
		return "", err
	}
	return b.fingerprint(files), nil
}

// Unchanged returns the image that Build made last with these options when nothing has changed since and the image is
// still there under its tags; otherwise nil. An error is only about the options or the context.
func (s *Store) Unchanged(ctx context.Context, opts BuildOptions) (*Image, error) {
	if opts.NoCache || opts.Pull {
		return nil, nil
	}
	b, err := s.newBuilder(opts)
	if err != nil {
		return nil, err
	}
	defer b.close()
	data, err := os.ReadFile(s.path(dirBuilt, b.optionsKey()))
	if err != nil {
		return nil, nil
	}
	var rec builtRecord
	if json.Unmarshal(data, &rec) != nil || !rec.Manifest.Valid() {
		return nil, nil
	}
	files, err := b.fingerprintFiles(ctx)
	if err != nil || b.fingerprint(files) != rec.Fingerprint {
		return nil, err
	}
	return s.stillThere(ctx, rec.Manifest, b.opts.Tags), nil
}

// stillThere returns an image if it is complete and has the names; otherwise nil.
func (s *Store) stillThere(ctx context.Context, d Digest, names []string) *Image {
	img, err := s.byManifest(d)
	if err != nil {
		return nil
	}
	if _, err := img.Layers(ctx); err != nil {
		return nil
	}
	for _, n := range names {
		tagged, err := s.byName(n)
		if err != nil || tagged.rec.Manifest != d {
			return nil
		}
		img.names = append(img.names, tagged.names...)
	}
	return img
}

// rememberBuilt notes what an image was made of: the files must be the same before and after the build, and old enough
// that another change of theirs would show.
func (b *builder) rememberBuilt(ctx context.Context, before filesPrint, img *Image) {
	after, err := b.fingerprintFiles(ctx)
	if err != nil || after.sum != before.sum || before.at.Sub(after.newest) < settled {
		return
	}
	data, err := json.Marshal(builtRecord{b.fingerprint(after), img.rec.Manifest})
	if err == nil {
		_ = b.store.writeFile(b.store.path(dirBuilt, b.optionsKey()), data) // losing it costs a look at the cache only
	}
}

// optionsKey names what a caller asked for, whatever the files say. Secrets count by name only.
func (b *builder) optionsKey() string {
	o := b.opts
	data, _ := json.Marshal([]any{o.Context, o.dockerfileName(), o.Contexts, o.Target, o.Args, o.Labels, b.platform, o.Network, o.SourceDateEpoch, slices.Sorted(maps.Keys(o.Secrets)), slices.Sorted(maps.Keys(o.Sensitive))})
	return digestOf(data).Hex()
}

// fingerprint puts together what a build depends on.
func (b *builder) fingerprint(files filesPrint) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s%s\n%q\n%s\n", stepRules, b.optionsKey(), b.text, files.sum)
	for _, name := range b.plan.imageNames() {
		if img, err := b.store.byName(name); err == nil {
			fmt.Fprintf(h, "base %q %s\n", name, img.rec.Manifest)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// filesPrint is how the files of all contexts looked at one time.
type filesPrint struct {
	sum    string
	at     time.Time
	newest time.Time // when the last of them changed
}

func (b *builder) fingerprintFiles(ctx context.Context) (filesPrint, error) {
	out := filesPrint{at: time.Now()}
	h := sha256.New()
	trees := map[string]*hostTree{}
	for name, t := range b.named {
		trees["context "+name] = t
	}
	if b.context != nil {
		trees[""] = b.context
	}
	for _, name := range slices.Sorted(maps.Keys(trees)) {
		t := trees[name]
		fmt.Fprintf(h, "%q %q %q\n", name, t.ignoreName, t.ignoreText)
		newest, err := fingerprintTree(ctx, h, t)
		if err != nil {
			return out, err
		}
		if newest.After(out.newest) {
			out.newest = newest
		}
	}
	out.sum = fmt.Sprintf("%x", h.Sum(nil))
	return out, nil
}

// fingerprintTree writes down what a change of any file changes. Folders' times are left out, because files that are
// ignored change them. The result is when the newest changed.
func fingerprintTree(ctx context.Context, h hash.Hash, t *hostTree) (time.Time, error) {
	var newest int64
	var walk func(it *item) error
	walk = func(it *item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !it.isDir() {
			newest = max(newest, it.ctime)
			fmt.Fprintf(h, "%q %o %d %d %d %d %q\n", it.path, it.mode, it.size, it.mtime, it.ctime, it.ino, it.link)
			return nil
		}
		fmt.Fprintf(h, "%q %o\n", it.path, it.mode)
		children, err := t.children(it)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return &Error{Kind: KindInvalid, What: it.path, Err: err}
		}
		for _, c := range children {
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	root, err := t.lookup(".", true)
	if err != nil {
		return time.Time{}, fileError(t.dir, err)
	}
	err = walk(root)
	return time.Unix(0, newest), err
}

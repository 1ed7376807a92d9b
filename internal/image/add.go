package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"golang.org/x/sys/unix"
)

// maxDownload bounds what ADD fetches from a URL.
const maxDownload = 8 << 30

// add is COPY, but fetches URLs and unpacks archives.
func (b *builder) add(ctx context.Context, st *state, c *instructions.AddCommand) error {
	t, err := b.copyTree(ctx, st, "")
	if err != nil {
		return err
	}
	p := &copyPlan{tree: t, dest: st.absolute(c.DestPath), contents: c.SourceContents}
	if err := b.ownership(st, p, c.Chown, c.Chmod); err != nil {
		return err
	}
	in := inputs{{"chain", st.chain()}, {"instruction", copyText("ADD", c.SourcesAndDest, p.dest, c.Chown, c.Chmod, false)}}
	var local []string
	for _, src := range c.SourcePaths {
		switch {
		case isGit(src):
			return &Error{Kind: KindUnsupported, What: src, Why: "ADD of a git repository is not supported", Hint: "clone it next to the Dockerfile and COPY it"}
		case isURL(src):
			return b.addURL(ctx, st, c, p, in)
		}
		local = append(local, src)
	}
	if c.Checksum != "" {
		return &Error{Kind: KindInvalid, What: "--checksum", Why: "only for sources that are URLs"}
	}
	if err := p.gather(local, c.ExcludePatterns, false); err != nil {
		return err
	}
	for i := range p.sources {
		s := &p.sources[i]
		if s.top.isFile() && (c.Unpack == nil || *c.Unpack) {
			if s.archive, err = isArchive(t, s.top); err != nil {
				return err
			}
		}
	}
	if c.Unpack != nil {
		in = append(in, input{"unpack", fmt.Sprint(*c.Unpack)})
	}
	return b.copyStep(ctx, st, c, c.String(), in, p)
}

func isURL(src string) bool {
	return strings.HasPrefix(src, "http://") || strings.HasPrefix(src, "https://")
}

func isGit(src string) bool {
	if strings.HasPrefix(src, "git://") || strings.HasPrefix(src, "git@") || strings.HasPrefix(src, "ssh://") {
		return true
	}
	u, err := url.Parse(src)
	return err == nil && isURL(src) && strings.HasSuffix(u.Path, ".git")
}

// isArchive tells whether a file is a tar archive, perhaps compressed, by its content.
func isArchive(t tree, it *item) (bool, error) {
	f, err := t.open(it)
	if err != nil {
		return false, err
	}
	defer f.Close()
	br, comp, err := peekCompression(f)
	if err != nil {
		return false, err
	}
	if comp == plain {
		head, err := br.Peek(sniffBytes)
		return err == nil && isTar(head) && !allZero(head), nil
	}
	dec, err := decompress(br, comp)
	if KindOf(err) == KindUnsupported {
		return false, &Error{Kind: KindUnsupported, What: it.path, Hint: "or write ADD --unpack=false to add it as it is", Err: err}
	}
	if err != nil {
		return false, nil
	}
	defer dec.Close()
	head := make([]byte, sniffBytes)
	if _, err := io.ReadFull(dec, head); err != nil {
		return false, nil
	}
	return isTar(head), nil
}

// placeArchive unpacks a local archive below the destination. It is first unpacked by itself, as a layer would be, and
// then moved into place, so that nothing in it meets the image's own links unseen.
func (b *builder) placeArchive(ctx context.Context, u *upper, p *copyPlan, s copySource, dest string, made time.Time) error {
	f, err := p.tree.open(s.top)
	if err != nil {
		return err
	}
	defer f.Close()
	br, comp, err := peekCompression(f)
	if err != nil {
		return err
	}
	dec, err := decompress(br, comp)
	if err != nil {
		return readError(s.top.path, err)
	}
	defer dec.Close()
	tmp, err := b.store.newTemp("add")
	if err != nil {
		return err
	}
	defer tmp.remove()
	dir := tmp.join("files")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return b.store.storeError(err)
	}
	un := &unpacker{layer: s.top.path, opaque: b.store.opaqueXattr, limits: b.store.limits, moved: tmp.join("moved"), noWhiteouts: true}
	if err := un.unpack(ctx, dec, dir); err != nil {
		return err
	}
	if err := u.makeDirs(dest, 0o755, owner{uid: p.owner.uid, gid: p.owner.gid}, made); err != nil {
		return err
	}
	real, _, err := u.resolve(dest)
	if err != nil {
		return err
	}
	return u.graft(dir, real, p.adjustUnpacked)
}

// adjustUnpacked gives a file out of an archive the owner that the instruction asks for. Without --chown it keeps its own,
// and --chmod is not for what is unpacked: as BuildKit does.
func (p *copyPlan) adjustUnpacked(file string) error {
	if !p.chown {
		return nil
	}
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if err := setOwner(file, p.owner); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	// A change of owner takes the set-user-ID bit away, so the mode comes last.
	return unix.Chmod(file, info.Sys().(*syscall.Stat_t).Mode&0o7777)
}

// graft moves the entries of a folder to the resolved path p. Folders that are there are merged.
func (u *upper) graft(from, p string, adjust func(string) error) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		src, target := filepath.Join(from, e.Name()), path.Join(p, e.Name())
		info, err := e.Info()
		if err != nil {
			return err
		}
		if err := adjust(src); err != nil {
			return err
		}
		if !info.IsDir() {
			file, err := u.makeRoom(target)
			if err != nil {
				return err
			}
			if err := os.Rename(src, file); err != nil {
				return err
			}
			continue
		}
		if target, err = u.graftDir(src, target); err != nil {
			return err
		}
		if err := u.graft(src, target, adjust); err != nil {
			return err
		}
		real, err := u.here(target)
		if err != nil {
			return err
		}
		if err := setTime(real, info.ModTime()); err != nil {
			return err
		}
	}
	return u.keepTime(p)
}

// graftDir makes the folder at target like src and tells where it really lies.
func (u *upper) graftDir(src, target string) (string, error) {
	info, err := os.Lstat(src)
	if err != nil {
		return "", err
	}
	model := &node{real: src, info: info}
	resolved, n, err := u.resolve(target)
	if err != nil {
		return "", err
	}
	if n == nil {
		st := model.stat()
		if err := u.makeDir(target, st.Mode, owner{uid: int(st.Uid), gid: int(st.Gid)}, info.ModTime()); err != nil {
			return "", err
		}
		return target, nil
	}
	if !n.isDir() {
		return "", &Error{Kind: KindInvalid, What: target + " in the image", Why: "a file, which a folder of the archive cannot replace"}
	}
	real, err := u.here(resolved)
	if err != nil {
		return "", err
	}
	return resolved, cloneFull(model, real)
}

// addURL fetches one URL into the image.
func (b *builder) addURL(ctx context.Context, st *state, c *instructions.AddCommand, p *copyPlan, in inputs) error {
	if len(c.SourcePaths) != 1 || len(c.SourceContents) > 0 {
		return &Error{Kind: KindUnsupported, What: "ADD", Why: "a URL beside other sources", Hint: "write one ADD for each"}
	}
	src := c.SourcePaths[0]
	u, err := url.Parse(src)
	if err != nil {
		return &Error{Kind: KindInvalid, What: src, Why: "not a URL", Err: err}
	}
	name := path.Base(u.Path)
	if strings.HasSuffix(p.dest, "/") && (name == "/" || name == "." || strings.HasSuffix(u.Path, "/")) {
		return &Error{Kind: KindInvalid, What: src, Why: "its path names no file", Hint: "write the file's name into the destination"}
	}
	in = append(in, input{"owner", fmt.Sprint(p.owner)})
	want := Digest(c.Checksum)
	if c.Checksum != "" && !want.Valid() {
		return &Error{Kind: KindInvalid, What: "--checksum=" + c.Checksum, Why: "not of the form sha256: and 64 digits"}
	}
	// What is known by its checksum need not be fetched to know whether it has changed.
	if want != "" {
		known := append(in[:len(in):len(in)], input{inputFile + src, string(want)})
		if _, hit := b.cached(known.key()); hit && !b.opts.NoCache {
			return b.cachedStep(ctx, st, c, c.String(), known, nil)
		}
	}
	tmp, err := b.workdir()
	if err != nil {
		return err
	}
	file := tmp.join(fmt.Sprintf("url-%d-%d", st.index, st.ordinal))
	got, modified, err := b.fetch(ctx, src, file)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	if want != "" && want != got {
		return lyingDigest(src, "content", want, got)
	}
	in = append(in, input{inputFile + src, string(got)})
	unpack := c.Unpack != nil && *c.Unpack
	return b.cachedStep(ctx, st, c, c.String(), in, func(up *upper) error {
		return b.placeDownload(ctx, up, p, file, name, modified, unpack)
	})
}

func (b *builder) placeDownload(ctx context.Context, up *upper, p *copyPlan, file, name string, modified time.Time, unpack bool) error {
	made := b.madeTime(time.Time{})
	if unpack {
		t, err := openHostTree(filepath.Dir(file))
		if err != nil {
			return err
		}
		defer t.root.Close()
		it, err := t.lookup(filepath.Base(file), false)
		if err != nil {
			return err
		}
		q := *p
		q.tree = t
		return b.placeArchive(ctx, up, &q, copySource{top: it}, path.Clean(p.dest), made)
	}
	to, err := b.fileTarget(up, p, path.Clean(p.dest), strings.HasSuffix(p.dest, "/"), name, made)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	mode := uint32(0o600)
	if p.mode != nil {
		mode = p.mode.apply(mode, false)
	}
	return up.makeFile(to, f, mode, owner{uid: p.owner.uid, gid: p.owner.gid}, b.madeTime(modified))
}

// fetch downloads a URL to a file.
func (b *builder) fetch(ctx context.Context, src, file string) (Digest, time.Time, error) {
	var modified time.Time
	if !b.opts.Network {
		return "", modified, &Error{Kind: KindNetwork, What: src, Why: "this build may not use the network", Hint: "allow it, or put the file next to the Dockerfile and COPY it"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, src, nil)
	if err != nil {
		return "", modified, &Error{Kind: KindInvalid, What: src, Err: err}
	}
	client := &http.Client{Transport: b.store.cfg.Transport}
	resp, err := client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return "", modified, &Error{Kind: KindNetwork, What: src, Why: "cannot be fetched: " + err.Error(), Err: err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", modified, &Error{Kind: KindNetwork, What: src, Why: "the server answered " + resp.Status}
	}
	f, err := os.Create(file)
	if err != nil {
		return "", modified, b.store.storeError(err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(resp.Body, maxDownload+1))
	if err != nil {
		return "", modified, &Error{Kind: KindNetwork, What: src, Why: "the transfer broke: " + err.Error(), Err: err}
	}
	if n > maxDownload {
		return "", modified, &Error{Kind: KindLimit, What: src, Why: "larger than " + sizeText(maxDownload)}
	}
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		modified = t
	}
	return sumDigest(h), modified, nil
}

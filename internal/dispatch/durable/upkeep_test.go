package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"longshore/internal/blob"
	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
	"longshore/internal/task"
)

// clock is the time that a service is told.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time           { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(by time.Duration) { c.ahead.Add(int64(by)) }
func (c *clock) set(cfg *durable.Config)  { cfg.Now = c.now }
func old(by time.Duration) (at time.Time) { return time.Now().Add(-by) }
func input(name string) json.RawMessage   { return json.RawMessage(fmt.Sprintf("%q", "@"+name)) }
func file(i blob.Info) durable.FileRef    { return durable.FileRef{Digest: i.Digest, Size: i.Size} }
func withFile(i blob.Info) durable.Submission {
	return durable.Submission{Task: "t", Inputs: map[string]json.RawMessage{"file": input("in")}, Files: map[string]durable.FileRef{"in": file(i)}}
}

func (r *rig) upload(content string) blob.Info {
	r.t.Helper()
	i, err := r.Upload(r.t.Context(), "ada", strings.NewReader(content), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}

// age makes all blobs old enough to be collected.
func (r *rig) age() {
	r.t.Helper()
	err := filepath.WalkDir(filepath.Join(r.dir, "blobs", "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, old(2*time.Hour), old(2*time.Hour))
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) prune(how durable.Retention) durable.Pruned {
	r.t.Helper()
	p, err := r.Prune(r.t.Context(), how)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *rig) has(digest string) bool {
	r.t.Helper()
	_, err := r.blobs.Stat(r.t.Context(), digest)
	if err != nil && !errors.Is(err, blob.ErrNotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

// whole sees that every file of a run is there.
func (r *rig) whole(id string) {
	run, err := r.store.Run(r.t.Context(), id)
	if err != nil {
		r.t.Error(err)
		return
	}
	for _, f := range append(run.Inputs, run.Files...) {
		if f.Digest != "" && !r.has(f.Digest) {
			r.t.Errorf("run %s has lost %s", id, f.Path)
		}
	}
}

func TestPruneBlobs(t *testing.T) {
	t.Parallel()
	var c clock
	r := newRig(t, c.set)
	v := r.task("t", "write=/out/n=42\n")
	used, held := r.upload("used"), r.upload("held")
	run := r.submit(withFile(used))
	r.wait(run.ID, task.Succeeded, "")
	stray, err := r.blobs.Put(t.Context(), strings.NewReader("nobody's"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if p := r.prune(durable.Retention{}); p.Blobs != 0 {
		t.Errorf("young blobs were removed: %+v", p)
	}
	r.age()
	if p := r.prune(durable.Retention{}); p.Blobs != 1 || p.Bytes != stray.Size || r.has(stray.Digest) {
		t.Errorf("%+v, want nobody's blob removed alone", p)
	}
	// Holds run out; what a run or a version refers to stays.
	c.advance(25 * time.Hour)
	if p := r.prune(durable.Retention{}); p.Blobs != 1 || r.has(held.Digest) {
		t.Errorf("%+v, want the upload that nothing refers to removed alone", p)
	}
	r.whole(run.ID)
	if !r.has(v.Package) {
		t.Error("a version has lost its package")
	}
	// The files go before the run.
	if p := r.prune(durable.Retention{Files: 24 * time.Hour, Runs: 48 * time.Hour}); p.Runs != 1 || r.has(used.Digest) || !r.has(v.Package) {
		t.Errorf("%+v, want the files of the run removed", p)
	}
	if _, _, err := r.Output(t.Context(), run.ID, "n"); task.CodeOf(err) != task.CodeMissing || !strings.Contains(err.Error(), "age") {
		t.Errorf("an output that was removed: %v", err)
	}
	c.advance(24 * time.Hour)
	if p := r.prune(durable.Retention{Files: 24 * time.Hour, Runs: 48 * time.Hour}); p.Runs != 1 {
		t.Errorf("%+v, want the run removed", p)
	}
	if _, err := r.store.Run(t.Context(), run.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the run: %v", err)
	}
}

// TestPruneDisk removes the files of the runs that ended first when there is no room.
func TestPruneDisk(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "write=/out/n=42\n")
	var ids []string
	for n := range 6 {
		run := r.submit(withFile(r.upload(strings.Repeat(fmt.Sprint(n), 1<<20))))
		r.wait(run.ID, task.Succeeded, "")
		ids = append(ids, run.ID)
	}
	c := clock{}
	c.advance(25 * time.Hour)
	r.close()
	c.set(&r.cfg)
	r.open()
	r.age()
	p := r.prune(durable.Retention{Disk: 4 << 20})
	if p.Runs != 3 || p.Bytes < 3<<20 {
		t.Errorf("%+v, want three of six runs' files removed", p)
	}
	for n, id := range ids {
		run, err := r.store.Run(t.Context(), id)
		if err != nil || run.Pruned != (n < 3) {
			t.Errorf("run %d: pruned %v, %v", n, run.Pruned, err)
		}
		r.whole(id)
	}
	if y, err := r.System(t.Context()); err != nil || y.BlobBytes > 4<<20 || y.FreeBytes <= 0 {
		t.Errorf("%+v, %v", y, err)
	}
}

// TestPruneMeanwhile collects while uploads and runs whose content is garbage to the collector come and end: nothing that anybody
// was told of is ever missing.
func TestPruneMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "write=/out/n=42\n")
	const contents = 120
	for n := range contents {
		if _, err := r.blobs.Put(t.Context(), strings.NewReader(fmt.Sprint("content ", n)), 0); err != nil {
			t.Fatal(err)
		}
	}
	r.age() // all of them are garbage, until somebody uploads the same
	var collecting, working sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		collecting.Go(func() {
			for !stop.Load() {
				if _, err := r.Prune(t.Context(), durable.Retention{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	ids := make([]string, contents)
	for worker := range 4 {
		working.Go(func() {
			for n := worker; n < contents; n += 4 {
				i, err := r.Upload(t.Context(), "ada", strings.NewReader(fmt.Sprint("content ", n)), 0)
				if err != nil {
					t.Error(err)
					return
				}
				run, _, err := r.Submit(t.Context(), "ada", withFile(i))
				if err != nil {
					t.Errorf("content %d: %v", n, err)
					return
				}
				ids[n] = run.ID
			}
		})
	}
	working.Wait()
	for _, id := range ids {
		if id == "" {
			continue // reported above
		}
		r.wait(id, task.Succeeded, "")
		r.whole(id)
	}
	stop.Store(true)
	collecting.Wait()
	for _, id := range ids {
		if id != "" {
			r.whole(id)
		}
	}
}

// TestSubmitOldUpload submits with a file whose hold has run out but that was not collected yet.
func TestSubmitOldUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.task("t", "write=/out/n=42\n")
	stray, err := r.blobs.Put(t.Context(), strings.NewReader("old"), 0)
	if err != nil {
		t.Fatal(err)
	}
	r.age()
	run := r.submit(withFile(stray))
	if i, err := r.blobs.Stat(t.Context(), stray.Digest); err != nil || time.Since(i.WrittenAt) > time.Hour {
		t.Errorf("%+v, %v: it could be collected before the run is on record", i, err)
	}
	r.wait(run.ID, task.Succeeded, "")
	r.whole(run.ID)
}

// TestPrunePackages tidies packages that were unpacked and are no version's.
func TestPrunePackages(t *testing.T) {
	t.Parallel()
	var c clock
	r := newRig(t, c.set)
	v := r.task("kept", "stdout=1\n")
	i := r.upload(`["stdout=2"]`)
	if _, err := r.Import(t.Context(), "ada", durable.Import{Upload: i.Digest, FileName: "dry", DryRun: true}); err != nil {
		t.Fatal(err)
	}
	packages := func() string {
		entries, err := os.ReadDir(filepath.Join(r.cfg.Dir, "packages"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	if got := packages(); len(strings.Fields(got)) != 2 {
		t.Fatalf("packages: %s", got)
	}
	c.advance(25 * time.Hour)
	r.prune(durable.Retention{})
	if got := packages(); len(strings.Fields(got)) != 1 || !strings.HasPrefix(got, strings.TrimPrefix(v.Package, "sha256:")) {
		t.Errorf("packages: %s, want that of the version", got)
	}
	r.wait(r.submit(durable.Submission{Task: "kept"}).ID, task.Succeeded, "")
}

// TestRefusedPackage leaves nothing of an archive that cannot be unpacked, and keeps no version of it.
func TestRefusedPackage(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for _, content := range []string{"\x1f\x8bnothing of the kind", "PK\x03\x04cut off", strings.Repeat("\x00", 257) + "ustar" + strings.Repeat("x", 500)} {
		i := r.upload(content)
		if _, err := r.Import(t.Context(), "ada", durable.Import{Upload: i.Digest, FileName: "x.tar.gz"}); task.CodeOf(err) != task.CodePackage {
			t.Errorf("%.10q: %v", content, err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(r.cfg.Dir, "packages")); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if list, _, err := r.store.Versions(t.Context(), store.VersionFilter{All: true}); err != nil || len(list) != 0 {
		t.Errorf("versions: %v, %v", list, err)
	}
	for _, in := range []durable.Import{{}, {Image: "a", Git: "git+https://x/y"}, {Upload: "sha256:none"}, {Upload: "../../etc/passwd"}} {
		if _, err := r.Import(t.Context(), "ada", in); err == nil {
			t.Errorf("%+v was imported", in)
		}
	}
}

// oneImage is a server's image store with one name in it.
type oneImage struct {
	*packages
	digest atomic.Value
}

func (p *oneImage) ImageDigest(_ context.Context, name string) (string, error) {
	if name != "there" {
		return "", &task.Error{Code: task.ReasonImage, Message: "there is no image " + name}
	}
	return p.digest.Load().(string), nil
}

func (p *oneImage) Open(context.Context, string, string, string) (durable.Opened, error) {
	return durable.Opened{Task: &task.Task{Contract: "plain", Name: "from an image", Exchange: task.Files}}, nil
}

// TestImportImage holds that a version stays what was imported when its image's name is given to another one.
func TestImportImage(t *testing.T) {
	t.Parallel()
	p := &oneImage{packages: &packages{}}
	p.digest.Store("sha256:" + strings.Repeat("1", 64))
	r := newRig(t, func(cfg *durable.Config) { cfg.Packages = p })
	if _, err := r.Import(t.Context(), "ada", durable.Import{Image: "nowhere"}); task.CodeOf(err) != task.ReasonImage {
		t.Errorf("an image that is not there: %v", err)
	}
	got, err := r.Import(t.Context(), "ada", durable.Import{Image: "there"})
	if err != nil || got.Version.Form != "image" || got.Version.Name != "from-an-image" || got.Version.Version != "111111111111" || got.Version.Origin != "there" {
		t.Fatalf("%+v, %v", got.Version, err)
	}
	p.digest.Store("sha256:" + strings.Repeat("2", 64))
	run := r.wait(r.submit(durable.Submission{Task: "from-an-image"}).ID, task.Failed, task.ReasonImage)
	if !strings.Contains(string(run.Result), "another one") {
		t.Errorf("%s", run.Result)
	}
}

// meddler has something happen between the collector's question and its removal.
type meddler struct {
	blob.Store
	before func(digest string)
}

func (m *meddler) Remove(ctx context.Context, digest string, writtenBefore time.Time) (bool, error) {
	if m.before != nil {
		m.before(digest)
	}
	return m.Store.Remove(ctx, digest, writtenBefore)
}

// TestPruneMeetsUpload uploads what the collector has just found to be nobody's.
func TestPruneMeetsUpload(t *testing.T) {
	t.Parallel()
	var m *meddler
	r := newRig(t, func(cfg *durable.Config) {
		m = &meddler{Store: cfg.Blobs}
		cfg.Blobs = m
	})
	r.task("t", "write=/out/n=42\n")
	stray, err := r.blobs.Put(t.Context(), strings.NewReader("wanted again"), 0)
	if err != nil {
		t.Fatal(err)
	}
	r.age()
	var run store.Run
	m.before = func(digest string) {
		if digest == stray.Digest {
			run = r.submit(withFile(r.upload("wanted again")))
		}
	}
	if p := r.prune(durable.Retention{}); p.Blobs != 0 || run.ID == "" {
		t.Errorf("%+v, want what was uploaded meanwhile kept", p)
	}
	r.wait(run.ID, task.Succeeded, "")
	r.whole(run.ID)
}

// Package blobtest is the suite that every blob.Store passes.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"longshore/internal/blob"
)

// Suite is what it needs to know of a store.
type Suite struct {
	// Open answers a store over storage that is empty and goes with the test, and a function that opens the same storage
	// once more, as another process does.
	Open func(t *testing.T) (s blob.Store, again func() blob.Store)
	// Clock is how exact the times are that the storage notes.
	Clock time.Duration
}

// Run puts a store through the suite.
func Run(t *testing.T, suite Suite) {
	for name, test := range map[string]func(*testing.T, blob.Store, func() blob.Store){
		"PutOpen": putOpen, "Large": large, "Limit": limit, "BrokenInput": brokenInput, "Cancelled": cancelled, "Atomic": atomicPut,
		"SameContentAtOnce": sameContentAtOnce, "HostileDigests": hostileDigests, "Take": take, "TakeRefuses": takeRefuses, "Local": local,
		"TouchAndRemove": touchAndRemove, "RemoveWhileRead": removeWhileRead, "WalkWhileWritten": walkWhileWritten,
		"NeverLost": suite.neverLost, "SyncAtOnce": syncAtOnce, "Used": used,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, again := suite.Open(t)
			test(t, s, again)
		})
	}
}

// Digest is what content is called.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func put(t *testing.T, s blob.Store, content string) blob.Info {
	t.Helper()
	i, err := s.Put(t.Context(), strings.NewReader(content), 0)
	if err != nil {
		t.Fatalf("Put: %v", err)
	}
	return i
}

func read(ctx context.Context, s blob.Store, digest string) (string, error) {
	r, _, err := s.Open(ctx, digest)
	if err != nil {
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), err
}

func want(t *testing.T, s blob.Store, digest, content string) {
	t.Helper()
	if got, err := read(t.Context(), s, digest); err != nil || got != content {
		t.Errorf("%s: %d bytes, error %v; want %d bytes", digest, len(got), err, len(content))
	}
}

func wantMissing(t *testing.T, s blob.Store, digest string) {
	t.Helper()
	ctx := t.Context()
	_, _, openErr := s.Open(ctx, digest)
	_, statErr := s.Stat(ctx, digest)
	_, _, localErr := s.Local(ctx, digest)
	for name, err := range map[string]error{"Open": openErr, "Stat": statErr, "Local": localErr, "Touch": s.Touch(ctx, digest)} {
		if !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s(%q): %v, want ErrNotFound", name, digest, err)
		}
	}
}

func list(t *testing.T, s blob.Store) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	if err := s.Walk(t.Context(), func(i blob.Info) error { found[i.Digest] = i.Size; return nil }); err != nil {
		t.Fatalf("Walk: %v", err)
	}
	return found
}

func putOpen(t *testing.T, s blob.Store, again func() blob.Store) {
	before := time.Now().Add(-time.Minute)
	for _, content := range []string{"", "a", "hello\x00world", strings.Repeat("abc", 100_000)} {
		i := put(t, s, content)
		if i.Digest != Digest([]byte(content)) || i.Size != int64(len(content)) || i.WrittenAt.Before(before) {
			t.Errorf("Put of %d bytes: %+v", len(content), i)
		}
		want(t, s, i.Digest, content)
		want(t, again(), i.Digest, content)
		if st, err := s.Stat(t.Context(), i.Digest); err != nil || st.Size != i.Size || st.Digest != i.Digest || st.WrittenAt.Before(before) {
			t.Errorf("Stat: %+v, %v", st, err)
		}
	}
	i := put(t, s, "0123456789")
	r, info, err := s.Open(t.Context(), i.Digest)
	if err != nil || info.Size != 10 {
		t.Fatalf("Open: %+v, %v", info, err)
	}
	defer r.Close()
	for _, step := range []struct {
		offset int64
		whence int
		want   string
	}{{4, io.SeekStart, "456789"}, {-3, io.SeekEnd, "789"}, {0, io.SeekEnd, ""}, {2, io.SeekStart, "23456789"}, {-1, io.SeekCurrent, "9"}} {
		if _, err := r.Seek(step.offset, step.whence); err != nil {
			t.Fatalf("Seek(%d, %d): %v", step.offset, step.whence, err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != step.want {
			t.Errorf("after Seek(%d, %d): %q, %v; want %q", step.offset, step.whence, got, err, step.want)
		}
	}
	wantMissing(t, s, Digest([]byte("never written")))
}

// counter makes data that never repeats, of any length.
type counter struct{ n, limit int64 }

func (c *counter) Read(p []byte) (int, error) {
	if c.n >= c.limit {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), c.limit-c.n)]
	clear(p)
	if len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, uint64(c.n))
	}
	c.n += int64(len(p))
	return len(p), nil
}

func large(t *testing.T, s blob.Store, _ func() blob.Store) {
	const size = 70 << 20 // more than what is sent in one part
	h := sha256.New()
	i, err := s.Put(t.Context(), io.TeeReader(&counter{limit: size}, h), 0)
	if err != nil || i.Size != size || i.Digest != "sha256:"+hex.EncodeToString(h.Sum(nil)) {
		t.Fatalf("Put: %+v, %v", i, err)
	}
	r, _, err := s.Open(t.Context(), i.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h.Reset()
	if n, err := io.Copy(h, r); err != nil || n != size || i.Digest != "sha256:"+hex.EncodeToString(h.Sum(nil)) {
		t.Errorf("read back %d bytes, %v", n, err)
	}
}

func limit(t *testing.T, s blob.Store, _ func() blob.Store) {
	if _, err := s.Put(t.Context(), strings.NewReader("12345"), 4); !errors.Is(err, blob.ErrTooLarge) {
		t.Errorf("5 bytes of 4: %v, want ErrTooLarge", err)
	}
	if _, err := s.Put(t.Context(), strings.NewReader("1234"), 4); err != nil {
		t.Errorf("4 bytes of 4: %v", err)
	}
	endless := iotest.TimeoutReader(io.LimitReader(&counter{limit: 1 << 40}, 1<<40))
	if _, err := s.Put(t.Context(), endless, 1000); err == nil {
		t.Error("an endless input was taken")
	}
	if got := list(t, s); len(got) != 1 {
		t.Errorf("there are %v, want the one that fits", got)
	}
}

func brokenInput(t *testing.T, s blob.Store, _ func() blob.Store) {
	broken := errors.New("the line was cut")
	for _, n := range []int{0, 1, 1 << 20} {
		content := strings.Repeat("x", n)
		_, err := s.Put(t.Context(), io.MultiReader(strings.NewReader(content), iotest.ErrReader(broken)), 0)
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v, want the input's error", n, err)
		}
		wantMissing(t, s, Digest([]byte(content)))
	}
	if got := list(t, s); len(got) != 0 {
		t.Errorf("there are %v, want nothing", got)
	}
}

func cancelled(t *testing.T, s blob.Store, _ func() blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	go func() {
		w.Write([]byte("half"))
		cancel()
		w.Write([]byte("more"))
	}()
	if _, err := s.Put(ctx, r, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v, want Canceled", err)
	}
	r.Close()
	if got := list(t, s); len(got) != 0 {
		t.Errorf("there are %v, want nothing", got)
	}
}

// atomicPut looks from outside while a blob is written.
func atomicPut(t *testing.T, s blob.Store, again func() blob.Store) {
	content := strings.Repeat("0123456789abcdef", 1<<16)
	digest, other := Digest([]byte(content)), again()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := s.Put(t.Context(), r, 0)
		done <- err
	}()
	for part := range 16 {
		if _, err := io.WriteString(w, content[part<<16:(part+1)<<16]); err != nil {
			t.Fatal(err)
		}
		wantMissing(t, other, digest)
		if got := list(t, other); len(got) != 0 {
			t.Fatalf("half a blob is there: %v", got)
		}
	}
	w.Close()
	for {
		if got, err := read(t.Context(), other, digest); err == nil && got != content {
			t.Fatalf("%d bytes of %d could be read", len(got), len(content))
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			want(t, other, digest, content)
			return
		default:
		}
	}
}

func sameContentAtOnce(t *testing.T, s blob.Store, again func() blob.Store) {
	content := strings.Repeat("the same", 10_000)
	stores := []blob.Store{s, again()}
	var wait sync.WaitGroup
	for n := range 16 {
		wait.Go(func() {
			i, err := stores[n%2].Put(t.Context(), strings.NewReader(content), 0)
			if err != nil || i.Digest != Digest([]byte(content)) {
				t.Errorf("Put: %+v, %v", i, err)
			}
			want(t, stores[(n+1)%2], i.Digest, content)
		})
	}
	wait.Wait()
	if got := list(t, s); len(got) != 1 {
		t.Errorf("there are %v, want one", got)
	}
}

func hostileDigests(t *testing.T, s blob.Store, _ func() blob.Store) {
	i := put(t, s, "good")
	digits := strings.TrimPrefix(i.Digest, "sha256:")
	for _, d := range []string{
		"", "sha256:", digits, strings.ToUpper(i.Digest), "sha256:" + strings.ToUpper(digits), "SHA256:" + digits, "sha512:" + digits, "sha256:" + digits[1:],
		i.Digest + "0", i.Digest + "\n", i.Digest + "/", "sha256:../../etc/passwd", "sha256:" + strings.Repeat("../", 21) + "x", "sha256:" + strings.Repeat("g", 64),
		"sha256:" + digits[:62] + "/.", "sha256:" + digits[:63] + "\x00", "sha256:" + strings.Repeat("*", 64),
	} {
		wantMissing(t, s, d)
		if removed, err := s.Remove(t.Context(), d, time.Now().Add(time.Hour)); removed || err != nil {
			t.Errorf("Remove(%q): %v, %v", d, removed, err)
		}
	}
	want(t, s, i.Digest, "good")
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Take(t.Context(), file, "sha256:../../../x"); err == nil {
		t.Error("Take believed a digest that is none")
	}
}

func take(t *testing.T, s blob.Store, again func() blob.Store) {
	dir := t.TempDir()
	file := filepath.Join(dir, "out")
	if err := os.WriteFile(file, []byte("an output"), 0o644); err != nil {
		t.Fatal(err)
	}
	digest := Digest([]byte("an output"))
	for _, known := range []string{"", digest, ""} {
		if i, err := s.Take(t.Context(), file, known); err != nil || i.Digest != digest || i.Size != 9 {
			t.Errorf("Take, knowing %q: %+v, %v", known, i, err)
		}
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, again(), digest, "an output")
	if data, err := os.ReadFile(file); err != nil || string(data) != "an output" {
		t.Errorf("the file is %q, %v; want it as it was", data, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want(t, s, digest, "an output")

	sparse := filepath.Join(dir, "sparse")
	f, err := os.Create(sparse)
	if err == nil {
		err = errors.Join(f.Truncate(64<<20), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	i, err := s.Take(t.Context(), sparse, "")
	if err != nil || i.Size != 64<<20 {
		t.Fatalf("Take of a sparse file: %+v, %v", i, err)
	}
	if st, err := s.Stat(t.Context(), i.Digest); err != nil || st.Size != i.Size {
		t.Errorf("Stat: %+v, %v", st, err)
	}
}

func takeRefuses(t *testing.T, s blob.Store, _ func() blob.Store) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(secret, link); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"a link": link, "a folder": dir, "nothing": filepath.Join(dir, "none"), "a device": "/dev/null"} {
		if _, err := s.Take(t.Context(), path, ""); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if got := list(t, s); len(got) != 0 {
		t.Errorf("there are %v, want nothing", got)
	}
}

func local(t *testing.T, s blob.Store, again func() blob.Store) {
	i := put(t, s, "local")
	for _, s := range []blob.Store{s, again()} {
		path, release, err := s.Local(t.Context(), i.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != "local" {
			t.Errorf("%s: %q, %v", path, data, err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o222 != 0 || st.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s: %v, %v; want it readable by all, writable by nobody", path, st.Mode(), err)
		}
		release()
	}
}

func touchAndRemove(t *testing.T, s blob.Store, again func() blob.Store) {
	i := put(t, s, "young")
	ctx, past, future := t.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if removed, err := s.Remove(ctx, i.Digest, past); removed || err != nil {
		t.Errorf("a young blob: %v, %v; want it kept", removed, err)
	}
	if err := s.Touch(ctx, i.Digest); err != nil {
		t.Errorf("Touch: %v", err)
	}
	want(t, s, i.Digest, "young")
	if removed, err := again().Remove(ctx, i.Digest, future); !removed || err != nil {
		t.Errorf("an old blob: %v, %v; want it removed", removed, err)
	}
	wantMissing(t, s, i.Digest)
	if removed, err := s.Remove(ctx, i.Digest, future); removed || err != nil {
		t.Errorf("a blob that is gone: %v, %v", removed, err)
	}
	if j := put(t, s, "young"); j.Digest != i.Digest {
		t.Errorf("put again: %+v", j)
	}
	want(t, s, i.Digest, "young")
}

func removeWhileRead(t *testing.T, s blob.Store, _ func() blob.Store) {
	content := strings.Repeat("0123456789abcdef", 1<<12)
	i := put(t, s, content)
	path, release, err := s.Local(t.Context(), i.Digest)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if removed, err := s.Remove(t.Context(), i.Digest, time.Now().Add(time.Hour)); !removed || err != nil {
		t.Fatalf("Remove: %v, %v", removed, err)
	}
	if got, err := io.ReadAll(f); err != nil || string(got) != content {
		t.Errorf("%d bytes, %v; want what was opened before to stay readable", len(got), err)
	}
	release()
}

func walkWhileWritten(t *testing.T, s blob.Store, again func() blob.Store) {
	kept := map[string]bool{}
	for n := range 20 {
		kept[put(t, s, fmt.Sprint("kept ", n)).Digest] = true
	}
	var stop atomic.Bool
	var wait sync.WaitGroup
	other := again()
	wait.Go(func() {
		for n := 0; !stop.Load(); n++ {
			i, err := other.Put(t.Context(), strings.NewReader(fmt.Sprint("passing ", n)), 0)
			if err == nil {
				_, err = other.Remove(t.Context(), i.Digest, time.Now().Add(time.Hour))
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 5 {
		found := list(t, s)
		for digest := range kept {
			if _, ok := found[digest]; !ok {
				t.Errorf("Walk left out %s", digest)
			}
		}
	}
	stop.Store(true)
	wait.Wait()
	enough := errors.New("enough")
	n := 0
	if err := s.Walk(t.Context(), func(blob.Info) error { n++; return enough }); !errors.Is(err, enough) || n != 1 {
		t.Errorf("Walk went on after an error: %d calls, %v", n, err)
	}
}

// neverLost has one put and touch what another collects: who was told that a blob is there finds it there.
func (suite Suite) neverLost(t *testing.T, s blob.Store, again func() blob.Store) {
	content := "wanted by one, garbage to the other"
	digest := Digest([]byte(content))
	put(t, s, "a neighbour that stays")
	collector := again()
	age := 2 * suite.Clock
	var stop atomic.Bool
	var removed atomic.Int64
	var wait sync.WaitGroup
	wait.Go(func() {
		for !stop.Load() {
			gone, err := collector.Remove(t.Context(), digest, time.Now().Add(-age))
			if err != nil {
				t.Error(err)
				return
			}
			if gone {
				removed.Add(1)
			}
		}
	})
	defer wait.Wait()
	defer stop.Store(true)
	for round := 0; removed.Load() < 5; round++ {
		at := time.Now()
		if round%2 == 0 {
			put(t, s, content)
		} else if err := s.Touch(t.Context(), digest); errors.Is(err, blob.ErrNotFound) {
			continue // it was collected, and we were told
		} else if err != nil {
			t.Fatal(err)
		}
		for time.Since(at) < suite.Clock {
			got, err := read(t.Context(), s, digest)
			if time.Since(at) < suite.Clock && (err != nil || got != content) {
				t.Fatalf("%q, %v: lost %s after it was put", got, err, time.Since(at))
			}
		}
		for time.Since(at) < age+suite.Clock && removed.Load() < 5 {
			if _, err := s.Stat(t.Context(), digest); errors.Is(err, blob.ErrNotFound) {
				break
			}
		}
	}
}

func syncAtOnce(t *testing.T, s blob.Store, _ func() blob.Store) {
	dir := t.TempDir()
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			for m := range 20 {
				content := fmt.Appendf(nil, "%d of %d", m, n)
				file := filepath.Join(dir, Digest(content)[7:])
				if err := os.WriteFile(file, content, 0o600); err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Take(t.Context(), file, ""); err != nil {
					t.Error(err)
					return
				}
			}
			if err := s.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := list(t, s); len(got) != 160 {
		t.Errorf("%d blobs, want 160", len(got))
	}
}

func used(t *testing.T, s blob.Store, _ func() blob.Store) {
	before, free, err := s.Used(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if before < 0 {
		return // this storage does not know
	}
	if before != 0 || free <= 0 {
		t.Errorf("empty: %d used, %d free", before, free)
	}
	i := put(t, s, strings.Repeat("x", 1000))
	put(t, s, strings.Repeat("x", 1000))
	put(t, s, "1234567")
	if _, err := s.Put(t.Context(), bytes.NewReader(make([]byte, 100)), 10); err == nil {
		t.Error("too much was taken")
	}
	if got, _, err := s.Used(t.Context()); err != nil || got != 1007 {
		t.Errorf("%d used, %v; want 1007", got, err)
	}
	if _, err := s.Remove(t.Context(), i.Digest, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Used(t.Context()); err != nil || got != 7 {
		t.Errorf("%d used, %v; want 7", got, err)
	}
	list(t, s)
	if got, _, err := s.Used(t.Context()); err != nil || got != 7 {
		t.Errorf("%d used after a walk, %v; want 7", got, err)
	}
}

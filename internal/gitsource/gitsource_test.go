package gitsource_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/gitsource"
	"longshore/internal/task"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in   string
		want gitsource.Ref
	}{
		{"git+https://h/r", gitsource.Ref{URL: "https://h/r"}},
		{"git+https://h/r.git#main", gitsource.Ref{URL: "https://h/r.git", Branch: "main"}},
		{"git+https://h/r#feature/x:svc/a", gitsource.Ref{URL: "https://h/r", Branch: "feature/x", Directory: "svc/a"}},
		{"git+https://h/r#:svc/", gitsource.Ref{URL: "https://h/r", Directory: "svc"}},
		{"git+https://h/r#main:.", gitsource.Ref{URL: "https://h/r", Branch: "main"}},
		{"git+http://h:8080/r?x=1", gitsource.Ref{URL: "http://h:8080/r?x=1"}},
		{"git+ssh://git@h/r", gitsource.Ref{URL: "ssh://git@h/r"}},
		{"git+git@h:org/r.git", gitsource.Ref{URL: "git@h:org/r.git"}},
		{"git+file:///srv/r.git", gitsource.Ref{URL: "file:///srv/r.git"}},
		{"git+/srv/r.git#dev", gitsource.Ref{URL: "/srv/r.git", Branch: "dev"}},
		{"git+../r", gitsource.Ref{URL: "../r"}},
	} {
		got, err := gitsource.Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.in, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, words := range map[string]string{
		"https://h/r":                  "begins with git+",
		"git+":                         "names no repository",
		"git+--upload-pack=x":          "begin with a dash",
		"git+https://h/r#-b":           "begin with a dash",
		"git+https://h/r#a b":          "not a valid branch",
		"git+https://h/r#main:-x":      "begin with a dash",
		"git+https://h/r#main:/etc":    "leaves the repository",
		"git+https://h/r#main:a/../..": "leaves the repository",
		"git+https://h/r#main:a\nb":    "control characters",
		"git+https://h/\x1b[2J":        "control characters",
		"git+ext::sh -c id":            "not supported",
		"git+ftp://h/r":                `"ftp" is not supported`,
		"git+ssh://-oProxyCommand=x/r": "names no host",
		"git+ssh://u:secret@h/r":       "not a password",
		"git+ssh://-x@h/r":             "begin with a dash",
		"git+x@-oProxy:r":              "begin with a dash",
		"git+https:///r":               "names no host",
		"git+file://other/r":           "no host",
		"git+https://u%0a:x@h/r":       "control characters",
	} {
		_, err := gitsource.Parse(in)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: got %v, want %q", in, err, words)
			continue
		}
		if task.CodeOf(err) != task.CodeUsage {
			t.Errorf("%q: code %s", in, task.CodeOf(err))
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", in, err)
		}
	}
}

func TestRefStringHidesCredentials(t *testing.T) {
	for in, want := range map[string]string{
		"git+https://u:p@ss@h/r#main:svc": "git+https://h/r#main:svc",
		"git+https://token@h/r?key=abc":   "git+https://h/r?…",
		"git+ssh://git@h/r#:d":            "git+ssh://git@h/r#:d",
		"git+/srv/r":                      "git+/srv/r",
	} {
		r, err := gitsource.Parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if r.String() != want {
			t.Errorf("%s: got %s, want %s", in, r, want)
		}
	}
}

// gitIn runs git in a folder with an identity and settings that do not depend on this machine.
func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository makes a working copy with two commits on main, a branch dev and a tag v1, and a bare clone of it, whose path
// it returns.
func repository(t *testing.T, more ...func(work string)) string {
	t.Helper()
	base := t.TempDir()
	work := filepath.Join(base, "work")
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commit := func() {
		t.Helper()
		gitIn(t, work, "add", "--all")
		gitIn(t, work, "commit", "--quiet", "--allow-empty", "-m", "x")
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		t.Fatal(err)
	}
	gitIn(t, work, "init", "--quiet", "--initial-branch=main")
	write("job.yaml", "name: one\n")
	commit()
	gitIn(t, work, "tag", "v1")
	write("job.yaml", "name: two\n")
	write("svc/main.py", "print()\n")
	for _, f := range more {
		f(work)
	}
	commit()
	gitIn(t, work, "checkout", "--quiet", "-b", "dev")
	write("job.yaml", "name: dev\n")
	commit()
	gitIn(t, work, "checkout", "--quiet", "main")
	gitIn(t, base, "clone", "--quiet", "--bare", "work", "bare.git")
	return filepath.Join(base, "bare.git")
}

// isolate keeps the user's own git settings out of the tests, and returns a place for clones.
func isolate(t *testing.T) string {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	return t.TempDir()
}

func clone(t *testing.T, tmp, given string) (gitsource.Checkout, error) {
	t.Helper()
	ref, err := gitsource.Parse(given)
	if err != nil {
		t.Fatal(err)
	}
	out, cleanup, err := gitsource.Clone(context.Background(), gitsource.Options{Ref: ref, TempDir: tmp})
	t.Cleanup(cleanup)
	return out, err
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestClone(t *testing.T) {
	tmp, bare := isolate(t), repository(t)
	for _, c := range []struct {
		given, branch, dir, manifest string
	}{
		{"git+" + bare, "main", "", "name: two\n"},
		{"git+file://" + bare, "main", "", "name: two\n"},
		{"git+" + filepath.Join(filepath.Dir(bare), "work"), "main", "", "name: two\n"},
		{"git+" + bare + "#dev", "dev", "", "name: dev\n"},
		{"git+" + bare + "#v1", "v1", "", "name: one\n"},
		{"git+" + bare + "#:svc", "main", "svc", "name: two\n"},
	} {
		t.Run(c.given, func(t *testing.T) {
			got, err := clone(t, tmp, c.given)
			if err != nil {
				t.Fatal(err)
			}
			if m := read(t, got.RepoDir, "job.yaml"); m != c.manifest {
				t.Errorf("manifest %q, want %q", m, c.manifest)
			}
			if got.Branch != c.branch || got.Dir != filepath.Join(got.RepoDir, c.dir) {
				t.Errorf("branch %q, folder %q", got.Branch, got.Dir)
			}
			if len(got.Commit) != 40 {
				t.Errorf("commit %q", got.Commit)
			}
			if _, err := os.Lstat(filepath.Join(got.RepoDir, ".git")); !os.IsNotExist(err) {
				t.Errorf("the .git folder is still there: %v", err)
			}
		})
	}
}

func TestCleanupRemovesEverything(t *testing.T) {
	tmp, bare := isolate(t), repository(t)
	_, cleanup, err := gitsource.Clone(context.Background(), gitsource.Options{Ref: gitsource.Ref{URL: bare}, TempDir: tmp})
	if err != nil {
		t.Fatal(err)
	}
	cleanup()
	cleanup()
	if left := entries(t, tmp); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestCloneFails(t *testing.T) {
	tmp := isolate(t)
	bare := repository(t, func(work string) {
		for link, target := range map[string]string{"out": "/etc", "up": "..", "loop": "loop"} {
			if err := os.Symlink(target, filepath.Join(work, link)); err != nil {
				t.Fatal(err)
			}
		}
	})
	empty := filepath.Join(t.TempDir(), "empty.git")
	gitIn(t, "/", "init", "--quiet", "--bare", empty)
	for given, want := range map[string]struct {
		code  task.Code
		words string
	}{
		"git+" + bare + "#nowhere":   {task.CodeMissing, `no branch or tag "nowhere"`},
		"git+" + bare + "#a..b":      {task.CodeUsage, "not a valid branch name"},
		"git+" + bare + "#@{-1}":     {task.CodeUsage, "not a valid branch name"},
		"git+" + bare + "#:none":     {task.CodeMissing, "no folder none"},
		"git+" + bare + "#:job.yaml": {task.CodePackage, "is a file"},
		"git+" + bare + "#:out":      {task.CodePackage, "cannot be used: "},
		"git+" + bare + "#:up":       {task.CodePackage, "cannot be used: "},
		"git+" + bare + "#:loop":     {task.CodePackage, "cannot be used: "},
		"git+" + bare + "#:.git":     {task.CodeMissing, "no folder .git"},
		"git+" + bare + "-not":       {task.CodeMissing, "no such folder"},
		"git+" + filepath.Dir(bare):  {task.CodeMissing, "not a git repository"},
		"git+" + empty:               {task.CodePackage, "no commit"},
	} {
		_, err := clone(t, tmp, given)
		if err == nil || !strings.Contains(err.Error(), want.words) || task.CodeOf(err) != want.code {
			t.Errorf("%s: got %v (%s), want %q (%s)", given, err, task.CodeOf(err), want.words, want.code)
		}
	}
	if left := entries(t, tmp); len(left) != 0 {
		t.Errorf("left after failures: %v", left)
	}
}

// TestCommitID fetches commits by their whole ids, also one that no branch begins with.
func TestCommitID(t *testing.T) {
	tmp := isolate(t)
	bare := repository(t)
	for _, rev := range []string{"v1", "dev"} {
		id := gitIn(t, bare, "rev-parse", rev)
		got, err := clone(t, tmp, "git+"+bare+"#"+id)
		if err != nil {
			t.Errorf("%s: %v", rev, err)
			continue
		}
		if got.Commit != id || got.Branch != "" || !strings.HasPrefix(id, got.Version) {
			t.Errorf("%s: got %+v", rev, got)
		}
	}
	for id, want := range map[string][2]string{
		"0123456789abcdef0123456789abcdef01234567": {"has no commit 0123456789", "push the commit"},
		"0123456": {"has no branch or tag", "by its whole id"},
	} {
		_, err := clone(t, tmp, "git+"+bare+"#"+id)
		e, ok := errors.AsType[*task.Error](err)
		if !ok || e.Code != task.CodeMissing || !strings.Contains(e.Message, want[0]) || !strings.Contains(e.Hint, want[1]) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestVersion holds that a checkout tells its version as git describes it.
func TestVersion(t *testing.T) {
	tmp, bare := isolate(t), repository(t)
	for branch, want := range map[string]string{"v1": "v1-0-g" + gitIn(t, bare, "rev-parse", "--short", "v1"), "dev": gitIn(t, bare, "rev-parse", "--short", "dev")} {
		got, err := clone(t, tmp, "git+"+bare+"#"+branch)
		if err != nil || got.Version != want {
			t.Errorf("%s: got %q, want %q (%v)", branch, got.Version, want, err)
		}
	}
}

// TestPointers holds that files of Git LFS are told of.
func TestPointers(t *testing.T) {
	tmp := isolate(t)
	bare := repository(t, func(work string) {
		pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 1000000\n"
		if err := os.WriteFile(filepath.Join(work, "svc", "model.bin"), []byte(pointer), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	got, err := clone(t, tmp, "git+"+bare)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"svc/model.bin"}, got.Pointers); diff != "" {
		t.Errorf("pointers (-want +got)\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	tmp := isolate(t)
	bare := repository(t, func(work string) {
		// Zeros: next to nothing to fetch, much to check out.
		if err := os.WriteFile(filepath.Join(work, "zeros"), make([]byte, 4<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	for name, c := range map[string]struct {
		opts  gitsource.Options
		words string
	}{
		"unfolds":  {gitsource.Options{MaxBytes: 1 << 20}, "larger than 1 MiB"},
		"fetched":  {gitsource.Options{MaxBytes: 100}, "larger than 100 B"},
		"files":    {gitsource.Options{MaxFiles: 2}, "more than 2 files"},
		"time":     {gitsource.Options{Timeout: time.Nanosecond}, "longer than 1ns"},
		"no files": {gitsource.Options{Schemes: []string{"https"}}, "not allowed here"},
	} {
		c.opts.Ref, c.opts.TempDir = gitsource.Ref{URL: bare}, tmp
		_, cleanup, err := gitsource.Clone(context.Background(), c.opts)
		cleanup()
		if err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v, want %q", name, err, c.words)
		}
	}
	if left := entries(t, tmp); len(left) != 0 {
		t.Errorf("left after failures: %v", left)
	}
}

func TestCancel(t *testing.T) {
	tmp, bare := isolate(t), repository(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := gitsource.Clone(ctx, gitsource.Options{Ref: gitsource.Ref{URL: bare}, TempDir: tmp})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestNothingRuns clones a repository with a submodule, a filter and, on the user's side, hooks: none of them may act.
func TestNothingRuns(t *testing.T) {
	tmp := isolate(t)
	inner := repository(t)
	mark := filepath.Join(t.TempDir(), "ran")
	hooks := filepath.Join(t.TempDir(), "template", "hooks")
	if err := os.MkdirAll(hooks, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(hooks, "post-checkout"), []byte("#!/bin/sh\ntouch "+mark+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	bare := repository(t, func(work string) {
		gitIn(t, work, "-c", "protocol.file.allow=always", "submodule", "add", "--quiet", inner, "lib")
		if err := os.WriteFile(filepath.Join(work, ".gitattributes"), []byte("*.bin filter=lfs\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, "model.bin"), []byte("pointer\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	config := filepath.Join(t.TempDir(), "gitconfig")
	text := "[init]\n\ttemplateDir = " + filepath.Dir(hooks) + "\n[core]\n\thooksPath = " + hooks +
		"\n[submodule]\n\trecurse = true\n[filter \"lfs\"]\n\tsmudge = touch " + mark + "\n\trequired = true\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	t.Setenv("GIT_DIR", "/nowhere")
	got, err := clone(t, tmp, "git+"+bare)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(mark); err == nil {
		t.Error("a hook or filter ran")
	}
	if m := read(t, got.RepoDir, "model.bin"); m != "pointer\n" {
		t.Errorf("model.bin is %q", m)
	}
	if diff := cmp.Diff([]string{"lib"}, got.Submodules); diff != "" {
		t.Errorf("submodules (-want +got)\n%s", diff)
	}
	if left := entries(t, filepath.Join(got.RepoDir, "lib")); len(left) != 0 {
		t.Errorf("the submodule was fetched: %v", left)
	}
}

// TestCredentials fetches over HTTP from a server that asks for a password.
func TestCredentials(t *testing.T) {
	tmp, bare := isolate(t), repository(t)
	core := gitIn(t, "/", "--exec-path")
	backend := filepath.Join(core, "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skip("git-http-backend is not installed")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "builder" || password != "s3cr3t/p@ss" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(bare), "GIT_HTTP_EXPORT_ALL=1"}}).ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")

	got, err := clone(t, tmp, "git+http://builder:s3cr3t%2Fp%40ss@"+host+"/bare.git#dev")
	if err != nil {
		t.Fatal(err)
	}
	if m := read(t, got.RepoDir, "job.yaml"); m != "name: dev\n" {
		t.Errorf("manifest %q", m)
	}
	for given, words := range map[string]string{
		"git+http://" + host + "/bare.git":                    "asks for credentials",
		"git+http://builder:wr0ng-p4ss@" + host + "/bare.git": "refuses the credentials",
		"git+http://wr0ng-p4ss@" + host + "/bare.git":         "refuses the credentials",
	} {
		_, err := clone(t, tmp, given)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: got %v, want %q", given, err, words)
			continue
		}
		e, _ := errors.AsType[*task.Error](err)
		if all := err.Error() + e.Hint; strings.Contains(all, "wr0ng") {
			t.Errorf("the error shows credentials: %s", all)
		}
	}
	for list, words := range map[string]string{
		"http://builder:s3cr3t%2Fp%40ss@" + host:                                       "",
		"https://x:y@other http://builder:s3cr3t%2Fp%40ss@" + host + "/bare.git":       "",
		"http://a:b@" + host + " http://builder:s3cr3t%2Fp%40ss@" + host + "/bare.git": "",
		"https://builder:s3cr3t%2Fp%40ss@" + host:                                      "asks for credentials",
		"http://builder:s3cr3t%2Fp%40ss@" + host + "/other":                            "asks for credentials",
		"http://builder:s3cr3t%2Fp%40ss@" + host + "/bare":                             "asks for credentials",
		"http://wr0ng-p4ss@" + host:                                                    "refuses the credentials",
		"wr0ng-p4ss":                                                                   "no address with credentials",
	} {
		t.Setenv(gitsource.CredentialsVariable, list)
		_, err := clone(t, tmp, "git+http://"+host+"/bare.git")
		if (err == nil) != (words == "") || err != nil && (!strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "wr0ng")) {
			t.Errorf("%s: got %v, want %q", list, err, words)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"git+https://h/r#main:svc", "git+git@h:r", "git+https://u:p@h/r?x#b", "git+file:///x", "git+ext::x", "git+#:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := gitsource.Parse(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(r.Branch, "-") || strings.HasPrefix(r.Directory, "-") || strings.HasPrefix(r.Directory, "/") || strings.HasPrefix(r.Directory, "..") && !strings.HasPrefix(r.Directory, "...") && (r.Directory == ".." || strings.HasPrefix(r.Directory, "../")) {
			t.Errorf("%q: %+v", s, r)
		}
		_ = r.String()
	})
}

package script_test

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"longshore/internal/ipfs/ipfstest"
)

// commands are what stories use beyond testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":     exits,
	"field":     field,
	"mkzip":     mkzip,
	"cleared":   cleared,
	"interrupt": interrupt,
	"mkimage":   mkimage,
	"peak":      peak,
	"zipfiles":  zipfiles,
	"kubo":      kubo,
	"registry":  startRegistry,
	"server":    server,
	"fill":      fill,
	"until":     until,
}

// exits CODE COMMAND…: runs a command and checks its exit code; stdout and stderr are kept for the next lines.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if err != nil {
		ee, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		code = ee.ExitCode()
	}
	if want := args[0]; fmt.Sprint(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}

// field FILE PATH WANT: checks a member of a JSON document, by its path with dots; list items by number.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: field FILE PATH WANT")
	}
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &doc))
	for _, key := range strings.Split(args[1], ".") {
		switch d := doc.(type) {
		case map[string]any:
			doc = d[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(d) {
				ts.Fatalf("%s: no item %s", args[1], key)
			}
			doc = d[i]
		default:
			doc = nil
		}
	}
	got, err := json.Marshal(doc)
	ts.Check(err)
	text := strings.Trim(string(got), `"`)
	if (text == args[2]) == neg {
		ts.Fatalf("%s is %s, want %s (negated: %v)", args[1], got, args[2], neg)
	}
}

// mkzip FILE NAME=CONTENT…: writes a zip archive whose entry names are taken as they are; NAME@=TARGET is a symbolic link,
// NAME*=MB a file of that many megabytes of zeros.
func mkzip(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	z := zip.NewWriter(f)
	for _, a := range args[1:] {
		name, content, _ := strings.Cut(a, "=")
		h := &zip.FileHeader{Name: strings.TrimRight(name, "@*"), Method: zip.Deflate}
		h.SetMode(0o644)
		repeat := 1
		switch {
		case strings.HasSuffix(name, "@"):
			h.SetMode(os.ModeSymlink | 0o777)
		case strings.HasSuffix(name, "*"):
			_, err := fmt.Sscan(content, &repeat)
			ts.Check(err)
			content = strings.Repeat("\x00", 1<<20)
		}
		w, err := z.CreateHeader(h)
		ts.Check(err)
		for range repeat {
			_, err = w.Write([]byte(content))
			ts.Check(err)
		}
	}
	ts.Check(z.Close())
	ts.Check(f.Close())
}

// cleared [DIR]: no run of this machine that has ended left anything behind, and DIR holds no half-made output folder.
func cleared(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Exec("longshore", "doctor", "--json"))
	var report struct{ Leftovers []any }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &report))
	if len(report.Leftovers) > 0 {
		ts.Fatalf("left over: %v", report.Leftovers)
	}
	half, err := filepath.Glob(ts.MkAbs(".*.longshore-*"))
	ts.Check(err)
	if len(half) > 0 {
		ts.Fatalf("half-made output folders: %v", half)
	}
}

// interrupt TEXT COMMAND…: starts a command, waits until it has printed TEXT, sends SIGINT, and expects exit code 130.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	c := exec.Command(path, args[2:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = append(os.Environ(), "LONGSHORE_HOME="+ts.Getenv("LONGSHORE_HOME"), "HOME="+ts.Getenv("HOME"), "XDG_CONFIG_HOME=") // servers are known in HOME
	output, err := c.StderrPipe()
	ts.Check(err)
	ts.Check(c.Start())
	lines := bufio.NewScanner(output)
	for lines.Scan() && !strings.Contains(lines.Text(), args[0]) {
		ts.Logf("%s", lines.Text())
	}
	ts.Check(c.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
		ts.Logf("%s", lines.Text())
	}
	err = c.Wait()
	if ee, ok := err.(*exec.ExitError); !ok || ee.ExitCode() != exitInterrupted {
		ts.Fatalf("ended with %v, want exit code %d", err, exitInterrupted)
	}
}

// exitInterrupted is the documented exit code after an interrupt.
const exitInterrupted = 130

// mkimage FILE NAME ARCH ENTRY…: writes a docker save archive of one layer, with the machine's busybox as /bin/sh. An ENTRY is
// NAME=CONTENT, NAME@=TARGET for a symbolic link, NAME!=MAJOR,MINOR for a character device. ARCH may be "-" for this machine's.
func mkimage(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: mkimage FILE NAME ARCH ENTRY…")
	}
	arch := args[2]
	if arch == "-" {
		arch = runtime.GOARCH
	}
	busybox, err := os.ReadFile("/bin/busybox")
	ts.Check(err)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	add := func(w *tar.Writer, h *tar.Header, data []byte) {
		h.Size = int64(len(data))
		ts.Check(w.WriteHeader(h))
		_, err := w.Write(data)
		ts.Check(err)
	}
	add(w, &tar.Header{Name: "bin/sh", Mode: 0o755}, busybox)
	for _, a := range args[3:] {
		name, content, _ := strings.Cut(a, "=")
		h := &tar.Header{Name: strings.TrimRight(name, "@!"), Mode: 0o644}
		switch {
		case strings.HasSuffix(name, "@"):
			h.Typeflag, h.Linkname, content = tar.TypeSymlink, content, ""
		case strings.HasSuffix(name, "!"):
			_, err := fmt.Sscanf(content, "%d,%d", &h.Devmajor, &h.Devminor)
			ts.Check(err)
			h.Typeflag, content = tar.TypeChar, ""
		}
		add(w, h, []byte(content))
	}
	ts.Check(w.Close())
	config := fmt.Sprintf(`{"architecture":%q,"os":"linux","config":{"Entrypoint":["/bin/sh","/inputs/script"]},"rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`, arch, sha256.Sum256(layer.Bytes()))
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	out := tar.NewWriter(f)
	add(out, &tar.Header{Name: "layer.tar", Mode: 0o644}, layer.Bytes())
	add(out, &tar.Header{Name: "config.json", Mode: 0o644}, []byte(config))
	add(out, &tar.Header{Name: "manifest.json", Mode: 0o644}, fmt.Appendf(nil, `[{"Config":"config.json","RepoTags":[%q],"Layers":["layer.tar"]}]`, args[1]))
	ts.Check(out.Close())
	ts.Check(f.Close())
}

// zipfiles FILE PATH…: writes a zip archive of files, under their base names.
func zipfiles(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	z := zip.NewWriter(f)
	for _, a := range args[1:] {
		w, err := z.Create(filepath.Base(a))
		ts.Check(err)
		data, err := os.ReadFile(ts.MkAbs(a))
		ts.Check(err)
		_, err = w.Write(data)
		ts.Check(err)
	}
	ts.Check(z.Close())
	ts.Check(f.Close())
}

// kubo: starts an IPFS node that lasts as long as the story; $KUBO is the address of its RPC.
func kubo(ts *testscript.TestScript, _ bool, _ []string) {
	node := ipfstest.NewKubo()
	ts.Defer(node.Close)
	ts.Setenv("KUBO", node.URL)
}

// registry: starts an image registry that lasts as long as the story; $REGISTRY is its host and port.
func startRegistry(ts *testscript.TestScript, _ bool, _ []string) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(server.Close)
	ts.Setenv("REGISTRY", strings.TrimPrefix(server.URL, "http://"))
}

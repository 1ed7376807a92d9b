package operate_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What `make package` makes can be installed, used, installed again, removed and purged on a bare Debian, and loaded as an image.
func TestPackages(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can install packages in a chroot")
	}
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	program := os.Getenv("LONGSHORE")
	if program == "" {
		program = filepath.Join(repo, "bin", "longshore")
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("the program is needed: %v (make build)", err)
	}
	out, root := t.TempDir(), filepath.Join(t.TempDir(), "root")
	command := func(name string, args ...string) string {
		t.Helper()
		c := exec.Command(name, args...)
		c.Env = append(os.Environ(), "LONGSHORE="+program, "OUT="+out, "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
		told, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, told)
		}
		return string(told)
	}
	inside := func(args ...string) string { t.Helper(); return command("chroot", append([]string{root}, args...)...) }
	command(filepath.Join(repo, "scripts/package.sh"), "v1.2.3-4-gabcdef")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, layer := range debianLayers(t, program, command) {
		command("tar", "-C", root, "--exclude=./dev/*", "-xf", layer)
	}
	command("cp", filepath.Join(out, "longshore_1.2.3+4+gabcdef_"+strings.TrimSpace(command("dpkg", "--print-architecture"))+".deb"), filepath.Join(root, "longshore.deb"))
	is := func(path, mode string) {
		t.Helper()
		st, err := os.Stat(filepath.Join(root, path))
		if mode == "" && os.IsNotExist(err) {
			return
		}
		if err != nil || st.Mode().Perm().String() != mode {
			t.Errorf("%s: %v %v, want %q", path, st, err, mode)
		}
	}

	inside("dpkg", "-i", "/longshore.deb")
	if told := inside("dpkg", "-V", "longshore"); told != "" {
		t.Errorf("dpkg -V: %s", told)
	}
	is("/etc/longshore/server.yaml", "-rw-r-----")
	is("/var/lib/longshore", "-rwx--x--x")
	is("/lib/systemd/system/longshore.service", "-rw-r--r--")
	is("/usr/share/doc/longshore/operating.md", "-rw-r--r--")
	if told := inside("/usr/bin/longshore", "serve", "--config", "/etc/longshore/server.yaml", "--print-config"); !strings.Contains(told, "127.0.0.1:8470") {
		t.Error(told)
	}
	// A setting of the operator's outlives the next version.
	config := filepath.Join(root, "/etc/longshore/server.yaml")
	if err := os.WriteFile(config, []byte("slots: 3\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	inside("dpkg", "--force-confold", "-i", "/longshore.deb")
	if told := inside("/usr/bin/longshore", "serve", "--config", "/etc/longshore/server.yaml", "--print-config"); !strings.Contains(told, "slots: 3") {
		t.Error(told)
	}
	if err := os.WriteFile(filepath.Join(root, "/var/lib/longshore/something"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	inside("dpkg", "-r", "longshore")
	is("/usr/bin/longshore", "")
	is("/etc/longshore/server.yaml", "-rw-r-----")
	is("/var/lib/longshore/something", "-rw-------")
	inside("dpkg", "-P", "longshore")
	is("/etc/longshore", "")
	is("/var/lib/longshore", "")

	home := t.TempDir()
	command(program, "--home", home, "image", "load", filepath.Join(out, "longshore-image.tar"))
	if told := command(program, "--home", home, "image", "list"); !strings.Contains(told, "longshore:latest") {
		t.Error(told)
	}
}

// debianLayers is the image that `make base-images` sees to, as the paths of its unpacked layers' archives, lowest first.
func debianLayers(t *testing.T, program string, command func(name string, args ...string) string) []string {
	t.Helper()
	dir := t.TempDir()
	archive := filepath.Join(dir, "debian.tar")
	command(program, "image", "save", "debian:bookworm-slim", "-o", archive)
	command("tar", "-C", dir, "-xf", archive)
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var images []struct{ Layers []string }
	if err := json.Unmarshal(manifest, &images); err != nil || len(images) != 1 {
		t.Fatalf("%d images in %s: %v", len(images), manifest, err)
	}
	for i, layer := range images[0].Layers {
		images[0].Layers[i] = filepath.Join(dir, layer)
	}
	return images[0].Layers
}

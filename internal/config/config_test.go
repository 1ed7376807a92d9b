package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"longshore/internal/config"
	"longshore/internal/task"
)

// load puts a file, an environment and flags together.
func load(t *testing.T, file string, environ []string, args ...string) (*config.Loaded, error) {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f := config.Register(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	if file != "" {
		f.File = filepath.Join(t.TempDir(), "server.yaml")
		if err := os.WriteFile(f.File, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f.Load(environ)
}

func TestPrecedence(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "db")
	if err := os.WriteFile(secret, []byte("postgres://u:p@h/n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := load(t, `
slots: 3
listen:
  - 0.0.0.0:80
  - unix:/run/longshore.sock
retention:
  files: 12h
  disk: 100Gi
limits.rate: 7
db-file: `+secret+`
network:
`, []string{"LONGSHORE_SERVE_SLOTS=4", "LONGSHORE_SERVE_RETENTION_FILES=3d", "LONGSHORE_HOME=/x", "HOME=/root"}, "--slots", "5")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Slots, want.Listen, want.Database = 5, []string{"0.0.0.0:80", "unix:/run/longshore.sock"}, "postgres://u:p@h/n"
	want.Retention.Files, want.Retention.Disk, want.Limits.Rate = 72*time.Hour, 100<<30, 7
	if d := cmp.Diff(want, l.Server); d != "" {
		t.Error(d)
	}
	for key, from := range map[string]string{"slots": "--slots", "retention.files": "$LONGSHORE_SERVE_RETENTION_FILES", "limits.rate": "server.yaml:9:12"} {
		if !strings.Contains(l.From[key], from[:min(len(from), 12)]) {
			t.Errorf("%s is from %q, want %s", key, l.From[key], from)
		}
	}
	y := l.YAML()
	if strings.Contains(y, "postgres") || !strings.Contains(y, "db: (hidden)") {
		t.Errorf("the secret is printed:\n%s", y)
	}
}

func TestByteOrderMark(t *testing.T) {
	l, err := load(t, "\ufeffslots: 3\r\nlisten: 127.0.0.1:1\r\n", nil)
	if err != nil || l.Slots != 3 || l.Listen[0] != "127.0.0.1:1" {
		t.Errorf("%+v, %v", l, err)
	}
}

// What is printed can be given as a file again.
func TestPrintedIsRead(t *testing.T) {
	l, err := load(t, "", nil, "--capacity-memory=1Gi", "--limits-rate=0", "--listen=[::1]:80,unix:/a b", "--drain-timeout=90m")
	if err != nil {
		t.Fatal(err)
	}
	again, err := load(t, l.YAML(), nil)
	if err != nil {
		t.Fatal(err, l.YAML())
	}
	if d := cmp.Diff(l.Server, again.Server); d != "" {
		t.Error(d)
	}
	var lines []string
	for line := range strings.Lines(config.Commented()) {
		if !strings.HasPrefix(line, "# ") {
			lines = append(lines, strings.TrimPrefix(line, "#"))
		}
	}
	again, err = load(t, strings.Join(lines, ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(config.Default(), again.Server); d != "" {
		t.Error(d)
	}
}

func TestWrong(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		env, args  []string
		want       string
	}{
		{"unknown key", "retention:\n  fils: 3d\n", nil, nil, `server.yaml:2:3: there is no setting "retention.fils"`},
		{"did you mean", "slot: 3\n", nil, nil, `did you mean slots?`},
		{"unknown variable", "", []string{"LONGSHORE_SERVE_SLOT=3"}, nil, "did you mean LONGSHORE_SERVE_SLOTS?"},
		{"value", "slots: many\n", nil, nil, `server.yaml:1:1: slots: "many" is not a whole number from 0`},
		{"choice", "network: all\n", nil, nil, "it is one of: none, allowed"},
		{"age", "", []string{"LONGSHORE_SERVE_DRAIN_TIMEOUT=soon"}, nil, "$LONGSHORE_SERVE_DRAIN_TIMEOUT: "},
		{"not YAML", "a: [\n", nil, nil, "it is not YAML"},
		{"not YAML, where", "slots: 1\nlisten: \"\n", nil, nil, "server.yaml:2:9: it is not YAML"},
		{"twice", "limits:\n  upload: 5Gi\nlimits.upload: 6Gi\n", nil, nil, "server.yaml:3:1: limits.upload is set at"},
		{"a list of one", "slots: [5]\n", nil, nil, "server.yaml:1:1: slots takes one value and no list"},
		{"a section as value", "limits: 5\n", nil, nil, "limits is a section: it has limits.upload, limits.rate, limits.burst"},
		{"traces by another scheme", "", nil, []string{"--otlp=ftp://x"}, `otlp: "ftp://x" is not an http:// or https:// address`},
		{"host as address", "hosts: http://x\n", nil, nil, `hosts: "http://x" is no name`},
		{"no mapping", "- a\n", nil, nil, "settings are expected"},
		{"map as value", "listen: [{a: b}]\n", nil, nil, "list of plain values"},
		{"half of TLS", "", nil, []string{"--tls-cert=a"}, "belong together"},
		{"files outlive runs", "retention: {files: 3d, runs: 2d}\n", nil, nil, "at most retention.runs"},
		{"no secret", "", nil, []string{"--db-file=/nowhere/x"}, "--db-file: /nowhere/x cannot be read"},
		{"both wrong", "slots: -1\nlimits.rate: x\n", nil, nil, `limits.rate: "x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.file, tt.env, tt.args...)
			if err == nil {
				t.Fatal("no error")
			}
			text := err.Error()
			if e, ok := errors.AsType[*task.Error](err); ok {
				text += "; " + e.Hint
			}
			if !strings.Contains(text, tt.want) {
				t.Errorf("got %q, want %q in it", text, tt.want)
			}
		})
	}
}

func TestNoFile(t *testing.T) {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	if _, err := config.Register(fs).Load([]string{"LONGSHORE_CONFIG=/nowhere/server.yaml"}); err == nil || !strings.Contains(err.Error(), "/nowhere/server.yaml") {
		t.Fatal(err)
	}
}

var update = flag.Bool("update", false, "write the table of settings into docs/operating.md")

// The table in docs/operating.md is the one of the code.
func TestDocumented(t *testing.T) {
	const name, begin = "../../docs/operating.md", "| setting |"
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(doc), begin)
	table, after, _ := strings.Cut(rest, "\n\n")
	if !found {
		t.Fatalf("%s has no table that begins with %q", name, begin)
	}
	if begin+table+"\n" == config.Table() {
		return
	}
	if !*update {
		t.Fatalf("%s has another table of settings than the code; run this test with -update", name)
	}
	if err := os.WriteFile(name, []byte(before+config.Table()+"\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// Flags are the flags of all settings, and --config.
type Flags struct {
	File string
	set  *pflag.FlagSet
}

// Register adds the flags to a command's.
func Register(fs *pflag.FlagSet) *Flags {
	f := &Flags{set: fs}
	fs.StringVar(&f.File, "config", "", "a configuration file in YAML; the environment counts more, and flags count most (default $LONGSHORE_CONFIG)")
	c := Default() // what the flags are checked with; Load applies them in their turn
	for _, s := range c.Settings() {
		fs.Var(s.Value, s.Flag(), s.Usage)
		if s.Secret {
			fs.String(s.Flag()+"-file", "", "a file that holds --"+s.Flag()+" instead")
		}
	}
	return f
}

// Loaded is a complete configuration and where each setting came from.
type Loaded struct {
	Server
	// From tells, by key, "default", a place in the file, an environment variable or a flag.
	From map[string]string
}

// Load puts the settings together: the defaults, over them the file, the environment (as os.Environ answers it), and the
// flags that were given. Everything that is wrong is reported at once.
func (f *Flags) Load(environ []string) (*Loaded, error) {
	l := &Loaded{Server: Default(), From: map[string]string{}}
	env := variables(environ)
	if f.File == "" {
		f.File = env["LONGSHORE_CONFIG"]
	}
	a := applier{to: l, table: l.Settings()}
	if f.File != "" {
		if err := a.file(f.File); err != nil {
			return nil, err
		}
	}
	a.environment(env)
	a.flags(f.set)
	a.check()
	if len(a.wrong) > 0 {
		return nil, a.err()
	}
	return l, nil
}

func variables(environ []string) map[string]string {
	env := map[string]string{}
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok {
			env[k] = v
		}
	}
	return env
}

// applier sets settings and gathers what is wrong.
type applier struct {
	to    *Loaded
	table []Setting
	wrong []problem
}

type problem struct{ where, what, hint string }

func (a *applier) complain(where, hint, format string, args ...any) {
	a.wrong = append(a.wrong, problem{where, fmt.Sprintf(format, args...), hint})
}

func (a *applier) err() error {
	var lines []string
	for _, p := range a.wrong {
		lines = append(lines, p.where+": "+p.what)
	}
	e := &task.Error{Code: task.CodeUsage, Message: "the server's configuration is wrong: " + strings.Join(lines, "; ")}
	for _, p := range a.wrong {
		if p.hint != "" {
			return e.WithHint("%s", p.hint)
		}
	}
	return e.WithHint("docs/operating.md lists all settings; `longshore serve --print-config` prints those that count")
}

// names lists everything that can be set, as name makes it of a setting.
func (a *applier) names(name func(Setting) string, fileSuffix string) []string {
	var all []string
	for _, s := range a.table {
		all = append(all, name(s))
		if s.Secret {
			all = append(all, name(s)+fileSuffix)
		}
	}
	return all
}

// set sets what name calls; it answers false if nothing is called so.
func (a *applier) set(name func(Setting) string, fileSuffix, given, text, where string) bool {
	for _, s := range a.table {
		switch {
		case name(s) == given:
		case s.Secret && name(s)+fileSuffix == given:
			data, err := os.ReadFile(text)
			if err != nil {
				a.complain(where, "", "%s cannot be read: %v", text, errors.Unwrap(err))
				return true
			}
			text = strings.TrimRight(string(data), "\r\n")
		default:
			continue
		}
		if err := s.Value.Set(text); err != nil {
			a.complain(where, "", "%s: %v", given, err)
			return true
		}
		a.to.From[s.Key] = where
		return true
	}
	return false
}

func nearest(name string, all []string) string {
	if near := contract.Nearest(name, all); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

func key(s Setting) string { return s.Key }

func (a *applier) file(name string) error {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return task.Errorf(task.CodeMissing, "there is no configuration file %s", name)
	}
	if err != nil {
		return task.Errorf(task.CodeUsage, "the configuration file cannot be read: %w", err)
	}
	entries, err := parse(name, data)
	if err != nil {
		return err
	}
	first := map[string]string{}
	for _, e := range entries {
		switch before, again := first[e.key]; {
		case again:
			a.complain(e.where, "", "%s is set at %s already", e.key, before)
		case e.list && !a.takesList(e.key):
			a.complain(e.where, "", "%s takes one value and no list", e.key)
		case !a.set(key, "-file", e.key, e.text, e.where):
			a.complain(e.where, a.meant(e.key), "there is no setting %q", e.key)
		}
		first[e.key] = e.where
	}
	return nil
}

// takesList tells whether a setting is several values; of one that does not exist something else is to be said.
func (a *applier) takesList(name string) bool {
	i := slices.IndexFunc(a.table, func(s Setting) bool { return s.Key == name })
	return i < 0 || a.table[i].Value.Type() == listKind
}

// meant is what could have been meant by a key of the file.
func (a *applier) meant(name string) string {
	all := a.names(key, "-file")
	var within []string
	for _, k := range all {
		if strings.HasPrefix(k, name+".") {
			within = append(within, k)
		}
	}
	if len(within) > 0 {
		return name + " is a section: it has " + strings.Join(within, ", ")
	}
	return nearest(name, all)
}

func (a *applier) environment(env map[string]string) {
	var given []string
	for k := range env {
		if strings.HasPrefix(k, EnvPrefix) {
			given = append(given, k)
		}
	}
	slices.Sort(given)
	for _, k := range given {
		if !a.set(Setting.Env, "_FILE", k, env[k], "$"+k) {
			a.complain("$"+k, nearest(k, a.names(Setting.Env, "_FILE")), "there is no such setting")
		}
	}
}

func (a *applier) flags(set *pflag.FlagSet) {
	for _, name := range a.names(Setting.Flag, "-file") {
		if f := set.Lookup(name); f != nil && f.Changed {
			a.set(Setting.Flag, "-file", name, f.Value.String(), "--"+name)
		}
	}
}

// check looks at settings that depend on each other.
func (a *applier) check() {
	c := a.to.Server
	if len(c.Listen) == 0 {
		a.complain("listen", "", "there is no address")
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		a.complain("tls", "", "tls.cert and tls.key belong together: give both or none")
	}
	if r := c.Retention; r.Runs > 0 && (r.Files == 0 || r.Files > r.Runs) {
		a.complain("retention", "", "files are not kept longer than the runs they belong to: retention.files must be at most retention.runs")
	}
	for key, address := range map[string]string{"url": c.URL, "otlp": c.Traces.URL} {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			a.complain(key, "", "%q is not an http:// or https:// address", address)
		}
	}
	for _, h := range c.Hosts {
		if strings.ContainsAny(h, "/@ ") || strings.Count(h, ":") == 1 {
			a.complain("hosts", "", "%q is no name: leave out the scheme, the port and the path", h)
		}
	}
	for _, h := range c.Traces.Headers {
		if !strings.Contains(h, "=") {
			a.complain("otlp-headers", "", "a header is not NAME=VALUE")
		}
	}
}

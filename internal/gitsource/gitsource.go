// Package gitsource fetches a package from a git repository: one branch, one commit deep, by the git program, into a
// temporary folder. The repository is a stranger's: no hook, no submodule, no filter of large files and no other transport
// than the one that was named is used, what is fetched is bounded, and a folder of it that is asked for cannot lie outside.
// Credentials in an address reach git through its environment alone; they are in no argument, file, message or result.
package gitsource

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"longshore/internal/task"
)

// Ref names a folder of a branch of a repository.
type Ref struct {
	// URL is an address of scheme https, http, ssh or file, or the path of a repository on this machine, bare or not. It may
	// hold a user and a password; String does not show them.
	URL string
	// Branch is a branch, a tag or the whole id of a commit; empty means the repository's default branch.
	Branch string
	// Directory is a slash path below the repository's root; empty means the root.
	Directory string
}

// Parse reads "git+URL[#branch[:directory]]". The error is a *task.Error with code CodeUsage and shows no credentials.
func Parse(s string) (Ref, error) {
	rest, ok := strings.CutPrefix(s, "git+")
	if !ok {
		return Ref{}, usage("a git source begins with git+")
	}
	address, fragment, _ := strings.Cut(rest, "#")
	branch, directory, _ := strings.Cut(fragment, ":")
	r := Ref{URL: address, Branch: branch, Directory: directory}
	if _, err := r.remote(); err != nil {
		return Ref{}, err
	}
	if err := checkBranch(r.Branch); err != nil {
		return Ref{}, err
	}
	dir, err := cleanDirectory(r.Directory)
	if err != nil {
		return Ref{}, err
	}
	r.Directory = dir
	return r, nil
}

// String writes the reference as Parse reads it, without credentials.
func (r Ref) String() string {
	s := "git+" + redact(r.URL)
	if r.Branch != "" || r.Directory != "" {
		s += "#" + r.Branch
	}
	if r.Directory != "" {
		s += ":" + r.Directory
	}
	return s
}

func usage(format string, args ...any) *task.Error {
	return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf(format, args...)}).
		WithHint("write git+URL[#branch[:directory]], such as git+https://github.com/org/job#main")
}

// remote is an address split into what git is given and what it must be told in secret.
type remote struct {
	scheme string
	// address is what git gets as an argument: never with a password.
	address string
	// shown is the address for messages.
	shown string
	// path is the repository's folder, for those on this machine.
	path string
	// scope is what the credentials are good for: scheme and host.
	scope              string
	username, password string
	secret             bool // username and password are to be used
}

// scp is the short form of ssh addresses: user@host:path.
var scp = regexp.MustCompile(`^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^:]`)

// remote checks the address.
func (r Ref) remote() (remote, error) {
	u := r.URL
	switch {
	case u == "":
		return remote{}, usage("the git source names no repository")
	case strings.HasPrefix(u, "-"):
		return remote{}, usage("the repository's address must not begin with a dash")
	case strings.ContainsFunc(u, unicode.IsControl):
		return remote{}, usage("the repository's address holds control characters")
	case scp.MatchString(u):
		host, _, _ := strings.Cut(u, ":")
		if _, h, _ := strings.Cut(host, "@"); strings.HasPrefix(h, "-") {
			return remote{}, usage("the repository's host must not begin with a dash")
		}
		return remote{scheme: "ssh", address: u, shown: u}, nil
	case strings.Contains(u, "://"):
		return parseURL(u)
	case strings.Contains(u, "::"):
		return remote{}, usage("%s names a transport that is not supported", redact(u)).WithHint("use https, http, ssh, file or a path")
	}
	return localPath(u)
}

func parseURL(s string) (remote, error) {
	u, err := url.Parse(s)
	if err != nil {
		// The error quotes the address, with its credentials.
		return remote{}, usage("the repository's address cannot be read")
	}
	r := remote{scheme: strings.ToLower(u.Scheme), shown: redact(s)}
	switch r.scheme {
	case "https", "http", "ssh", "file":
	default:
		return remote{}, usage("%s: the scheme %q is not supported", r.shown, u.Scheme).WithHint("use https, http, ssh, file or a path")
	}
	if r.scheme == "file" {
		if u.Host != "" && u.Host != "localhost" || u.User != nil {
			return remote{}, usage("%s: a file address has no host", r.shown).WithHint("write git+file:///path/to/repository")
		}
		return localPath(u.Path)
	}
	if u.Hostname() == "" || strings.HasPrefix(u.Host, "-") {
		return remote{}, usage("%s names no host", r.shown)
	}
	password, hasPassword := u.User.Password()
	if r.scheme == "ssh" {
		if hasPassword {
			return remote{}, usage("%s: ssh takes keys, not a password", r.shown).WithHint("leave the password out and load a key into ssh-agent")
		}
		if strings.HasPrefix(u.User.Username(), "-") {
			return remote{}, usage("the user of the repository's address must not begin with a dash")
		}
		r.address = u.String()
		return r, nil
	}
	if u.User != nil {
		r.username, r.password, r.secret = u.User.Username(), password, true
		if strings.ContainsFunc(r.username+r.password, unicode.IsControl) {
			return remote{}, usage("the credentials of the repository's address hold control characters")
		}
		u.User = nil
	}
	r.scope = r.scheme + "://" + u.Host
	r.address = u.String()
	return r, nil
}

// localPath is a repository on this machine. It is given to git as a file address, because git copies a plain path as a
// whole, whatever depth was asked for.
func localPath(p string) (remote, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return remote{}, usage("%s is no usable path: %v", p, err)
	}
	return remote{scheme: "file", address: "file://" + strings.ReplaceAll(abs, "%", "%25"), shown: p, path: abs}, nil
}

// userinfo is what stands between the scheme and the last @ before the path.
var userinfo = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@`)

// query is where some servers take tokens.
var query = regexp.MustCompile(`\?.*$`)

// redact shows an address without credentials. The user of an ssh address is no secret.
func redact(address string) string {
	if s := query.ReplaceAllString(address, "?…"); !strings.HasPrefix(strings.ToLower(s), "ssh://") {
		return userinfo.ReplaceAllString(s, "$1")
	}
	scheme, rest, _ := strings.Cut(address, "://")
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(host, "@"); i >= 0 {
		name, _, _ := strings.Cut(host[:i], ":")
		host = name + host[i:]
	}
	return scheme + "://" + host + "/" + query.ReplaceAllString(path, "?…")
}

// checkBranch refuses at once what could be taken for an option, or shown wrongly. The rest is git's own rule, which Clone
// asks git for.
func checkBranch(b string) error {
	if strings.HasPrefix(b, "-") {
		return usage("the branch %q must not begin with a dash", b)
	}
	if strings.ContainsFunc(b, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return usage("%q is not a valid branch name", b)
	}
	return nil
}

// cleanDirectory refuses folders that leave the repository by their words alone; links are looked at after cloning.
func cleanDirectory(d string) (string, error) {
	if d == "" {
		return "", nil
	}
	clean := path.Clean(d)
	switch {
	case strings.HasPrefix(d, "-"):
		return "", usage("the directory %q must not begin with a dash", d)
	case strings.ContainsFunc(d, unicode.IsControl):
		return "", usage("the directory %q holds control characters", d)
	case path.IsAbs(d), clean == "..", strings.HasPrefix(clean, "../"):
		return "", usage("the directory %q leaves the repository", d).WithHint("name a folder below the repository's root")
	case clean == ".":
		return "", nil
	}
	return clean, nil
}

// within answers where directory lies on this machine, below root, also when links are followed.
func within(root, directory string) (string, error) {
	if directory == "" {
		return root, nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return "", task.Errorf(task.ReasonEngine, "cannot open the clone: %w", err)
	}
	defer r.Close()
	name := filepath.FromSlash(directory)
	st, err := r.Stat(name)
	switch {
	case os.IsNotExist(err):
		return "", (&task.Error{Code: task.CodeMissing, Message: fmt.Sprintf("the repository has no folder %s", directory)}).
			WithHint("the directory after the colon is relative to the repository's root")
	case err != nil:
		// Only a link that leads out of the repository, or in a circle, is an error here.
		why := err
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			why = p.Err
		}
		return "", (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("the folder %s of the repository cannot be used", directory), Cause: why}).
			WithHint("it must lie inside the repository, links included")
	case !st.IsDir():
		return "", &task.Error{Code: task.CodePackage, Message: fmt.Sprintf("%s of the repository is a file, not a folder", directory)}
	}
	real, err := filepath.EvalSymlinks(filepath.Join(root, name))
	if err != nil {
		return "", task.Errorf(task.ReasonEngine, "cannot open the clone: %w", err)
	}
	if real != root && !strings.HasPrefix(real, root+string(filepath.Separator)) {
		return "", &task.Error{Code: task.CodePackage, Message: fmt.Sprintf("the directory %q leaves the repository", directory)}
	}
	return real, nil
}

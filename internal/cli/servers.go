package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"longshore/internal/api/client"
	"longshore/internal/contract"
	"longshore/internal/task"
)

// knownServer is a server that somebody logged in to.
type knownServer struct {
	Name  string `json:"name"`
	URL   string `json:"url"`
	Token string `json:"token"`
	// CA is certificates in PEM that are trusted for it beside the system's.
	CA string `json:"ca,omitempty"`
}

// serverList is the file of servers, which only its owner can read.
type serverList struct {
	// Default is the name of the one that is asked when none is named: the last that was logged in to.
	Default string        `json:"default"`
	Servers []knownServer `json:"servers"`
}

func serversFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", task.Errorf(task.CodeUsage, "there is no place for tokens: %w", err).WithHint("set HOME or XDG_CONFIG_HOME, or LONGSHORE_SERVER and LONGSHORE_TOKEN")
	}
	return filepath.Join(dir, "longshore", "servers.json"), nil
}

func readServers() (*serverList, error) {
	list := &serverList{}
	name, err := serversFile()
	if err != nil {
		return list, nil // nobody logged in where there is no place to keep a token
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	}
	if err == nil {
		err = json.Unmarshal(data, list)
	}
	if err != nil {
		return nil, task.Errorf(task.CodeUsage, "the list of servers %s cannot be read: %w", name, err).WithHint("remove the file, and log in again")
	}
	return list, nil
}

func (l *serverList) write() error {
	name, err := serversFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return task.Errorf(task.CodeUsage, "the token cannot be kept: %w", err)
	}
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".servers-") // for its owner only
	if err != nil {
		return task.Errorf(task.CodeUsage, "the token cannot be kept: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(append(data, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return task.Errorf(task.CodeUsage, "the token cannot be kept: %w", err)
	}
	return os.Rename(tmp.Name(), name)
}

// put adds a server, or replaces the one of that name, and makes it the default.
func (l *serverList) put(s knownServer) {
	l.remove(s.Name)
	l.Servers = append(l.Servers, s)
	l.Default = s.Name
}

func (l *serverList) remove(name string) bool {
	n := len(l.Servers)
	l.Servers = slices.DeleteFunc(l.Servers, func(s knownServer) bool { return s.Name == name })
	if l.Default == name {
		l.Default = ""
		if len(l.Servers) > 0 {
			l.Default = l.Servers[len(l.Servers)-1].Name
		}
	}
	return len(l.Servers) < n
}

func (l *serverList) names() []string {
	var names []string
	for _, s := range l.Servers {
		names = append(names, s.Name)
	}
	return names
}

// find answers the server that is meant by a name or URL.
func (l *serverList) find(ref string) (knownServer, error) {
	for _, s := range l.Servers {
		if s.Name == ref || s.URL == ref {
			return s, nil
		}
	}
	if _, port, _ := net.SplitHostPort(ref); port != "" || strings.Contains(ref, "://") {
		u, err := serverURL(ref)
		if err != nil {
			return knownServer{}, err
		}
		for _, s := range l.Servers {
			if s.URL == u {
				return s, nil
			}
		}
		return knownServer{Name: u, URL: u}, nil
	}
	e := &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("no server %q is known", ref)}
	if near := contract.Nearest(ref, l.names()); near != "" {
		return knownServer{}, e.WithHint("did you mean %s?", near)
	}
	return knownServer{}, e.WithHint("`longshore login` lists those that are; `longshore login URL` adds one")
}

// serverURL checks an address and writes it in one form. One without a scheme is https, or http on this machine.
func serverURL(s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
		if u, err := url.Parse(s); err == nil && isHere(u.Hostname()) {
			s = "http" + strings.TrimPrefix(s, "https")
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%q is not a server's address", s)}).WithHint("it is like https://longshore.example.org or http://127.0.0.1:8470")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host) + strings.TrimRight(u.Path, "/"), nil
}

// isHere tells whether a name is this machine's, so that nobody else can listen on the way.
func isHere(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// serverFlags name the server that a command asks.
type serverFlags struct{ server string }

func (f *serverFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.server, "server", "", "a server by name or URL (default $LONGSHORE_SERVER, else the last that was logged in to)")
}

// known is the server that is meant, with its token: of the flag, else of the environment, else of the last login.
func (f *serverFlags) known() (knownServer, error) {
	l, err := readServers()
	if err != nil {
		return knownServer{}, err
	}
	ref := f.server
	if ref == "" {
		ref = os.Getenv("LONGSHORE_SERVER")
	}
	if ref == "" {
		ref = l.Default
	}
	if ref == "" {
		return knownServer{}, (&task.Error{Code: task.CodeUsage, Message: "no server is known"}).WithHint("log in first: longshore login URL; or start one here: longshore serve")
	}
	s, err := l.find(ref)
	if err != nil {
		return s, err
	}
	if t := os.Getenv("LONGSHORE_TOKEN"); t != "" {
		s.Token = t
	}
	if s.Token == "" {
		return s, (&task.Error{Code: task.CodeAccess, Message: "there is no token for " + s.URL}).WithHint("log in first: longshore login %s; or set LONGSHORE_TOKEN", s.URL)
	}
	return s, nil
}

// dial makes a client of the server that is meant.
func (g *globals) dial(f *serverFlags) (*client.Client, error) {
	s, err := f.known()
	if err != nil {
		return nil, err
	}
	return g.client(s)
}

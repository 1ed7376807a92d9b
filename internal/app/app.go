// Package app puts the pieces together: it is the only place that knows every contract and every engine, as two lists. It
// opens packages, gets images ready and hands jobs to dispatch; everything it makes is made on first use, so that a command
// that needs little starts fast.
package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	registry "longshore/internal/app/contracts"
	"longshore/internal/contract"
	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/engine/sandbox"
	"longshore/internal/image"
	"longshore/internal/outbound"
	"longshore/internal/task"
)

// contracts is the list of contracts.
func contracts() []contract.Contract { return registry.All() }

// engines is the list of engines, the default first.
var engines = []struct {
	name string
	make func(Config) (engine.Engine, error)
}{
	{"sandbox", func(c Config) (engine.Engine, error) {
		return sandbox.New(sandbox.Config{Dir: filepath.Join(c.Home, "containers"), CDIDirs: c.CDIDirs})
	}},
}

// Config says where things are and what is allowed. The zero value is completed by New.
type Config struct {
	// Home holds images and what runs need while they last. Empty means $LONGSHORE_HOME, else /var/lib/longshore for root and
	// the user's data folder for others.
	Home string
	// Engine is the name of the engine; empty means the first.
	Engine string
	// CDIDirs are the folders of Container Device Interface specs, which tell of GPUs; none means the usual ones.
	CDIDirs []string
	Policy  dispatch.Policy
	// Progress follows builds, loads and pulls; nil is silent.
	Progress image.Progress
	// NoCache builds every step anew.
	NoCache bool
	// Insecure allows registries without TLS.
	Insecure bool
	// Anonymous pulls without the user's registry logins: for packages of strangers.
	Anonymous bool
	// Sources bounds where images and the git sources of strangers come from: public addresses, and those that it names (see
	// outbound.Parse). nil bounds nothing.
	Sources []string
}

// App is a configured Longshore. It is safe for concurrent use.
type App struct {
	cfg    Config
	engine engine.Engine
	store  func() (*image.Store, error)
	// outbound is nil where connections are not bounded.
	outbound *outbound.Policy
}

// New completes the configuration and checks it. It touches no file.
func New(cfg Config) (*App, error) {
	if cfg.Home == "" {
		home, err := defaultHome()
		if err != nil {
			return nil, err
		}
		cfg.Home = home
	}
	abs, err := filepath.Abs(cfg.Home)
	if err != nil {
		return nil, err
	}
	cfg.Home = abs
	a := &App{cfg: cfg}
	images := image.Config{Dir: filepath.Join(cfg.Home, "images")}
	if cfg.Anonymous {
		images.Keychain = authn.NewMultiKeychain() // which has nothing
	}
	if cfg.Sources != nil {
		if a.outbound, err = outbound.Parse(cfg.Sources); err != nil {
			return nil, err
		}
		images.Transport = a.outbound.Transport(remote.DefaultTransport.(*http.Transport)) // the library's is one
	}
	a.store = sync.OnceValues(func() (*image.Store, error) { return image.Open(images) })
	for _, e := range engines {
		if cfg.Engine == "" || cfg.Engine == e.name {
			a.engine, err = e.make(cfg)
			return a, err
		}
	}
	return nil, (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("there is no engine %q", cfg.Engine)}).WithHint("the engines are: %s", strings.Join(EngineNames(), ", "))
}

func defaultHome() (string, error) {
	if h := os.Getenv("LONGSHORE_HOME"); h != "" {
		return h, nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/longshore", nil
	}
	if h := os.Getenv("XDG_DATA_HOME"); h != "" {
		return filepath.Join(h, "longshore"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", (&task.Error{Code: task.CodeUsage, Message: "no place for images and runs", Cause: err}).WithHint("set HOME or LONGSHORE_HOME")
	}
	return filepath.Join(home, ".local", "share", "longshore"), nil
}

// EngineNames lists the engines, the default first.
func EngineNames() []string {
	var names []string
	for _, e := range engines {
		names = append(names, e.name)
	}
	return names
}

// ContractNames lists the contracts.
func ContractNames() []string {
	var names []string
	for _, c := range contracts() {
		names = append(names, c.Name())
	}
	return names
}

// Contract returns the contract of that name.
func Contract(name string) (contract.Contract, error) {
	for _, c := range contracts() {
		if c.Name() == name {
			return c, nil
		}
		if a, ok := c.(contract.Aliaser); ok && slices.Contains(a.Aliases(), name) {
			return c, nil
		}
	}
	e := &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("there is no contract %q", name)}
	if near := contract.Nearest(name, ContractNames()); near != "" {
		return nil, e.WithHint("did you mean %s? The contracts are: %s", near, strings.Join(ContractNames(), ", "))
	}
	return nil, e.WithHint("the contracts are: %s", strings.Join(ContractNames(), ", "))
}

// Engine returns the configured engine.
func (a *App) Engine() engine.Engine { return a.engine }

// Images returns the local image store.
func (a *App) Images() (*image.Store, error) { return a.store() }

// Home returns where images and runs are kept.
func (a *App) Home() string { return a.cfg.Home }

// Dispatcher returns what runs jobs.
func (a *App) Dispatcher() *dispatch.Dispatcher {
	policy := a.cfg.Policy
	has := capacity()
	if policy.Defaults.Memory == 0 {
		policy.Defaults.Memory = min(has.Memory/2, 4<<30)
	}
	if policy.Defaults.Disk == 0 {
		policy.Defaults.Disk = 5 << 30
	}
	return &dispatch.Dispatcher{Engine: a.engine, Images: &images{app: a}, Dir: filepath.Join(a.cfg.Home, "runs"), Capacity: has, Policy: policy}
}

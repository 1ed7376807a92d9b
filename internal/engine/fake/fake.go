// Package fake is an engine in memory for fast tests of what uses engines. It runs no processes: a container does what its
// command line says, in a small language, and its Exit and log are what a real engine would answer. It complains about callers
// that break the order of calls, through Problems.
//
// Args is "fake" followed by words, which are done in order:
//
//	stdout=TEXT      writes TEXT to stdout, as it is
//	stderr=TEXT      writes TEXT to stderr
//	env=NAME         writes the value of an environment variable to stdout
//	write=PATH=TEXT  writes TEXT to a file below the writable mount that holds PATH
//	copy=FROM=TO     copies a file between mounts, as a task with an input and an output
//	serve=PORT       serves HTTP on PORT from now on, by Config.Handler
//	wait=NAME        waits until the test calls Engine.Release(NAME); does not handle Stop's signal
//	sleep-until-stop waits for Stop, and goes on when it is asked to end
//	ignore-stop      waits until it is killed
//	oom              ends as a container that ran out of memory
//	pids             notes that the process limit was hit
//	disk             ends as a container that passed its disk limit
//	signal=N         ends by signal N
//	exit=N           ends with exit code N
//
// After the last word the exit code is 0. A wrong word is exit code 2 and a message on stderr. A command other than "fake" is
// not found in the image; "start-wait=NAME" as the first word has Start wait like wait=NAME, "start-error=KIND" makes it fail with a
// *engine.StartError of that kind, and
// "engine-error" with an error of the engine's own.
package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"longshore/internal/engine"
)

// Name is the engine's name.
const Name = "fake"

// Config says how containers behave beyond their command lines. The zero value is ready for use.
type Config struct {
	// Handler answers requests to the ports that containers serve. Nil answers "/" with "served".
	Handler http.Handler
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Engine is the fake. It is safe for concurrent use.
type Engine struct {
	config Config

	mu         sync.Mutex
	containers map[string]*container
	started    []engine.Spec
	gates      map[string]chan struct{}
	problems   []string
}

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Dialer = (*Engine)(nil)
	_ engine.Stater = (*Engine)(nil)
)

// New returns an engine without containers.
func New(c Config) *Engine {
	if c.Handler == nil {
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Engine{config: c, containers: map[string]*container{}, gates: map[string]chan struct{}{}}
}

// Name implements engine.Engine.
func (e *Engine) Name() string { return Name }

// Started returns the specs of all containers that were started, in order.
func (e *Engine) Started() []engine.Spec {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.started)
}

// Problems lists what callers did wrong: containers that were never removed, and results that nobody
// waited for.
// Tests call it when everything should be over.
func (e *Engine) Problems() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := slices.Clone(e.problems)
	for id := range e.containers {
		list = append(list, "container "+id+" was never removed")
	}
	slices.Sort(list)
	return list
}

// Release lets containers go on that wait=NAME, now and later.
func (e *Engine) Release(name string) {
	gate := e.gate(name)
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-gate:
	default:
		close(gate)
	}
}

func (e *Engine) gate(name string) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gates[name] == nil {
		e.gates[name] = make(chan struct{})
	}
	return e.gates[name]
}

var validID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// Start implements engine.Engine.
func (e *Engine) Start(ctx context.Context, spec engine.Spec) (engine.Handle, error) {
	if err := ctx.Err(); err != nil {
		return engine.Handle{}, err
	}
	if !validID.MatchString(spec.ID) {
		return engine.Handle{}, fmt.Errorf("fake: container ID %q is not 1 to 64 lower-case letters, digits and dashes", spec.ID)
	}
	script, err := command(spec.Process.Args)
	if err != nil {
		return engine.Handle{}, err
	}
	if script, err = e.slowStart(ctx, script); err != nil {
		return engine.Handle{}, err
	}
	if spec.Hostname == "" {
		spec.Hostname = spec.ID[:min(len(spec.ID), 12)]
	}
	c := &container{e: e, spec: spec, log: newLog(spec), stop: make(chan struct{}), kill: make(chan struct{}), ended: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.containers[spec.ID] != nil {
		return engine.Handle{}, fmt.Errorf("fake: container ID %s is in use", spec.ID)
	}
	e.containers[spec.ID] = c
	e.started = append(e.started, spec)
	go c.run(script)
	return engine.Handle{ID: spec.ID, Engine: Name, StartedAt: e.config.Now()}, nil
}

// slowStart waits where the script asks for that, and answers the rest of it.
func (e *Engine) slowStart(ctx context.Context, script []string) ([]string, error) {
	if len(script) == 0 {
		return script, nil
	}
	name, slow := strings.CutPrefix(script[0], "start-wait=")
	if !slow {
		return script, nil
	}
	select {
	case <-e.gate(name):
		return script[1:], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// command returns the script of a command line.
func command(args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, &engine.StartError{Kind: "command", Err: errors.New("fake: there is no command")}
	}
	if args[0] != "fake" {
		return nil, &engine.StartError{Kind: "command", Err: fmt.Errorf("fake: exec %q: not found in the image's PATH (/bin)", args[0])}
	}
	if len(args) > 1 {
		if kind, ok := strings.CutPrefix(args[1], "start-error="); ok {
			return nil, &engine.StartError{Kind: kind, Err: errors.New("fake: asked to fail")}
		}
		if args[1] == "engine-error" {
			return nil, errors.New("fake: asked to fail")
		}
	}
	return args[1:], nil
}

func (e *Engine) container(id string) (*container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.containers[id]; c != nil {
		return c, nil
	}
	return nil, engine.ErrUnknown
}

// Wait implements engine.Engine.
func (e *Engine) Wait(ctx context.Context, h engine.Handle) (engine.Exit, error) {
	c, err := e.container(h.ID)
	if err != nil {
		return engine.Exit{}, err
	}
	select {
	case <-c.ended:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waited = true
		return c.exit, nil
	case <-ctx.Done():
		return engine.Exit{}, ctx.Err()
	}
}

// Logs implements engine.Engine.
func (e *Engine) Logs(_ context.Context, h engine.Handle, follow bool) (io.ReadCloser, error) {
	c, err := e.container(h.ID)
	if err != nil {
		return nil, err
	}
	return &logReader{log: c.log, follow: follow}, nil
}

// Stop implements engine.Engine.
func (e *Engine) Stop(ctx context.Context, h engine.Handle, grace time.Duration) error {
	c, err := e.container(h.ID)
	if err != nil {
		return err
	}
	return c.end(ctx, grace)
}

// Remove implements engine.Engine.
func (e *Engine) Remove(ctx context.Context, h engine.Handle) error {
	c, err := e.container(h.ID)
	if err != nil {
		return nil
	}
	c.mu.Lock()
	if !c.waited && !c.stopped {
		select {
		case <-c.ended: // Its result was thrown away.
			e.note("container " + h.ID + " had ended and was removed before anyone waited for it")
		default:
		}
	}
	c.mu.Unlock()
	if err := c.end(ctx, 0); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.containers[h.ID] == c {
		delete(e.containers, h.ID)
	}
	return nil
}

func (e *Engine) note(problem string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.problems = append(e.problems, problem)
}

// Stats implements engine.Stater: a container that runs has used a second and a mebibyte.
func (e *Engine) Stats(_ context.Context, h engine.Handle) (engine.Usage, error) {
	if _, err := e.container(h.ID); err != nil {
		return engine.Usage{}, err
	}
	return engine.Usage{CPU: time.Second, PeakMemory: 1 << 20, Memory: 1 << 20}, nil
}

// Dial implements engine.Dialer.
func (e *Engine) Dial(_ context.Context, h engine.Handle, port int) (net.Conn, error) {
	c, err := e.container(h.ID)
	if err != nil {
		return nil, err
	}
	conn, ok := c.connect(port)
	if !ok {
		return nil, fmt.Errorf("fake: port %d of %s: %w", port, h.ID, syscall.ECONNREFUSED)
	}
	return conn, nil
}

package worker

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"longshore/internal/dispatch"
	"longshore/internal/engine"
	"longshore/internal/task"
)

// The files of a job's folder.
const (
	jobFile    = "job.json"
	eventsFile = "events"
	logFile    = "log"
	outFolder  = "out"
	failedFile = "failed.json"
	lockFile   = ".lock"
)

// Carrier carries out one job: it opens the package, runs it by way of dispatch, and publishes to out. The error tells only that
// there is no result.
type Carrier func(ctx context.Context, j Job, out string, o dispatch.Observer) (*task.Result, error)

// Pool carries out jobs in this process. It is what a worker process is made of.
type Pool struct {
	dir     string
	carrier Carrier

	mu   sync.Mutex
	live map[string]*live
	busy sync.WaitGroup
}

var _ Worker = (*Pool)(nil)

// NewPool returns a pool that keeps its jobs below dir, which it makes.
func NewPool(dir string, c Carrier) (*Pool, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	return &Pool{dir: dir, carrier: c, live: map[string]*live{}}, nil
}

// live is one job under way.
type live struct {
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and made anew at each event
	events  []Event
	log     int64
}

// Folder implements Worker.
func (p *Pool) Folder(name string) string { return filepath.Join(p.dir, name) }

// Log implements Worker.
func (p *Pool) Log(name string) string { return filepath.Join(p.dir, name, logFile) }

// Begin implements Worker.
func (p *Pool) Begin(_ context.Context, j Job) error {
	if err := makeFolder(p.dir, j); err != nil {
		return err
	}
	return p.begin(j)
}

// makeFolder makes a job's folder. Whoever wants the job does so, before a worker is told: a job without one was forgotten.
func makeFolder(dir string, j Job) error {
	if err := os.MkdirAll(filepath.Join(dir, j.Name()), 0o700); err != nil {
		return task.Errorf(task.ReasonEngine, "cannot make the job's folder: %w", err)
	}
	return nil
}

// begin takes on a job whose folder is there.
func (p *Pool) begin(j Job) error {
	if _, _, ok := Split(j.Name()); !ok {
		return task.Errorf(task.ReasonEngine, "%q is no job's name", j.Name())
	}
	l := &live{ended: make(chan struct{}), changed: make(chan struct{})}
	p.mu.Lock()
	if p.live[j.Name()] != nil {
		p.mu.Unlock()
		return nil // begun by a server that died before it heard so
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	p.live[j.Name()] = l
	p.busy.Add(1)
	p.mu.Unlock()
	f, err := p.open(j, l)
	if err != nil {
		p.leave(j.Name(), l)
		return task.Errorf(task.ReasonEngine, "cannot prepare the job's folder: %w", err)
	}
	go func() {
		defer p.leave(j.Name(), l)
		f.carry(ctx, p.carrier)
	}()
	return nil
}

func (p *Pool) leave(name string, l *live) {
	l.cancel()
	p.mu.Lock()
	delete(p.live, name)
	p.mu.Unlock()
	close(l.ended)
	p.busy.Done()
}

// Idle waits until no job is under way, or ctx ends.
func (p *Pool) Idle(ctx context.Context) error {
	done := make(chan struct{})
	go func() { p.busy.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Busy tells how many jobs are under way.
func (p *Pool) Busy() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.live)
}

// folder is the open folder of a job under way. Its methods are dispatch's Observer; dispatch calls them from several goroutines.
type folder struct {
	dir  string
	job  Job
	live *live
	lock *os.File

	mu     sync.Mutex
	events *os.File
	log    *os.File
	logged int64
	buf    []byte
}

func (p *Pool) open(j Job, l *live) (_ *folder, err error) {
	f := &folder{dir: p.Folder(j.Name()), job: j, live: l}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.lock, err = os.OpenFile(filepath.Join(f.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, err
	}
	if err = writeJSON(filepath.Join(f.dir, jobFile), j); err != nil {
		return nil, err
	}
	f.events, err = os.OpenFile(filepath.Join(f.dir, eventsFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return f, err
}

func (f *folder) close() {
	for _, c := range []*os.File{f.events, f.log, f.lock} {
		if c != nil {
			c.Close()
		}
	}
}

// carry does the job to its end.
func (f *folder) carry(ctx context.Context, c Carrier) {
	defer f.close()
	_, err := c(ctx, f.job, filepath.Join(f.dir, outFolder), f)
	if err == nil {
		return
	}
	e, ok := errors.AsType[*task.Error](err)
	if !ok {
		e = &task.Error{Code: task.ReasonEngine, Message: err.Error()}
	}
	// A folder that cannot be written to leaves a lost job, which is tried again.
	_ = writeJSON(filepath.Join(f.dir, failedFile), task.Failure{Reason: e.Code, Message: e.Error(), Hint: e.Hint, Findings: e.Findings})
}

// Moved implements dispatch.Observer.
func (f *folder) Moved(_ string, to task.State) {
	if !to.Terminal() { // the result tells the end
		f.add(Event{State: to})
	}
}

// Warned implements dispatch.Observer.
func (f *folder) Warned(message string) { f.add(Event{Warning: message}) }

// Progress takes a line about pulling or building.
func (f *folder) Progress(line string) { f.add(Event{Progress: line}) }

// Sampled implements dispatch.SampleObserver.
func (f *folder) Sampled(s Sample) { f.add(Event{Usage: &s}) }

func (f *folder) add(e Event) {
	e.At = time.Now().UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return // an Event always has a JSON form
	}
	f.mu.Lock()
	_, _ = f.events.Write(append(line, '\n')) // what followers are told below matters more than what a restart can read
	f.mu.Unlock()
	f.live.mu.Lock()
	f.live.events = append(f.live.events, e)
	f.live.wake()
	f.live.mu.Unlock()
}

// Logged implements dispatch.Observer.
func (f *folder) Logged(s engine.Stream, data []byte) {
	f.mu.Lock()
	if f.log == nil {
		log, err := os.OpenFile(filepath.Join(f.dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			f.mu.Unlock()
			return // dispatch keeps a log of its own; the result has its end
		}
		f.log = log
	}
	f.buf = engine.AppendFrame(f.buf[:0], engine.Frame{Stream: s, Time: time.Now(), Attempt: f.job.Attempt, Data: data})
	if n, err := f.log.Write(f.buf); err != nil {
		_ = f.log.Truncate(f.logged) // the disk is full: half a frame would spoil what comes after it
	} else {
		f.logged += int64(n)
	}
	logged := f.logged
	f.mu.Unlock()
	f.live.mu.Lock()
	f.live.log = max(f.live.log, logged)
	f.live.wake()
	f.live.mu.Unlock()
}

// wake tells those who wait for a change; the caller holds mu.
func (l *live) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Cancel implements Worker.
func (p *Pool) Cancel(_ context.Context, name string) error {
	p.mu.Lock()
	l := p.live[name]
	p.mu.Unlock()
	if l != nil {
		l.cancel()
	}
	return nil
}

// Follow implements Worker.
func (p *Pool) Follow(ctx context.Context, name string, f func(Event)) (Outcome, error) {
	p.mu.Lock()
	l := p.live[name]
	p.mu.Unlock()
	if l == nil {
		return p.read(name, f)
	}
	seen, log := 0, int64(0)
	for ended := false; ; {
		l.mu.Lock()
		events, size, changed := l.events[seen:], l.log, l.changed
		l.mu.Unlock()
		for _, e := range events {
			f(e)
		}
		seen += len(events)
		if size > log {
			log = size
			f(Event{At: time.Now().UTC(), Log: log})
		}
		if ended {
			return outcome(p.Folder(name))
		}
		select {
		case <-changed:
		case <-l.ended:
			ended = true // and once more, for what came last
		case <-ctx.Done():
			return Outcome{}, ctx.Err()
		}
	}
}

// read tells the events and the outcome of a job that is not under way here.
func (p *Pool) read(name string, f func(Event)) (Outcome, error) {
	dir := p.Folder(name)
	if err := replay(filepath.Join(dir, eventsFile), f); err != nil {
		return Outcome{}, err
	}
	o, err := outcome(dir)
	if errors.Is(err, ErrLost) {
		mend(p.Log(name))
	}
	if st, err := os.Stat(p.Log(name)); err == nil && st.Size() > 0 {
		f(Event{At: st.ModTime().UTC(), Log: st.Size()})
	}
	return o, err
}

// mend takes off what a worker that died had written of a frame. Nobody may be writing.
func mend(log string) {
	f, err := os.OpenFile(log, os.O_RDWR, 0)
	if err != nil {
		return // the job wrote nothing
	}
	defer f.Close()
	_ = f.Truncate(engine.WholeFrames(f)) // what cannot be cut ends its reader's way
}

func replay(path string, f func(Event)) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	d := json.NewDecoder(file)
	for {
		var e Event
		if d.Decode(&e) != nil {
			return nil // the end, or a line that a dying worker cut short
		}
		f(e)
	}
}

// outcome reads what a job has ended with.
func outcome(dir string) (Outcome, error) {
	var o Outcome
	out := filepath.Join(dir, outFolder)
	data, err := os.ReadFile(filepath.Join(out, dispatch.ResultFile))
	if err == nil {
		o.Dir, o.Result = out, &task.Result{}
		if err = json.Unmarshal(data, o.Result); err != nil {
			return Outcome{}, task.Errorf(task.ReasonEngine, "the result cannot be read: %w", err)
		}
		return o, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Outcome{}, err
	}
	if data, err = os.ReadFile(filepath.Join(dir, failedFile)); err != nil {
		return Outcome{}, ErrLost
	}
	var why task.Failure
	if err := json.Unmarshal(data, &why); err != nil {
		return Outcome{}, ErrLost
	}
	return Outcome{}, &task.Error{Code: why.Reason, Message: why.Message, Hint: why.Hint, Findings: why.Findings}
}

// Jobs implements Worker.
func (p *Pool) Jobs(context.Context) ([]string, error) { return jobs(p.dir) }

func jobs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if _, _, ok := Split(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Forget implements Worker.
func (p *Pool) Forget(ctx context.Context, name string) error {
	p.mu.Lock()
	l := p.live[name]
	p.mu.Unlock()
	if l != nil {
		l.cancel()
		select {
		case <-l.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return remove(p.dir, name)
}

// remove removes a job's folder. The name changes first, so that a removal that is interrupted leaves no job.
func remove(dir, name string) error {
	gone := filepath.Join(dir, "."+name+goneSuffix)
	err := os.Rename(filepath.Join(dir, name), gone)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(gone)
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

package durable

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"longshore/internal/dispatch/worker"
	"longshore/internal/task"
)

// outward takes the way to the server's own folders out of what callers are told: they know their files by the names that they gave
// them, and where the server keeps them is its own business.
type outward struct{ way *regexp.Regexp }

// newOutward hides the ways to folders of this machine, and to where links among them lead.
func newOutward(dirs []string) outward {
	var ways []string
	for _, dir := range dirs {
		ways = append(ways, regexp.QuoteMeta(filepath.Clean(dir)))
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			ways = append(ways, regexp.QuoteMeta(real))
		}
	}
	if ways == nil {
		return outward{}
	}
	return outward{regexp.MustCompile(`(?:` + strings.Join(ways, "|") + `)/(?:server/)?(?:packages/[^/\s]+/|jobs/[^/\s]+/(?:inputs/\d+/)?|runs/[^/\s]+/)?`)}
}

func (o outward) text(s string) string {
	if o.way == nil {
		return s
	}
	return o.way.ReplaceAllLiteralString(s, "")
}

func (o outward) texts(list []string) []string {
	if list == nil {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = o.text(s)
	}
	return out
}

func (o outward) findings(list []task.Finding) []task.Finding {
	if list == nil {
		return nil
	}
	out := make([]task.Finding, len(list))
	for i, f := range list {
		f.File, f.What, f.Why, f.Mend = o.text(f.File), o.text(f.What), o.text(f.Why), o.text(f.Mend)
		out[i] = f
	}
	return out
}

// reworded is an error that says what the one below it says, less what callers shall not see. What it is stays the same.
type reworded struct {
	text string
	err  error
}

func (t *reworded) Error() string { return t.text }
func (t *reworded) Unwrap() error { return t.err }

func (o outward) error(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*task.Error](err)
	if !ok {
		if text := o.text(err.Error()); text != err.Error() {
			return &reworded{text, err}
		}
		return err
	}
	shown := *e
	shown.Message, shown.Hint, shown.Findings, shown.Cause = o.text(e.Message), o.text(e.Hint), o.findings(e.Findings), o.error(e.Cause)
	if reflect.DeepEqual(shown, *e) {
		return err // with all that it is besides
	}
	return &shown
}

func (o outward) failure(f *task.Failure) *task.Failure {
	if f == nil {
		return nil
	}
	shown := *f // but not what the container wrote itself
	shown.Message, shown.Hint, shown.Findings = o.text(f.Message), o.text(f.Hint), o.findings(f.Findings)
	return &shown
}

func (o outward) result(r *task.Result) *task.Result {
	if r == nil {
		return nil
	}
	shown := *r
	shown.Failure, shown.Notes, shown.Warnings = o.failure(r.Failure), o.texts(r.Notes), o.texts(r.Warnings)
	return &shown
}

// outwardPackages are packages whose problems are told to callers.
type outwardPackages struct {
	Packages
	outward outward
}

func (p outwardPackages) Open(ctx context.Context, path, contractName, variant string) (Opened, error) {
	o, err := p.Packages.Open(ctx, path, contractName, variant)
	o.Findings, o.Evidence = p.outward.findings(o.Findings), p.outward.text(o.Evidence)
	return o, p.outward.error(err)
}

func (p outwardPackages) Fetch(ctx context.Context, git string, use func(dir, commit string) error) error {
	return p.outward.error(p.Packages.Fetch(ctx, git, use))
}

func (p outwardPackages) ImageDigest(ctx context.Context, name string) (string, error) {
	digest, err := p.Packages.ImageDigest(ctx, name)
	return digest, p.outward.error(err)
}

// outwardWorker is a worker whose jobs callers follow.
type outwardWorker struct {
	worker.Worker
	outward outward
}

func (w outwardWorker) Follow(ctx context.Context, name string, f func(worker.Event)) (worker.Outcome, error) {
	o, err := w.Worker.Follow(ctx, name, func(e worker.Event) {
		e.Warning, e.Progress = w.outward.text(e.Warning), w.outward.text(e.Progress)
		f(e)
	})
	o.Result = w.outward.result(o.Result)
	return o, w.outward.error(err)
}

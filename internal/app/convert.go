package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/convert"
	"longshore/internal/dispatch"
	"longshore/internal/front"
	"longshore/internal/task"
)

// ConvertOptions say what a package is converted to.
type ConvertOptions struct {
	// To is the target contract, Out the folder for the new package, which must not exist or be empty.
	To, Out string
	// Request makes the example of the new package; nil takes the source's own.
	Request *task.Request
	// Outputs are the outputs that are carried over; nil means all.
	Outputs []string
	// NoRun leaves out what the example's run would give.
	NoRun bool
	// Job makes the job of the example's run.
	Job func(task.Request) dispatch.Job
}

// Conversion is what became of a conversion.
type Conversion struct {
	From string `json:"from"`
	To   string `json:"to"`
	Dir  string `json:"dir"`
	// Example names what the new package's example was made of, empty when it has none.
	Example string `json:"example,omitempty"`
	// Findings tell everything that was not carried over as it was.
	Findings []task.Finding `json:"findings"`
}

// Convert makes a package of another contract of p, of which one use is chosen. Everything that cannot be carried over is in
// the findings; what cannot be converted at all is a *task.Error with code CodePackage.
func (a *App) Convert(ctx context.Context, p *Package, opts ConvertOptions) (*Conversion, error) {
	target, err := Contract(opts.To)
	if err != nil {
		return nil, err
	}
	c := &conversion{app: a, pkg: p, opts: opts, result: &Conversion{From: p.Contract.Name(), To: opts.To, Dir: opts.Out, Findings: []task.Finding{}}}
	if err := vacant(opts.Out); err != nil {
		return nil, err
	}
	// Not beside its place: that may be in the build context of the source.
	if c.dir, err = TempDir("longshore-convert-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(c.dir)
	if target.Name() == p.Contract.Name() {
		err = c.same()
	} else {
		err = c.convert(ctx, target)
	}
	if err == nil {
		err = appear(c.dir, opts.Out)
	}
	if err != nil {
		return nil, err
	}
	return c.result, nil
}

// vacant tells whether a folder can be made: it does not exist, or is empty.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return task.Errorf(task.CodeUsage, "cannot use %s: %w", dir, err)
	case len(entries) > 0:
		return (&task.Error{Code: task.CodeUsage, Message: dir + " is not empty"}).WithHint("name a new folder: nothing is overwritten")
	}
	return nil
}

// appear copies a finished folder to its place, where it appears whole or not at all.
func appear(from, to string) error {
	out, err := filepath.Abs(to)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(out), 0o755)
	}
	tmp := ""
	if err == nil {
		tmp, err = os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".longshore-")
	}
	if err != nil {
		return task.Errorf(task.CodeUsage, "cannot make the package: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err = os.CopyFS(tmp, os.DirFS(from)); err == nil {
		err = os.Chmod(tmp, 0o755)
	}
	if err == nil {
		err = os.Rename(tmp, out)
	}
	if err != nil {
		return task.Errorf(task.CodeUsage, "cannot make the package: %w", err)
	}
	return nil
}

// conversion is one Convert under way.
type conversion struct {
	app    *App
	pkg    *Package
	opts   ConvertOptions
	result *Conversion
	// dir becomes the new package.
	dir string
	// earlier is what the source was made of, if it is a converted package itself.
	earlier []convert.Earlier
	// task is what is carried over, and front how it looks.
	task    *task.Task
	front   contract.Front
	varying []string
}

func (c *conversion) lost(sev task.Severity, rule, mend, what string, args ...any) {
	c.result.Findings = append(c.result.Findings, contract.Lost(sev, rule, mend, what, args...))
}

// same copies a package that is of the target's contract already.
func (c *conversion) same() error {
	src := c.pkg.Source
	if src.FS == nil {
		return (&task.Error{Code: task.CodePackage, Message: fmt.Sprintf("%s is a %s image already", src.Given, c.opts.To)}).WithHint("it needs no conversion")
	}
	c.lost(task.SeverityNote, "same", "", "it is a %s package already: its files are copied as they are", c.opts.To)
	if src.Dir == "" {
		return os.CopyFS(c.dir, src.FS)
	}
	return convert.CopyFolder(src.Dir, c.dir)
}

// convert goes through the order of calls at contract.Fronter.
func (c *conversion) convert(ctx context.Context, target contract.Contract) error {
	fronter, ok := target.(contract.Fronter)
	if !ok {
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("nothing can be converted to %s", target.Name())}).
			WithHint("the contracts to convert to are: %s", strings.Join(Fronters(), ", "))
	}
	if fsys := c.pkg.Source.FS; fsys != nil {
		var err error
		if c.earlier, err = convert.EarlierIn(fsys); err != nil {
			return task.Errorf(task.CodePackage, "it was converted before, and cannot be again: %w", err)
		}
	}
	if done, err := c.back(ctx, target); done || err != nil {
		return err
	}
	facts, err := c.image(ctx)
	if err != nil {
		return err
	}
	c.task = c.pkg.Task
	var leaveOut []string
	if carrier, ok := c.pkg.Contract.(contract.Carrier); ok {
		carried := carrier.Carry(c.task)
		c.task, c.varying, leaveOut = carried.Task, carried.Varying, carried.LeaveOut
		c.result.Findings = append(c.result.Findings, carried.Findings...)
	}
	c.standOnImage(facts)
	shown, err := c.chosen()
	if err != nil {
		return err
	}
	var found []task.Finding
	c.front, found = fronter.Front(shown, contract.FrontDirIn(facts))
	c.result.Findings = append(c.result.Findings, found...)
	c.general(facts)
	if task.HasErrors(c.result.Findings) {
		i := slices.IndexFunc(c.result.Findings, func(f task.Finding) bool { return f.Severity == task.SeverityError })
		return &task.Error{Code: task.CodePackage, Message: c.result.Findings[i].What, Hint: c.result.Findings[i].Mend, Findings: c.result.Findings}
	}
	example, err := c.example(ctx)
	if err != nil {
		return err
	}
	out := convert.Package{Task: c.task, Image: facts, Front: c.front, Documents: fronter.Documents(c.task, c.front, example), LeaveOut: leaveOut}
	if err := out.Write(c.dir); err != nil {
		return err
	}
	return c.warned(ctx, target)
}

// chosen is the task with those of its outputs that are wanted.
func (c *conversion) chosen() (*task.Task, error) {
	if c.opts.Outputs == nil {
		return c.task, nil
	}
	for _, name := range c.opts.Outputs {
		if c.task.Parameter(task.Output, name) == nil {
			return nil, &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("the task has no output %q", name)}
		}
	}
	shown := *c.task
	shown.Parameters = nil
	for _, p := range c.task.Parameters {
		if p.Direction == task.Output && !slices.Contains(c.opts.Outputs, p.Name) {
			c.lost(task.SeverityNote, "output", "", "the output %s is left out, as was asked", p.Name)
			continue
		}
		shown.Parameters = append(shown.Parameters, p)
	}
	return &shown, nil
}

// Fronters lists the contracts that packages can be converted to.
func Fronters() []string {
	var names []string
	for _, other := range contracts() {
		if _, ok := other.(contract.Fronter); ok {
			names = append(names, other.Name())
		}
	}
	return names
}

// image builds, loads or pulls the source's image and looks into it.
func (c *conversion) image(ctx context.Context) (task.ImageFacts, error) {
	img, name, err := c.app.Build(ctx, c.pkg.Task.Image)
	if err != nil {
		return task.ImageFacts{}, err
	}
	ready := readyImage{img: img, name: name}
	if checker, ok := c.pkg.Contract.(contract.ImageChecker); ok {
		t, findings := checker.CheckImage(c.pkg.Task, c.pkg.Source, ready)
		if task.HasErrors(findings) {
			return task.ImageFacts{}, &task.Error{Code: task.CodePackage, Message: "the image does not fit the package", Findings: findings}
		}
		if t != nil {
			c.pkg.Task = t
		}
	}
	return ready.Facts(), nil
}

// general tells what no pair of contracts carries over.
func (c *conversion) general(facts task.ImageFacts) {
	if c.task.FreeEnv {
		c.lost(task.SeverityNote, "env", "", "environment variables of the caller's choice cannot be given")
	}
	if src := c.task.Image; src.Kind != task.ImageBuild {
		c.lost(task.SeverityNote, "image", "push it to a registry that the platform reaches, and name it there", "the Dockerfile starts from the image %s", facts.Reference)
	}
	if c.task.Exchange == task.HTTP && c.front.Server == nil {
		c.lost(task.SeverityNote, "service", "", "each run starts the server for one request, and ends it")
	}
	if c.task.Exchange == task.Files && c.front.Server != nil {
		c.lost(task.SeverityNote, "service", "", "each request is a run of the program; requests wait for one another")
	}
	c.ports(c.task, facts, "let the server listen on another port")
	for _, e := range c.earlier {
		c.ports(e.Task, e.Image, "convert the "+e.Task.Contract+" package that this one was made of")
	}
	for _, s := range c.front.Outputs {
		if c.front.Server != nil && slices.Contains(c.varying, s.Source) {
			c.lost(task.SeverityWarning, "varying", "where it does, leave it out: --outputs with the names of the others", "the output %s may differ from run to run, and the example promises one answer with all outputs", s.Source)
		}
	}
}

// ports finds a server that wants the port which the front must have.
func (c *conversion) ports(t *task.Task, facts task.ImageFacts, mend string) {
	if t.Exchange != task.HTTP || c.front.Server == nil {
		return
	}
	source, err := Contract(t.Contract)
	if err != nil {
		return
	}
	v, err := task.Bind(t, task.Request{Body: &task.Body{Text: "{}"}})
	if err != nil {
		return
	}
	x, err := source.Prepare(t, facts, v)
	if err != nil || x.HTTP == nil {
		return
	}
	for _, p := range x.HTTP.Ports {
		if p.Number == c.front.Server.Port {
			c.lost(task.SeverityError, "port", mend, "the server may listen on port %d (%s), where a %s task must listen itself", p.Number, p.Why, c.opts.To)
		}
	}
}

// example makes the new package's example of the caller's inputs, or of the source's own example.
func (c *conversion) example(ctx context.Context) (*contract.FrontExample, error) {
	places := c.front.Example
	req, name, err := c.request()
	if err != nil || req == nil {
		return nil, err
	}
	v, err := task.Bind(c.task, fileRequest(c.task, *req))
	if err != nil {
		return nil, err
	}
	c.result.Example = name
	ex := &contract.FrontExample{}
	in := filepath.Join(c.dir, filepath.FromSlash(places.Inputs))
	if c.front.Server == nil {
		ex, err = front.PlaceInputs(c.front, v, in)
	} else {
		var body []byte
		if body, err = front.InputBody(c.front, v); err == nil {
			err = os.WriteFile(in, body, 0o644)
		}
	}
	if err != nil {
		return nil, task.Errorf(task.ReasonInput, "the example cannot be written: %w", err)
	}
	return ex, c.runExample(ctx, *req)
}

// fileRequest is a request without what has no place in a converted package.
func fileRequest(t *task.Task, r task.Request) task.Request {
	if t.Exchange == task.Files {
		r.Body = nil
	}
	return r
}

// runExample runs the source once and writes what it gives as what the new package promises.
func (c *conversion) runExample(ctx context.Context, req task.Request) error {
	places := c.front.Example
	out := filepath.Join(c.dir, filepath.FromSlash(places.Outputs))
	if c.opts.NoRun {
		c.lost(task.SeverityWarning, "example", "convert without --no-run", "the example was not run, so that the new package promises no outputs")
		if c.front.Server != nil && places.Outputs != "" {
			return os.WriteFile(out, nil, 0o644)
		}
		return nil
	}
	job := c.opts.Job(req)
	job.Use = func(res *task.Result, dir string) error {
		switch {
		case places.Outputs == "":
			return nil
		case c.front.Server == nil:
			return front.PlaceOutputs(c.front, res, dir, out, c.varying)
		}
		_, body, err := front.OutputBody(c.front, res, dir)
		if err != nil {
			return err
		}
		return os.WriteFile(out, body, 0o644)
	}
	res, err := c.app.Dispatcher().Run(ctx, job)
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	if f := res.Failure; f != nil {
		return (&task.Error{Code: f.Reason, Message: "the run for the example failed: " + f.Message, Findings: f.Findings}).
			WithHint("mend the package or its inputs; --no-run converts it without a run")
	}
	return nil
}

// request is what the example is made of; nil when there is nothing.
func (c *conversion) request() (*task.Request, string, error) {
	if c.opts.Request != nil {
		return c.opts.Request, "given inputs", nil
	}
	why := "the package has no example of its own"
	if x, ok := c.pkg.Contract.(contract.Exampler); ok {
		examples, err := x.Examples(c.pkg.Source, c.pkg.Task)
		if err != nil {
			return nil, "", err
		}
		for _, e := range examples {
			switch {
			case e.Variant != "" && e.Variant != c.pkg.Task.Variant:
			case e.Skip != "":
				why = "the example " + e.Name + " cannot be run: " + e.Skip
			case len(e.From) > 0:
				why = "the example " + e.Name + " needs the outputs of others"
			case e.Request.Words != nil:
				why = "the example " + e.Name + " has a command line of its own"
			default:
				return &e.Request, e.Name, nil
			}
		}
	}
	if _, err := task.Bind(c.task, task.Request{}); err == nil && c.task.Exchange == task.Files {
		return &task.Request{}, "defaults", nil
	}
	c.lost(task.SeverityWarning, "example", "give its inputs to convert, with -i or -d", "%s, so that the new package has none", why)
	return nil, "", nil
}

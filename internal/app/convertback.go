package app

import (
	"context"
	"path/filepath"

	"longshore/internal/contract"
	"longshore/internal/convert"
	"longshore/internal/task"
)

// back takes the package out again that a converted one was made of, when the target is its contract and it still has all
// that a package of it needs. It tells whether it did.
func (c *conversion) back(ctx context.Context, target contract.Contract) (bool, error) {
	src := c.pkg.Source
	if src.Dir == "" || c.opts.Request != nil || c.opts.Outputs != nil {
		return false, nil
	}
	for _, e := range c.earlier {
		dir := filepath.Join(src.Dir, filepath.FromSlash(e.Folder))
		if e.Task.Contract != target.Name() || !c.complete(ctx, target, dir) {
			continue
		}
		c.lost(task.SeverityNote, "same", "", "it was made of a %s package, which is taken out as it was: what was changed around it since is not in it", c.opts.To)
		return true, convert.CopyFolder(dir, c.dir)
	}
	return false, nil
}

// complete tells whether a folder is a valid package with an example: what a build does not need may be missing.
func (c *conversion) complete(ctx context.Context, target contract.Contract, dir string) bool {
	p, err := c.app.Open(ctx, dir, OpenOptions{Contract: target.Name()})
	if err != nil {
		return false
	}
	defer p.Close()
	if p.Valid() != nil {
		return false
	}
	x, ok := target.(contract.Exampler)
	if !ok {
		return true
	}
	examples, err := x.Examples(p.Source, p.Task)
	return err == nil && len(examples) > 0
}

// warned adds what the target's own rules have to say about the new package.
func (c *conversion) warned(ctx context.Context, target contract.Contract) error {
	p, err := c.app.Open(ctx, c.dir, OpenOptions{Contract: target.Name()})
	if err != nil {
		return err
	}
	defer p.Close()
	for _, f := range p.Findings {
		if f.Severity != task.SeverityNote {
			c.result.Findings = append(c.result.Findings, f)
		}
	}
	return nil
}

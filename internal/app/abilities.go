package app

import (
	"fmt"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// able refuses options that the package's contract has no use for.
func (p *Package) able() error {
	refuse := func(flag string, able func(contract.Contract) bool) error {
		var names []string
		for _, c := range contracts() {
			if able(c) {
				names = append(names, c.Name())
			}
		}
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s is no option for %s packages", flag, p.Contract.Name())}).
			WithHint("it is for: %s", strings.Join(names, ", "))
	}
	o := p.opts
	modes, _ := p.Contract.(contract.CompatModes)
	switch {
	case o.Legacy && !can[contract.LegacyLayout](p.Contract):
		return refuse("--legacy", can[contract.LegacyLayout])
	case o.Compat != "" && modes == nil:
		return refuse("--compat", can[contract.CompatModes])
	case o.Compat != "" && !slices.Contains(modes.CompatModes(), o.Compat):
		return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("--compat %s is not known to %s", o.Compat, p.Contract.Name())}).
			WithHint("it is one of: %s", strings.Join(modes.CompatModes(), ", "))
	case len(o.Variables) > 0 && !can[contract.TemplateReader](p.Contract):
		return refuse("--var", can[contract.TemplateReader])
	}
	return nil
}

// complete takes what a task lacks from its image, if that is in the local store. Else the run does so, once it has the image.
func (p *Package) complete(a *App) {
	c, ok := p.Contract.(contract.ImageDescribed)
	if !ok || p.Task == nil || task.HasErrors(p.Findings) || p.Task.Image.Kind != task.ImageReference || !c.NeedsImage(p.Task) {
		return
	}
	store, err := a.Images()
	if err != nil {
		return
	}
	img, err := store.Resolve(p.Task.Image.Name)
	if err != nil {
		return
	}
	t, findings := c.CheckImage(p.Task, p.Source, readyImage{img: img})
	p.Task, p.Findings = t, append(p.Findings, findings...)
}

// CompatModes lists, by contract, the platforms' own runners whose reading can be asked for.
func CompatModes() string {
	var all []string
	for _, c := range contracts() {
		if m, ok := c.(contract.CompatModes); ok {
			all = append(all, c.Name()+": "+strings.Join(m.CompatModes(), ", "))
		}
	}
	return strings.Join(all, "; ")
}

// LegacyLayouts says, by contract, what the layout of older releases changes.
func LegacyLayouts() string {
	var all []string
	for _, c := range contracts() {
		if l, ok := c.(contract.LegacyLayout); ok {
			all = append(all, c.Name()+": "+l.LegacyLayout())
		}
	}
	return strings.Join(all, "; ")
}

// can tells whether a contract has an optional ability.
func can[Ability any](c contract.Contract) bool {
	_, ok := c.(Ability)
	return ok
}

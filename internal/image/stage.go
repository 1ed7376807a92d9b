package image

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// scratch is the name of the empty base image.
const scratchImage = "scratch"

// stage builds a stage and, before it, those it needs. Each is built once.
func (b *builder) stage(ctx context.Context, index int) (*state, error) {
	if st, ok := b.states[index]; ok {
		return st, nil
	}
	def := b.plan.stages[index]
	st := &state{name: b.plan.label(index), index: index}
	commands, err := b.from(ctx, st, def)
	if err != nil {
		return nil, b.fail(placeOf(def.Location, def.SourceCode), err)
	}
	for _, c := range commands {
		if countsAsStep(c) {
			st.total++
		}
	}
	for _, c := range commands {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		st.ordinal++
		if err := b.instruction(ctx, st, c); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, b.fail(placeOf(c.Location(), fmt.Sprint(c)), err)
		}
	}
	b.states[index] = st
	return st, nil
}

func countsAsStep(c instructions.Command) bool {
	switch c.(type) {
	case *instructions.RunCommand, *instructions.CopyCommand, *instructions.AddCommand, *instructions.WorkdirCommand:
		return true
	}
	return false
}

// from sets a stage's beginning and returns its instructions, those that its base image triggers first.
func (b *builder) from(ctx context.Context, st *state, def instructions.Stage) ([]instructions.Command, error) {
	st.config = configFile{OS: b.platform.OS, Architecture: b.platform.Architecture, Variant: b.platform.Variant}
	st.config.Config.WorkingDir = "/"
	st.last = time.Unix(0, 0)
	parent, isStage := b.plan.stageByName(def.BaseName, st.index)
	switch {
	case isStage:
		base, err := b.stage(ctx, parent)
		if err != nil {
			return nil, err
		}
		st.layers = slices.Clone(base.layers)
		st.config = base.config.clone()
		st.last = base.last
	case def.BaseName != scratchImage:
		st.total++
		st.step++
		event := Event{Kind: EventStep, Step: 1, Total: 1 + countSteps(def.Commands), Stage: st.name, Line: placeOf(def.Location, "").line, Text: shortText(def.SourceCode)}
		if _, err := b.store.Resolve(def.BaseName); err == nil && !b.opts.Pull {
			event.Cached = true
		} else {
			event.Why = "not here: it is fetched"
		}
		b.opts.Progress.send(event)
		img, err := b.baseImage(ctx, def.BaseName)
		if err != nil {
			return nil, b.perhapsStage(def.BaseName, st.index, err)
		}
		raw, err := img.RawConfig()
		if err != nil {
			return nil, err
		}
		cfg, err := parseConfig(img.Name(), raw)
		if err != nil {
			return nil, err
		}
		st.config, st.layers = *cfg, slices.Clone(img.rec.Layers)
		if cfg.Created != nil {
			st.last = *cfg.Created
		}
	}
	// As BuildKit does, for images from scratch too: commands are found then, whoever runs the image.
	if _, ok := shell.EnvsFromSlice(st.config.Config.Env).Get("PATH"); !ok {
		st.config.Config.Env = append(slices.Clone(st.config.Config.Env), defaultPath)
	}
	st.env = slices.Clone(st.config.Config.Env)
	return b.withTriggers(st, def.Commands)
}

func countSteps(commands []instructions.Command) int {
	n := 0
	for _, c := range commands {
		if countsAsStep(c) {
			n++
		}
	}
	return n
}

// clone copies a configuration so deep that changing the copy leaves the original alone.
func (c configFile) clone() configFile {
	c.History = slices.Clone(c.History)
	c.Config.Env = slices.Clone(c.Config.Env)
	c.Config.OnBuild = slices.Clone(c.Config.OnBuild)
	c.Config.Labels = maps.Clone(c.Config.Labels)
	c.Config.Volumes = maps.Clone(c.Config.Volumes)
	c.Config.ExposedPorts = maps.Clone(c.Config.ExposedPorts)
	return c
}

// baseImage finds or fetches an image a stage begins with or copies from.
func (b *builder) baseImage(ctx context.Context, name string) (*Image, error) {
	if slices.ContainsFunc(b.opts.LocalBases, func(start string) bool { return strings.HasPrefix(name, start) }) {
		img, err := b.store.Resolve(name)
		if KindOf(err) == KindNotFound {
			err = &Error{Kind: KindNotFound, What: "base image " + name, Why: "not in the local store, and such images are in no registry", Hint: "build that image, or import it, under this name first", Err: err}
		}
		return img, err
	}
	if b.opts.Pull {
		if img, err := b.store.Pull(ctx, name, PullOptions{Platform: b.platform, Progress: b.opts.Progress}); err == nil || KindOf(err) != KindNetwork {
			return img, err
		}
	}
	return b.store.Ensure(ctx, name, b.platform, b.opts.Progress)
}

// perhapsStage adds to the error about an image, which could not be had, what stage its name may mean.
func (b *builder) perhapsStage(name string, index int, err error) error {
	var names []string
	for i, st := range b.plan.stages {
		switch {
		case st.Name == "":
		case !strings.EqualFold(st.Name, name):
			names = append(names, st.Name)
		case i == index:
			return &BuildError{File: b.plan.name, Err: err, Hint: "stage " + st.Name + " cannot begin with itself: name an image, or another stage"}
		default:
			return &BuildError{File: b.plan.name, Err: err, Hint: fmt.Sprintf("stage %s comes later, at line %d, and a stage sees only those before it: move it up", st.Name, placeOf(st.Location, "").line)}
		}
	}
	if best := nearest(strings.ToLower(name), names); best != "" {
		return &BuildError{File: b.plan.name, Err: err, Hint: "did you mean stage " + best + "?"}
	}
	return err
}

// withTriggers puts the ONBUILD instructions of the base before the stage's own.
func (b *builder) withTriggers(st *state, own []instructions.Command) ([]instructions.Command, error) {
	triggers := st.config.Config.OnBuild
	st.config.Config.OnBuild = nil
	var out []instructions.Command
	for _, text := range triggers {
		ast, err := parser.Parse(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("ONBUILD %s: %w", text, err)
		}
		for _, n := range ast.AST.Children {
			c, err := instructions.ParseCommand(n)
			if err != nil {
				return nil, fmt.Errorf("ONBUILD %s: %w", text, err)
			}
			switch c.(type) {
			case *instructions.OnbuildCommand, *instructions.MaintainerCommand:
				return nil, fmt.Errorf("ONBUILD %s: not allowed as a trigger", text)
			}
			out = append(out, c)
		}
	}
	return append(out, own...), nil
}

// instruction executes one instruction of a stage.
func (b *builder) instruction(ctx context.Context, st *state, c instructions.Command) error {
	c, err := b.expanded(st, c)
	if err != nil {
		return err
	}
	cfg := &st.config.Config
	switch c := c.(type) {
	case *instructions.RunCommand:
		return b.run(ctx, st, c)
	case *instructions.CopyCommand:
		return b.copy(ctx, st, c)
	case *instructions.AddCommand:
		return b.add(ctx, st, c)
	case *instructions.WorkdirCommand:
		return b.setWorkdir(ctx, st, c)
	case *instructions.ArgCommand:
		return b.arg(st, c)
	case *instructions.EnvCommand:
		text := "ENV"
		for _, kv := range c.Env {
			cfg.Env = setEnv(cfg.Env, kv.Key, kv.Value)
			st.env = setEnv(st.env, kv.Key, kv.Value)
			text += " " + kv.Key + "=" + kv.Value
		}
		b.record(st, text, true)
		return nil
	case *instructions.LabelCommand:
		if cfg.Labels == nil {
			cfg.Labels = map[string]string{}
		}
		text := "LABEL"
		for _, kv := range c.Labels {
			cfg.Labels[kv.Key] = kv.Value
			text += " " + kv.Key + "=" + kv.Value
		}
		b.record(st, text, true)
		return nil
	case *instructions.ExposeCommand:
		return b.expose(st, c)
	case *instructions.VolumeCommand:
		if cfg.Volumes == nil {
			cfg.Volumes = map[string]struct{}{}
		}
		for _, v := range c.Volumes {
			if v == "" {
				return &Error{Kind: KindInvalid, What: "volume", Why: "its path is empty"}
			}
			cfg.Volumes[v] = struct{}{}
		}
		b.record(st, fmt.Sprintf("VOLUME %v", c.Volumes), true)
		return nil
	}
	return b.metadata(st, c)
}

// metadata executes the instructions that only set one thing in the configuration.
func (b *builder) metadata(st *state, c instructions.Command) error {
	cfg := &st.config.Config
	switch c := c.(type) {
	case *instructions.CmdCommand:
		st.cmdSet = true
		cfg.Cmd, cfg.ArgsEscaped = b.commandLine(st, c.ShellDependantCmdLine), true // as BuildKit says of both forms
		b.record(st, fmt.Sprintf("CMD %q", cfg.Cmd), true)
	case *instructions.EntrypointCommand:
		cfg.Entrypoint = b.commandLine(st, c.ShellDependantCmdLine)
		if !st.cmdSet {
			cfg.Cmd = nil // the base's CMD was meant for its own entrypoint
		}
		b.record(st, fmt.Sprintf("ENTRYPOINT %q", cfg.Entrypoint), true)
	case *instructions.UserCommand:
		cfg.User = c.User
		b.record(st, "USER "+c.User, true)
	case *instructions.ShellCommand:
		cfg.Shell = c.Shell
		b.record(st, fmt.Sprintf("SHELL %v", c.Shell), true)
	case *instructions.StopSignalCommand:
		cfg.StopSignal = c.Signal
		b.record(st, "STOPSIGNAL "+c.Signal, true)
	case *instructions.HealthCheckCommand:
		h := c.Health
		cfg.Healthcheck = &configHealth{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries}
		b.record(st, fmt.Sprintf("HEALTHCHECK %q", h.Test), true)
	case *instructions.OnbuildCommand:
		cfg.OnBuild = append(slices.Clone(cfg.OnBuild), c.Expression)
		b.record(st, "ONBUILD "+c.Expression, true)
	case *instructions.MaintainerCommand:
		st.config.Author = c.Maintainer
		b.record(st, "MAINTAINER "+c.Maintainer, true)
	default:
		return &Error{Kind: KindUnsupported, What: c.Name(), Why: "this instruction is not supported"}
	}
	return nil
}

// commandLine is a command with the shell before it where the shell form was used.
func (b *builder) commandLine(st *state, c instructions.ShellDependantCmdLine) []string {
	if !c.PrependShell {
		return c.CmdLine
	}
	return append(st.shell(), strings.Join(c.CmdLine, " "))
}

func (st *state) shell() []string {
	if len(st.config.Config.Shell) > 0 {
		return slices.Clone(st.config.Config.Shell)
	}
	return []string{"/bin/sh", "-c"}
}

// expanded returns the instruction with its variables replaced. The parsed one stays as it is, because a stage's
// definition is used again for messages.
func (b *builder) expanded(st *state, c instructions.Command) (instructions.Command, error) {
	if _, ok := c.(*instructions.ArgCommand); ok {
		return c, nil // a default counts only without the caller's value, and sees the arguments before it
	}
	c = copyCommand(c)
	lex := shell.NewLex(b.plan.escape)
	env := shell.EnvsFromSlice(st.env)
	if ex, ok := c.(instructions.SupportsSingleWordExpansion); ok {
		err := ex.Expand(func(word string) (string, error) {
			out, _, err := lex.ProcessWord(word, env)
			return out, err
		})
		if err != nil {
			return nil, err
		}
	}
	if ex, ok := c.(instructions.SupportsSingleWordExpansionRaw); ok {
		raw := shell.NewLex('\\')
		raw.SkipProcessQuotes = true
		err := ex.ExpandRaw(func(word string) (string, error) {
			out, _, err := raw.ProcessWord(word, env)
			return out, err
		})
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// copyCommand copies what expansion writes to.
func copyCommand(c instructions.Command) instructions.Command {
	sources := func(s instructions.SourcesAndDest) instructions.SourcesAndDest {
		s.SourcePaths, s.SourceContents = slices.Clone(s.SourcePaths), slices.Clone(s.SourceContents)
		return s
	}
	switch c := c.(type) {
	case *instructions.CopyCommand:
		d := *c
		d.SourcesAndDest, d.ExcludePatterns = sources(c.SourcesAndDest), slices.Clone(c.ExcludePatterns)
		return &d
	case *instructions.AddCommand:
		d := *c
		d.SourcesAndDest, d.ExcludePatterns = sources(c.SourcesAndDest), slices.Clone(c.ExcludePatterns)
		return &d
	case *instructions.EnvCommand:
		d := *c
		d.Env = slices.Clone(c.Env)
		return &d
	case *instructions.LabelCommand:
		d := *c
		d.Labels = slices.Clone(c.Labels)
		return &d
	case *instructions.VolumeCommand:
		d := *c
		d.Volumes = slices.Clone(c.Volumes)
		return &d
	case *instructions.WorkdirCommand:
		d := *c
		return &d
	case *instructions.UserCommand:
		d := *c
		return &d
	case *instructions.StopSignalCommand:
		d := *c
		return &d
	}
	return c
}

// arg declares arguments: the caller's value goes first, then the default, then the value before the first FROM.
func (b *builder) arg(st *state, c *instructions.ArgCommand) error {
	text := "ARG"
	for _, a := range c.Args {
		v := argValue{name: a.Key}
		if value, ok := b.opts.Args[a.Key]; ok {
			v.value, v.set = value, true
		} else if a.Value != nil {
			value, _, err := shell.NewLex(b.plan.escape).ProcessWord(*a.Value, shell.EnvsFromSlice(st.env))
			if err != nil {
				return err
			}
			v.value, v.set = value, true
		} else if value, ok := b.plan.globalValue(a.Key); ok {
			v.value, v.set = value, true
		}
		st.args = slices.DeleteFunc(slices.Clone(st.args), func(o argValue) bool { return o.name == v.name })
		st.args = append(st.args, v)
		text += " " + a.Key
		if v.set {
			st.env = setEnv(st.env, v.name, v.value)
			text += "=" + v.value
		}
	}
	b.record(st, text, true)
	return nil
}

// expose adds ports, written "80", "80/udp" or "7000-7010/tcp".
func (b *builder) expose(st *state, c *instructions.ExposeCommand) error {
	var all []string
	for _, word := range c.Ports {
		words, err := shell.NewLex(b.plan.escape).ProcessWords(word, shell.EnvsFromSlice(st.env))
		if err != nil {
			return err
		}
		for _, w := range words {
			ports, err := parsePorts(w)
			if err != nil {
				return err
			}
			all = append(all, ports...)
		}
	}
	if st.config.Config.ExposedPorts == nil {
		st.config.Config.ExposedPorts = map[string]struct{}{}
	}
	for _, p := range all {
		st.config.Config.ExposedPorts[p] = struct{}{}
	}
	sort.Strings(all)
	b.record(st, fmt.Sprintf("EXPOSE %v", all), true)
	return nil
}

func parsePorts(word string) ([]string, error) {
	bad := &Error{Kind: KindInvalid, What: "port " + quoteText(word), Why: "not a port from 1 to 65535", Hint: "write it as 8080, 8080/udp or 7000-7010"}
	ports, proto, ok := strings.Cut(word, "/")
	if !ok {
		proto = "tcp"
	}
	proto = strings.ToLower(proto)
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return nil, bad
	}
	// A host's address and port may stand before a colon; they mean nothing in an image.
	ports = ports[strings.LastIndexByte(ports, ':')+1:]
	first, last, ok := strings.Cut(ports, "-")
	if !ok {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || from > to {
		return nil, bad
	}
	var out []string
	for p := from; p <= to; p++ {
		out = append(out, strconv.FormatUint(p, 10)+"/"+proto)
	}
	return out, nil
}

// setWorkdir sets the working directory, and makes it, for the user that the commands after it run as: as BuildKit does.
func (b *builder) setWorkdir(ctx context.Context, st *state, c *instructions.WorkdirCommand) error {
	dir := path.Clean(st.absolute(c.Path))
	o, err := b.userOwner(st)
	if err != nil {
		return err
	}
	key := inputs{{"chain", st.chain()}, {"instruction", "WORKDIR " + dir}, {"owner", fmt.Sprint(o)}}
	err = b.cachedStep(ctx, st, c, "WORKDIR "+dir, key, func(u *upper) error {
		return u.makeDirs(dir, 0o755, o, b.madeTime(time.Time{}))
	})
	st.config.Config.WorkingDir = dir
	return err
}

// userOwner is who the stage's USER is. A name that the image does not know yet is taken for root.
func (b *builder) userOwner(st *state) (owner, error) {
	user := st.config.Config.User
	if user == "" {
		return owner{}, nil
	}
	dirs, err := b.dirs(st)
	if err != nil {
		return owner{}, err
	}
	o, err := lookupOwner(b.store.view(dirs), user)
	if KindOf(err) == KindNotFound {
		return owner{}, nil
	}
	return owner{uid: o.uid, gid: o.gid}, err
}

// madeTime is the time of folders that a build makes without a model. It is fixed, so that equal builds are equal.
func (b *builder) madeTime(t time.Time) time.Time {
	if b.opts.SourceDateEpoch != nil {
		return *b.opts.SourceDateEpoch
	}
	if t.IsZero() {
		// Not 1970, because ZIP archives cannot tell times before 1980.
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return t
}

package image

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// dockerfile is a parsed Dockerfile, with the arguments before its first FROM resolved.
type dockerfile struct {
	name   string
	escape rune
	stages []instructions.Stage
	// global are the arguments that FROM lines and, by name, stages may use.
	global []string
	// buildArgs are the caller's.
	buildArgs map[string]string
	// warnings are the parser's.
	warnings []string
}

// place is where an instruction stands.
type place struct {
	line int
	text string
}

func placeOf(locations []parser.Range, text string) place {
	p := place{text: text}
	if len(locations) > 0 {
		p.line = locations[0].Start.Line
	}
	return p
}

func (d *dockerfile) fail(at place, err error) error {
	var be *BuildError
	if errors.As(err, &be) {
		if be.Line == 0 && be.Instruction == "" {
			be.Line, be.Instruction = at.line, shortText(at.text)
		}
		return err
	}
	out := &BuildError{File: d.name, Line: at.line, Instruction: shortText(at.text), Err: err}
	return out
}

// parseDockerfile reads a Dockerfile. Errors are *BuildError with the line.
func parseDockerfile(name string, text []byte, platform Platform, args map[string]string) (*dockerfile, error) {
	d := &dockerfile{name: name, buildArgs: args}
	result, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, d.parseError(err)
	}
	d.escape = result.EscapeToken
	for _, w := range result.Warnings {
		line := 0
		if w.Location != nil {
			line = w.Location.Start.Line
		}
		d.warnings = append(d.warnings, fmt.Sprintf("%s:%d: %s", name, line, w.Short))
	}
	stages, global, err := instructions.Parse(result.AST, nil)
	if err != nil {
		return nil, d.parseError(err)
	}
	if len(stages) == 0 {
		return nil, &BuildError{File: name, Err: errors.New("it has no FROM instruction"), Hint: "begin with a line FROM image"}
	}
	d.stages = stages
	return d, d.resolveGlobal(global, platform)
}

var linePattern = regexp.MustCompile(`line (\d+)`)

// parseError gives the borrowed parser's errors their line, and a suggestion for a misspelt instruction.
func (d *dockerfile) parseError(err error) error {
	out := &BuildError{File: d.name, Err: err}
	var unknown *instructions.UnknownInstructionError
	if errors.As(err, &unknown) {
		out.Line = unknown.Line
		out.Err = &Error{Kind: KindInvalid, What: "unknown instruction " + strings.ToUpper(unknown.Instruction), Err: unknown}
		out.Err.(*Error).Why = "Dockerfiles have none of that name"
		if best := nearest(strings.ToLower(unknown.Instruction), slices.Sorted(maps.Keys(command.Commands))); best != "" {
			out.Hint = "did you mean " + strings.ToUpper(best) + "?"
		}
	}
	var loc *parser.LocationError
	if errors.As(err, &loc) && out.Line == 0 && len(loc.Locations) > 0 && len(loc.Locations[0]) > 0 {
		out.Line = loc.Locations[0][0].Start.Line
	}
	if m := linePattern.FindStringSubmatch(err.Error()); out.Line == 0 && m != nil {
		out.Line, _ = strconv.Atoi(m[1])
	}
	return out
}

// resolveGlobal sets the arguments before the first FROM, later ones seeing earlier ones.
func (d *dockerfile) resolveGlobal(args []instructions.ArgCommand, platform Platform) error {
	d.global = platformArgs(platform)
	for _, k := range []string{"TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT", "BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT"} {
		if v, ok := d.buildArgs[k]; ok {
			d.global = setEnv(d.global, k, v)
		}
	}
	for _, c := range args {
		for _, a := range c.Args {
			value := a.Value
			if v, ok := d.buildArgs[a.Key]; ok {
				value = &v
			} else if value != nil {
				v, err := d.expandGlobal(*value)
				if err != nil {
					return d.fail(placeOf(c.Location(), c.String()), err)
				}
				value = &v
			}
			if value != nil {
				d.global = setEnv(d.global, a.Key, *value)
			}
		}
	}
	for i := range d.stages {
		st := &d.stages[i]
		at := placeOf(st.Location, st.SourceCode)
		base, err := d.expandGlobal(st.BaseName)
		if err != nil {
			return d.fail(at, err)
		}
		if base == "" {
			return d.fail(at, &Error{Kind: KindInvalid, What: "base image " + st.BaseName, Why: "empty once its variables are replaced", Hint: "give the ARG before FROM a value, or pass it as a build argument"})
		}
		st.BaseName = base
		if st.Platform == "" {
			continue
		}
		text, err := d.expandGlobal(st.Platform)
		if err != nil {
			return d.fail(at, err)
		}
		p, err := ParsePlatform(text)
		if err != nil {
			return d.fail(at, err)
		}
		if !p.runs(platform) {
			return d.fail(at, wrongArchitecture("FROM --platform", p, platform))
		}
		st.Platform = text
	}
	return nil
}

func (d *dockerfile) expandGlobal(word string) (string, error) {
	out, _, err := shell.NewLex(d.escape).ProcessWord(word, shell.EnvsFromSlice(d.global))
	return out, err
}

func (d *dockerfile) globalValue(name string) (string, bool) {
	return shell.EnvsFromSlice(d.global).Get(name)
}

// platformArgs are the arguments that every Dockerfile may use without setting them.
func platformArgs(p Platform) []string {
	this := ThisPlatform()
	return []string{
		"TARGETPLATFORM=" + p.String(), "TARGETOS=" + p.OS, "TARGETARCH=" + p.Architecture, "TARGETVARIANT=" + p.Variant,
		"BUILDPLATFORM=" + this.String(), "BUILDOS=" + this.OS, "BUILDARCH=" + this.Architecture, "BUILDVARIANT=" + this.Variant,
	}
}

// isProxyArg tells whether a build argument reaches RUN without an ARG instruction, as Docker has it. Such arguments
// are part of neither the cache nor the history.
func isProxyArg(name string) bool {
	switch strings.ToUpper(name) {
	case "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY":
		return name == strings.ToUpper(name) || name == strings.ToLower(name)
	}
	return false
}

// target finds the stage to build.
func (d *dockerfile) target(name string) (int, error) {
	if name == "" {
		return len(d.stages) - 1, nil
	}
	if i, ok := d.stageIndex(name, len(d.stages)); ok {
		return i, nil
	}
	e := &BuildError{File: d.name, Err: &Error{Kind: KindNotFound, What: "stage " + name, Why: "the Dockerfile has none of that name"}}
	var names []string
	for _, st := range d.stages {
		if st.Name != "" {
			names = append(names, st.Name)
		}
	}
	if best := nearest(strings.ToLower(name), names); best != "" {
		e.Hint = "did you mean " + best + "?"
	} else if len(names) > 0 {
		e.Hint = "its stages are " + strings.Join(names, ", ")
	}
	return 0, e
}

// stageIndex finds a stage before the given one, by name or number.
func (d *dockerfile) stageIndex(name string, before int) (int, bool) {
	if i, ok := d.stageByName(name, before); ok {
		return i, true
	}
	i, err := strconv.Atoi(name)
	if err != nil || i < 0 || i >= before {
		return 0, false
	}
	return i, true
}

// stageByName finds the newest stage of a name before the given one: names may be used again.
func (d *dockerfile) stageByName(name string, before int) (int, bool) {
	for i := before - 1; i >= 0; i-- {
		if d.stages[i].Name != "" && strings.EqualFold(d.stages[i].Name, name) {
			return i, true
		}
	}
	return 0, false
}

// imageNames lists what stages begin with, copy from and mount, in order. Names of stages may be among them.
func (d *dockerfile) imageNames() []string {
	var names []string
	for _, st := range d.stages {
		names = append(names, st.BaseName)
		for _, c := range st.Commands {
			switch c := c.(type) {
			case *instructions.CopyCommand:
				names = append(names, c.From)
			case *instructions.RunCommand:
				for _, m := range instructions.GetMounts(c) {
					names = append(names, m.From)
				}
			}
		}
	}
	return names
}

// label names a stage in the log.
func (d *dockerfile) label(i int) string {
	if n := d.stages[i].Name; n != "" {
		return n
	}
	return fmt.Sprintf("stage-%d", i)
}

// nearest returns the word of a list that a misspelt one most likely means, or "".
func nearest(word string, list []string) string {
	best, bestDist := "", max(2, len(word)/3)+1
	sorted := append([]string(nil), list...)
	sort.Strings(sorted)
	for _, c := range sorted {
		if d := editDistance(word, strings.ToLower(c)); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 1 << 20
	}
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur := make([]int, len(b)+1)
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
		}
		prev = cur
	}
	return prev[len(b)]
}

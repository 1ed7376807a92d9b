package contract

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"longshore/internal/task"
)

// Recipe is what a contract may want to know of a Dockerfile without building it.
type Recipe struct {
	Stages []RecipeStage
}

// RecipeStage is one FROM and what follows it.
type RecipeStage struct {
	// Name is the "AS name" in lower case, or "". Base is the image or stage named by FROM, unexpanded.
	Name, Base string
	Line       int
	// FromStage tells that Base names an earlier stage of the same file.
	FromStage bool
	Copies    []RecipeCopy
	// Runs are the texts of RUN, with their here-documents.
	Runs []string
	// Exposed are the words after EXPOSE, such as "8080/tcp", unexpanded.
	Exposed []string
	// Workdir, User, Entrypoint and Cmd are as last written; the latter two are nil when absent, and else in their lines.
	Workdir, User           string
	Entrypoint, Cmd         []string
	EntrypointLine, CmdLine int

	// within is the working directory so far.
	within string
}

// RecipeCopy is one COPY or ADD of files.
type RecipeCopy struct {
	Line int
	Add  bool
	// From is the "--from", or "" for the build context. Sources are unexpanded; here-documents are left out.
	From    string
	Sources []string
	Dest    string
	// Workdir is the working directory that a relative Dest is in, "" when no WORKDIR stands before it.
	Workdir string
}

// Final returns the last stage, or nil.
func (r *Recipe) Final() *RecipeStage {
	if len(r.Stages) == 0 {
		return nil
	}
	return &r.Stages[len(r.Stages)-1]
}

// maxRecipe bounds a Dockerfile: the parser takes seconds for a MiB of short lines.
const maxRecipe = 1 << 20

// fromLine is an instruction that begins a stage.
var fromLine = regexp.MustCompile(`(?im)^[ \t]*FROM[ \t]`)

// ParseRecipe parses a Dockerfile of at most 1 MiB. Errors are *SyntaxError.
func ParseRecipe(data []byte) (*Recipe, error) {
	if len(data) > maxRecipe {
		return nil, &SyntaxError{Line: 1, Column: 1, Reason: fmt.Sprintf("it has %s, more than %s", task.Bytes(len(data)), task.Bytes(maxRecipe))}
	}
	res, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, recipeError(data, err)
	}
	stages, _, err := instructions.Parse(res.AST, nil)
	if err != nil {
		return nil, recipeError(data, err)
	}
	r := &Recipe{}
	names := map[string]bool{}
	for _, s := range stages {
		st := RecipeStage{Name: strings.ToLower(s.Name), Base: s.BaseName, FromStage: names[strings.ToLower(s.BaseName)]}
		if len(s.Location) > 0 {
			st.Line = s.Location[0].Start.Line
		}
		for _, c := range s.Commands {
			st.add(c)
		}
		if st.Name != "" {
			names[st.Name] = true
		}
		r.Stages = append(r.Stages, st)
	}
	return r, nil
}

func (st *RecipeStage) add(c instructions.Command) {
	line := 0
	if l := c.Location(); len(l) > 0 {
		line = l[0].Start.Line
	}
	switch c := c.(type) {
	case *instructions.CopyCommand:
		st.Copies = append(st.Copies, RecipeCopy{Line: line, From: c.From, Sources: c.SourcePaths, Dest: c.DestPath, Workdir: st.within})
	case *instructions.AddCommand:
		st.Copies = append(st.Copies, RecipeCopy{Line: line, Add: true, Sources: c.SourcePaths, Dest: c.DestPath, Workdir: st.within})
	case *instructions.RunCommand:
		text := strings.Join(c.CmdLine, " ")
		for _, f := range c.Files {
			text += "\n" + f.Data
		}
		st.Runs = append(st.Runs, text)
	case *instructions.ExposeCommand:
		st.Exposed = append(st.Exposed, c.Ports...)
	case *instructions.WorkdirCommand:
		st.Workdir = c.Path
		if path.IsAbs(c.Path) {
			st.within = path.Clean(c.Path)
		} else {
			st.within = path.Join("/", st.within, c.Path)
		}
	case *instructions.UserCommand:
		st.User = c.User
	case *instructions.EntrypointCommand:
		st.Entrypoint, st.EntrypointLine = c.CmdLine, line
	case *instructions.CmdCommand:
		st.Cmd, st.CmdLine = c.CmdLine, line
	}
}

// mendNoFrom is what to do about a Dockerfile that builds on nothing.
const mendNoFrom = "begin with FROM and the image to build on, such as FROM debian:bookworm-slim"

func recipeError(data []byte, err error) error {
	e := &SyntaxError{Line: 1, Column: 1, Reason: err.Error()}
	if !fromLine.Match(data) {
		e.Mend = mendNoFrom
	}
	var loc *parser.LocationError
	if errors.As(err, &loc) && len(loc.Locations) > 0 && len(loc.Locations[0]) > 0 {
		e.Line = max(loc.Locations[0][0].Start.Line, 1) // an empty file's is 0
		e.Source = SourceLine(data, e.Line)
		e.Reason = loc.Unwrap().Error()
	}
	return e
}

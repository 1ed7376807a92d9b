package contracts_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"longshore/internal/app/contracts"
	"longshore/internal/contract"
	"longshore/internal/task"
)

// TestFronts: whatever a task of another contract is like, the documents that show it load without an error in the target, with
// a parameter in the place of every slot.
func TestFronts(t *testing.T) {
	for _, target := range contracts.All() {
		fronter, ok := target.(contract.Fronter)
		if !ok {
			continue
		}
		for name, source := range sources() {
			t.Run(target.Name()+"/"+name, func(t *testing.T) {
				f, findings := fronter.Front(source, contract.FrontDir)
				checkFindings(t, findings)
				for _, example := range []*contract.FrontExample{nil, {Env: map[string]string{}, Given: map[string]bool{}}} {
					tree := fstest.MapFS{"Dockerfile": {Data: []byte("FROM busybox\nCOPY src/app/x /x\nCMD [\"/x\"]\n")}, "src/app/x": {Data: []byte("meca-init-done")}}
					for file, text := range fronter.Documents(source, f, example) {
						tree[file] = &fstest.MapFile{Data: []byte(text)}
					}
					if example != nil && f.Server != nil {
						tree[f.Example.Inputs], tree[f.Example.Outputs] = &fstest.MapFile{Data: []byte("{}")}, &fstest.MapFile{Data: []byte("1")}
					}
					loaded, found := target.Load(contract.Source{Given: "converted", FS: tree, Dir: t.TempDir()}, contract.Options{})
					for _, x := range found {
						if x.Severity == task.SeverityError {
							t.Errorf("%s\n%s", x, tree[x.File])
						}
					}
					if loaded != nil {
						samePlaces(t, f, loaded)
					}
				}
			})
		}
	}
}

func checkFindings(t *testing.T, findings []task.Finding) {
	t.Helper()
	for _, x := range findings {
		if !strings.HasPrefix(x.Rule, "convert-") || x.What == "" || x.Severity == "" {
			t.Errorf("finding %+v", x)
		}
	}
}

// samePlaces compares the slots of a front with the parameters of the package it was written into.
func samePlaces(t *testing.T, f contract.Front, loaded *task.Task) {
	t.Helper()
	if f.Server != nil {
		return // the one body
	}
	for d, slots := range map[task.Direction][]contract.Slot{task.Input: f.Inputs, task.Output: f.Outputs} {
		for _, s := range slots {
			p := loaded.Parameter(d, s.Name)
			switch {
			case p == nil:
				t.Errorf("there is no %s %q", d, s.Name)
			case p.Place != s.Place:
				t.Errorf("%s %s lies at %+v, the front looks at %+v", d, s.Name, p.Place, s.Place)
			case d == task.Input && s.Place.Kind != task.PlaceFolder && !(s.Place.Kind == task.PlaceFile && s.EmptyForNone()) && p.Optional != (s.Optional || s.Default != nil) && p.Default == nil:
				t.Errorf("%s %s: optional is %t, and was %t", d, s.Name, p.Optional, s.Optional)
			}
		}
	}
}

// sources are tasks that have, between them, everything that a task can have.
func sources() map[string]*task.Task {
	one, many := 1, 10
	early, late := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	types := []task.Type{
		{Kind: task.Boolean}, {Kind: task.Integer, GE: "-5", LT: "7"}, {Kind: task.Number, GT: "0.5", LE: "1.5"},
		{Kind: task.String, MinLength: &one, MaxLength: &many}, {Kind: task.Enumeration, Choices: []string{"a", "b: c", `"`}},
		{Kind: task.Datetime, After: &early, Before: &late}, {Kind: task.Geometry}, {Kind: task.Image, Formats: []string{"png"}},
		{Kind: task.FileKind}, {Kind: task.Directory}, {Kind: task.JSON},
		{Kind: task.Array, Item: &task.Type{Kind: task.Integer}, MinItems: &one, MaxItems: &many},
		{Kind: task.Array, Item: &task.Type{Kind: task.FileKind}},
		{Kind: task.Integer, Verbatim: true, AllowEmpty: true}, {Kind: task.Boolean, Verbatim: true},
	}
	all := &task.Task{Contract: "other", Name: "Größe: 3 # \"x\"\n", Version: "v1", Description: "a: b\n\"c\" # d {{ e }}", Exchange: task.Files}
	for i, ty := range types {
		for _, d := range []task.Direction{task.Input, task.Output} {
			for _, optional := range []bool{false, true} {
				all.Parameters = append(all.Parameters, task.Parameter{
					Name: fmt.Sprintf("%s %d.%t", ty.Kind, i, optional), Direction: d, Type: ty, Optional: optional, Description: "said: 'so'\n- and \\ so",
				})
			}
		}
	}
	defaults := &task.Task{Contract: "other", Name: "defaults", Version: "1.2.3", Exchange: task.Files, Network: true,
		Resources: task.Resources{CPU: 1500, Memory: 100<<20 + 1, GPUs: 2, Disk: 1 << 30, Shm: 1 << 20}}
	for text, kind := range map[string]task.Kind{"true": task.Boolean, "7": task.Integer, "0.5": task.Number, "x: y": task.String, "a": task.Enumeration, `{"a":[1]}`: task.JSON} {
		defaults.Parameters = append(defaults.Parameters, task.Parameter{
			Name: "PATH/" + string(kind), Direction: task.Input, Type: task.Type{Kind: kind, Choices: map[bool][]string{true: {"a", "b"}}[kind == task.Enumeration]},
			Default: &task.Value{Text: text}, Optional: true,
		})
	}
	defaults.Parameters = append(defaults.Parameters,
		task.Parameter{Name: "A", Direction: task.Input, Type: task.Type{Kind: task.String}, Default: &task.Value{}},
		task.Parameter{Name: "a", Direction: task.Input, Type: task.Type{Kind: task.String}},
		task.Parameter{Name: "a!", Direction: task.Input, Type: task.Type{Kind: task.String}},
		task.Parameter{Name: "0", Direction: task.Input, Type: task.Type{Kind: task.Directory}, Place: task.Place{Kind: task.PlaceFolder, Path: "/inputs/x"}},
		task.Parameter{Name: "HOME", Direction: task.Input, Type: task.Type{Kind: task.String}},
	)
	server := &task.Task{Contract: "other", Name: "x", Exchange: task.HTTP, FreeInputs: true, FreeEnv: true, Detail: json.RawMessage(`{}`),
		Parameters: []task.Parameter{{Name: "output", Direction: task.Output, Type: task.Type{Kind: task.JSON}, Place: task.Place{Kind: task.PlaceBody}}}}
	return map[string]*task.Task{"all kinds": all, "defaults": defaults, "server": server, "nothing": {Contract: "other", Exchange: task.Files}}
}

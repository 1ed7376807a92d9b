package cytomine

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// sideSuffix ends the name of a side file: beside the image or file "crop" lies "crop.geojson", the region that it was cut
// from, and beside the item 3 of an array "3.geojson" (App Engine, second part of an upload). The platform does not declare
// side files, so callers give them as inputs of their own: "crop.geojson", "crops/3.geojson".
const sideSuffix = ".geojson"

// takesSides tells whether values of the type, or their items, can have side files.
func takesSides(t task.Type) bool {
	if t.Kind == task.Array {
		return takesSides(*t.Item)
	}
	return t.Kind == task.Image || t.Kind == task.FileKind
}

// sides stages what was given beside the declared inputs: side files of images and files, and nothing else.
func (s *stager) sides(t *task.Task, v task.Values) {
	for _, f := range v.Free {
		if string(f.JSON) == "null" { // forms send null for what was left empty
			continue
		}
		base, ok := strings.CutSuffix(f.Name, sideSuffix)
		if !ok || !hasSide(t, base) {
			s.unknown(t, f.Name)
			continue
		}
		name, indexes, _ := strings.Cut(base, "/")
		given, ok := v.Inputs[name]
		if !ok || !leads(given, indexes) {
			s.problem(f.Name, problem{code: codeNoProvision, message: "not provisioned", why: base + " has no value that it could lie beside", mend: "give " + base + " too, or leave this out"})
			continue
		}
		text, ok := sideText(f.JSON)
		if !ok {
			s.problem(f.Name, problem{code: codeValue, message: msgNoGeoJSON, mend: "give a GeoJSON document, such as -i " + f.Name + "=@region.geojson"})
			continue
		}
		s.files = append(s.files, task.File{Path: f.Name, Text: text})
	}
}

// unknown reports an input that the task does not have, in the words that every task uses.
func (s *stager) unknown(t *task.Task, name string) {
	var names []string
	for _, p := range t.Inputs() {
		names = append(names, p.Name)
	}
	s.problem(name, problem{code: "input-unknown", message: "this task has no such input", mend: "its inputs are: " + strings.Join(names, ", ")})
}

// hasSide tells whether base ("crop", "crops/3") can be an image or a file of the task's inputs.
func hasSide(t *task.Task, base string) bool {
	parts := strings.Split(base, "/")
	p := t.Parameter(task.Input, parts[0])
	if p == nil {
		return false
	}
	typ := p.Type
	for _, index := range parts[1:] {
		if typ.Kind != task.Array || !indexForm.MatchString(index) {
			return false
		}
		typ = *typ.Item
	}
	return typ.Kind != task.Array && takesSides(typ)
}

// leads tells whether indexes ("3", "0/3", or "") lead to a value.
func leads(v task.Value, indexes string) bool {
	for indexes != "" {
		index, rest, _ := strings.Cut(indexes, "/")
		i, err := strconv.Atoi(index)
		if err != nil || i >= len(v.Items) {
			return false
		}
		v, indexes = v.Items[i], rest
	}
	return true
}

// sideText is the text of a side file: a JSON object, also when it came as a string that holds one.
func sideText(data json.RawMessage) (string, bool) {
	text := string(data)
	var inner string
	if json.Unmarshal(data, &inner) == nil {
		text = inner
	}
	var object map[string]json.RawMessage
	return text, json.Unmarshal([]byte(text), &object) == nil && object != nil
}

// exampleSides adds the side files that lie beside an example's value, which is at name on this machine and called at.
func exampleSides(given map[string]task.Given, t task.Type, at, name string) error {
	if !takesSides(t) {
		return nil
	}
	if t.Kind == task.Array {
		list, err := os.ReadDir(name)
		if err != nil {
			return task.Errorf(task.CodePackage, "inputs/%s cannot be read: %w", at, err)
		}
		for _, e := range list {
			if indexForm.MatchString(e.Name()) {
				if err := exampleSides(given, *t.Item, path.Join(at, e.Name()), filepath.Join(name, e.Name())); err != nil {
					return err
				}
			}
		}
		return nil
	}
	st, err := os.Lstat(name + sideSuffix)
	switch {
	case os.IsNotExist(err):
		return nil
	case err != nil:
		return task.Errorf(task.CodePackage, "inputs/%s cannot be read: %w", at+sideSuffix, err)
	case !st.Mode().IsRegular():
		return &task.Error{Code: task.CodePackage, Message: fmt.Sprintf("inputs/%s is a %s, not a file", at+sideSuffix, contract.KindOf(st.Mode()))}
	}
	given[at+sideSuffix] = task.Given{Path: name + sideSuffix}
	return nil
}

// isSide tells the name of a side file of an array's item.
func isSide(name string) bool {
	index, ok := strings.CutSuffix(name, sideSuffix)
	return ok && indexForm.MatchString(index)
}

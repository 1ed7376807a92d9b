package contract

import (
	"cmp"
	"fmt"
	"path"
	"strconv"
	"strings"

	"longshore/internal/task"
)

// Fronter is the optional ability to be what tasks of other contracts are converted to. A converted package holds the source's
// image with a small program in front of the source's own: the front. It takes what the platform of this contract hands over,
// runs the source's program as its own platform would, and gives back what it left in this contract's form.
//
// The order of calls for one conversion:
//
//	Front ─▶ (the source's example is run) ─▶ Documents
type Fronter interface {
	// Front lays out how the source's parameters appear. t is the source's task, dir the front's folder in the image; what of
	// its parameters and constraints cannot be said in this contract is in the findings. An error among them means that there
	// is no such conversion.
	Front(t *task.Task, dir string) (Front, []task.Finding)
	// Documents returns the files of the package by slash path, but the Dockerfile, the sources and the example's files.
	// example has the texts of the example's inputs that lie in environment variables, and the names of all that it gives;
	// it is nil when there is no example.
	Documents(t *task.Task, f Front, example *FrontExample) map[string]string
}

// Carrier is the optional ability of a source to tell what its platform, or its author's machine, does for a task, which
// nobody does elsewhere.
type Carrier interface {
	Carry(t *task.Task) Carried
}

// Carried is what of a task goes into a converted package.
type Carried struct {
	// Task is the task without what is lost: the same, or a changed copy.
	Task *task.Task
	// Findings tell everything that is lost.
	Findings []task.Finding
	// LeaveOut are absolute paths on this machine of files that must not get into a package.
	LeaveOut []string
	// Varying names outputs that may differ from run to run by the rules of the source: an example does not promise them.
	Varying []string
}

// Front is how a converted task looks from outside.
type Front struct {
	// Contract is the target's name.
	Contract string `json:"contract"`
	// Dir is the front's folder in the image, absolute.
	Dir string `json:"-"`
	// Server is set when the platform asks over HTTP, nil when it hands over files.
	Server  *FrontServer `json:"server,omitempty"`
	Inputs  []Slot       `json:"inputs"`
	Outputs []Slot       `json:"outputs"`
	// Example says where the example's files lie in the package.
	Example FrontPlaces `json:"-"`
	// InImage is the document, as a slash path in the package, that belongs into the root of the image too; empty for none.
	InImage string `json:"-"`
	// Labels are those that the target wants the image to have.
	Labels map[string]string `json:"-"`
}

// FrontServer is the server that the platform expects.
type FrontServer struct {
	Port         int
	Method, Path string
	// ReadyMark is printed to stdout, on a line of its own, once requests are taken; empty for none.
	ReadyMark string
	// MaxBody bounds requests and replies in bytes.
	MaxBody int64
}

// FrontPlaces are slash paths in a package: folders with one entry per slot for files, files for servers. An empty one is not
// written.
type FrontPlaces struct{ Inputs, Outputs string }

// FrontExample is what Documents learns of an example.
type FrontExample struct {
	// Env has the text of each given input whose place is a variable, by the variable's name.
	Env map[string]string
	// Given are the names of the slots that have a value.
	Given map[string]bool
}

// Slot is one of the source's parameters as the target knows it.
type Slot struct {
	// Name is the target's, Source the parameter's own.
	Name   string `json:"name"`
	Source string `json:"source,omitempty"`
	// Body tells that the value is the whole request or response body of a source that works over HTTP.
	Body bool `json:"body,omitempty"`
	// Type is the parameter's own type.
	Type task.Type `json:"type"`
	// Place is where the target has the value. The place and the kind of type say in which form:
	//
	//	file         a file with the text, or the file itself; a folder as a zip archive; an array as a folder of 0, 1, …
	//	folder       the folder itself; anything else as the only file in it; an array of files as all of them, in name order
	//	env          the text; arrays as JSON; empty is no value
	//	body         the whole body
	//	body-member  a member of the body's JSON object
	Place       task.Place  `json:"place"`
	Optional    bool        `json:"optional,omitempty"`
	Default     *task.Value `json:"default,omitempty"`
	Title       string      `json:"-"`
	Description string      `json:"-"`
}

// EmptyForNone tells of an array that may be left out, where an empty one can stand for none: not every platform lets an array be
// missing.
func (s Slot) EmptyForNone() bool {
	return s.Type.Kind == task.Array && s.Optional && s.Default == nil && (s.Type.MinItems == nil || *s.Type.MinItems == 0)
}

// SlotsOf returns what of a task's parameters a converted package has: all that callers may give and outputs, and the request
// body of an HTTP task as one file. Names and places are left to the target.
func SlotsOf(t *task.Task) (inputs, outputs []Slot) {
	if t.Exchange == task.HTTP {
		return []Slot{bodySlot(t, task.Input)}, []Slot{bodySlot(t, task.Output)}
	}
	for _, p := range t.Parameters {
		if p.Fixed || p.Direction == task.Output && p.Place.Kind == task.PlaceNone {
			continue
		}
		s := Slot{Name: p.Name, Source: p.Name, Type: p.Type, Optional: p.Optional, Default: p.Default, Title: p.Title, Description: p.Description}
		if p.Direction == task.Input {
			inputs = append(inputs, s)
		} else {
			outputs = append(outputs, s)
		}
	}
	return inputs, outputs
}

// bodySlot is the body of an HTTP task in one direction, under the name of its only parameter there, if it has just one.
func bodySlot(t *task.Task, d task.Direction) Slot {
	s := Slot{Name: string(d), Body: true, Type: task.Type{Kind: task.FileKind}, Optional: d == task.Input}
	for _, p := range t.Parameters {
		if p.Direction == d {
			s.Source, s.Title, s.Description = p.Name, p.Title, p.Description
			if p.Place.Kind == task.PlaceBody {
				s.Name = p.Name
			}
		}
	}
	return s
}

// Lost is a finding about something that a conversion does not carry over as it was.
func Lost(sev task.Severity, rule, mend, what string, args ...any) task.Finding {
	return task.Finding{Rule: "convert-" + rule, Severity: sev, What: fmt.Sprintf(what, args...), Mend: mend}
}

// NameSlots gives every slot a name of the target's form: form changes what the target does not take, and names that then meet
// another one are numbered, behind sep. The findings tell of changed names.
func NameSlots(slots []Slot, sep string, form func(Slot) string) []task.Finding {
	var changed []task.Finding
	taken := map[string]bool{}
	for i := range slots {
		s := &slots[i]
		name := form(*s)
		if name == "" {
			name = "value"
		}
		for base, n := name, 2; taken[strings.ToLower(name)]; n++ {
			name = fmt.Sprintf("%s%s%d", base, sep, n)
		}
		taken[strings.ToLower(name)] = true
		if name != s.Name {
			changed = append(changed, Lost(task.SeverityNote, "name", "", "the parameter %s is called %s", s.Name, name))
		}
		s.Name = name
	}
	return changed
}

// WordName keeps the letters, digits and underscores of ASCII and writes an underscore for everything else.
func WordName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, s)
}

// FrontMemory is what the front itself needs beside the task: 64 MiB.
const FrontMemory = 64 << 20

// FrontDir is the folder of a converted image that holds the front, and the folders it works in.
const FrontDir = "/longshore"

// frontProgram is the front itself, in its folder.
const frontProgram = "adapter"

// FrontProgram is the path of the front in an image whose front has this folder.
func FrontProgram(dir string) string { return dir + "/" + frontProgram }

// FrontFolders are the input and output folders of a front, for platforms that let a package choose.
func FrontFolders(dir string) (in, out string) { return dir + "/in", dir + "/out" }

// FrontDirIn is a folder for a front in an image that may have fronts already, as it was converted before: each has its own.
func FrontDirIn(facts task.ImageFacts) string {
	if len(facts.Entrypoint) != 1 || path.Base(facts.Entrypoint[0]) != frontProgram {
		return FrontDir
	}
	number, ok := strings.CutPrefix(path.Dir(facts.Entrypoint[0]), FrontDir)
	if n, err := strconv.Atoi(cmp.Or(number, "1")); ok && err == nil && n > 0 {
		return FrontDir + strconv.Itoa(n+1)
	}
	return FrontDir
}

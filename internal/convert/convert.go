// Package convert writes packages of one contract around the images of another: the target's documents, the source's build
// context with its Dockerfile extended by the front, and the front's own files. It knows no contract and runs nothing; whoever
// calls it has made the front, and the example if there is one.
package convert

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"longshore/internal/adapter"
	"longshore/internal/contract"
	"longshore/internal/task"
)

// Where things lie in a converted package.
const (
	appFolder   = "src/app"       // the source's build context
	frontFolder = "src/longshore" // the front's files
	programFile = frontFolder + "/front.tar.gz"
	planFile    = frontFolder + "/" + adapter.PlanFile
)

// Package is what a converted package is made of.
type Package struct {
	// Task is the source's task, as it is carried over; Image its image.
	Task  *task.Task
	Image task.ImageFacts
	Front contract.Front
	// Documents are the target's files by slash path.
	Documents map[string]string
	// LeaveOut are absolute paths in the build context that are not taken over.
	LeaveOut []string
}

// Write makes the package in dir, which exists and may hold the example already. What is in the package's way is an error.
func (p *Package) Write(dir string) error {
	program, err := frontArchive(p.Front.Dir, p.folders())
	if err != nil {
		return err
	}
	plan, err := json.MarshalIndent(p.plan(), "", "  ")
	if err != nil {
		return err
	}
	recipe, err := p.recipe(dir)
	if err != nil {
		return err
	}
	files := map[string][]byte{programFile: program, planFile: append(plan, '\n'), "Dockerfile": recipe}
	for name, text := range p.Documents {
		files[name] = []byte(text)
	}
	for name, data := range files {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// plan is what the front does, without what only this machine or the platform around it knows.
func (p *Package) plan() adapter.Plan {
	t := *p.Task
	t.Image, t.Resources, t.Notes = task.ImageSource{Kind: task.ImageReference, Name: p.Image.Reference}, task.Resources{}, nil
	return adapter.Plan{Front: p.Front, Task: &t, Image: p.Image}
}

// folders are where the task's own files and those of its front lie in the container: programs of any user must be able to use
// them.
func (p *Package) folders() []string {
	var folders []string
	add := func(place task.Place) {
		dir := place.Path
		if place.Kind == task.PlaceFile && dir != "" && filepath.Dir(dir) != "/" {
			dir = filepath.Dir(dir)
		}
		if dir != "" && dir != "/" && !slices.Contains(folders, dir) {
			folders = append(folders, dir)
		}
	}
	for _, par := range p.Task.Parameters {
		add(par.Place)
	}
	for _, s := range slices.Concat(p.Front.Inputs, p.Front.Outputs) {
		add(s.Place)
	}
	slices.Sort(folders)
	return folders
}

// recipe is the Dockerfile: the source's own, with its build context beside it, or one that starts from its image.
func (p *Package) recipe(dir string) ([]byte, error) {
	src := p.Task.Image
	if src.Kind != task.ImageBuild {
		return []byte("FROM " + imageOf(p.Task, p.Image) + "\n" + p.finalLayer()), nil
	}
	data := []byte(src.Recipe)
	if src.Recipe == "" {
		var err error
		if data, err = os.ReadFile(filepath.Join(src.Context, filepath.FromSlash(src.Dockerfile))); err != nil {
			return nil, err
		}
	}
	moved, err := moveContext(data, appFolder, src.Args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src.Dockerfile, err)
	}
	c := contextCopy{from: src.Context, dockerfile: src.Dockerfile, to: filepath.Join(dir, filepath.FromSlash(appFolder)), leaveOut: p.LeaveOut}
	if err := c.copy(); err != nil {
		return nil, err
	}
	return append(moved, p.finalLayer()...), nil
}

// imageOf is the image to start from.
func imageOf(t *task.Task, facts task.ImageFacts) string {
	if facts.Reference != "" {
		return facts.Reference
	}
	return t.Image.Name
}

// finalLayer puts the front into the image. The archive is unpacked by ADD, with the rights in it: nothing runs while the image
// is built, and rights that were lost on the way to it do not matter. The image keeps its user.
func (p *Package) finalLayer() string {
	var b strings.Builder
	b.WriteString("\n# The front: takes what the platform hands over, and runs the program above.\n")
	fmt.Fprintf(&b, "ADD %s /\nCOPY %s %s/\n", programFile, planFile, p.Front.Dir)
	if s := p.Front.Server; s != nil {
		fmt.Fprintf(&b, "EXPOSE %s\n", strconv.Itoa(s.Port))
	}
	if doc := p.Front.InImage; doc != "" {
		fmt.Fprintf(&b, "COPY %s /\n", doc)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Front.Labels)) {
		fmt.Fprintf(&b, "LABEL %s=%q\n", name, p.Front.Labels[name])
	}
	fmt.Fprintf(&b, "ENTRYPOINT [%q]\nCMD []\n", contract.FrontProgram(p.Front.Dir))
	return b.String()
}

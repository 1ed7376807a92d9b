package kaapana

import (
	"io"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// BundleLayouts implements contract.Bundler: there is one form, and it has no name.
func (Contract) BundleLayouts() []string { return nil }

// Bundle plans the archive of the image, which is all that a platform is given where it reaches no registry (Kaapana reference,
// section 6): the file that describes the image is inside.
func (Contract) Bundle(_ contract.Source, t *task.Task, _ string) (*contract.Bundle, error) {
	d, err := detailOf(t)
	if err != nil {
		return nil, err
	}
	if d.Task != nil {
		return nil, &task.Error{Code: task.CodeUsage, Message: t.Name + " is a task: it names an image, and has none of its own", Hint: "name the container's folder, or image:" + t.Image.Name}
	}
	file := shortName(t.Image.Name)
	if t.Version != "" {
		file += "-" + t.Version
	}
	file += ".tar"
	return &contract.Bundle{
		File: file, Entries: []string{file}, Image: file, ImageName: t.Image.Name,
		Write: func(w io.Writer, archive func(io.Writer) error) error { return archive(w) },
	}, nil
}

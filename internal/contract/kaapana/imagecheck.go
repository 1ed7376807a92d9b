package kaapana

import (
	"errors"
	"io/fs"
	"path"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// maxHidden bounds how many files are counted below a channel's mount point.
const maxHidden = 10_000

// checkTemplate compares the chosen template with the image: its process, and what its channels are mounted over.
func (r *reader) checkTemplate(t *task.Task, img contract.ImageFiles) {
	d, err := detailOf(t)
	if err != nil || d.Template == nil {
		return
	}
	r.checkCommand(d.Template.Command, img)
	if tree, ok := img.(contract.ImageTree); ok {
		for _, c := range d.Template.Inputs {
			r.checkHidden(c, tree)
		}
		for _, c := range d.Template.Outputs {
			r.checkHidden(c, tree)
		}
	}
}

func (r *reader) checkCommand(command []string, img contract.ImageFiles) {
	if len(command) == 0 {
		return
	}
	if len(img.Facts().Entrypoint) > 0 {
		r.commandAndEntrypoint(r.File, contract.At{})
	}
	if first := command[0]; path.IsAbs(first) && !executable(first, img) {
		r.Warn(ruleCommandNotFound, contract.At{}, "correct the path, or make it executable", "The image has no executable `%s`.", first)
	}
}

// commandAndEntrypoint warns of a template's command beside the ENTRYPOINT of its image.
func (r *reader) commandAndEntrypoint(file string, at contract.At) {
	f := r.Add(task.SeverityWarning, ruleCommandEntrypoint, at, "Kubernetes replaces the ENTRYPOINT by this command, Kaapana's local runner appends it to the ENTRYPOINT. Longshore replaces it.")
	f.File, f.Mend = file, "leave out the ENTRYPOINT, or the command"
}

// executable tells whether a file can be started, as far as the image can be looked into.
func executable(name string, img contract.ImageFiles) bool {
	if tree, ok := img.(contract.ImageTree); ok {
		mode, err := tree.Stat(name)
		return err == nil && mode.IsRegular() && mode&0o111 != 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
	}
	_, err := img.ReadFile(name, 1)
	return !errors.Is(err, fs.ErrNotExist)
}

// checkHidden warns of files of the image that nobody sees once the channel is mounted over them.
func (r *reader) checkHidden(c channel, tree contract.ImageTree) {
	if c.Path == "" {
		return
	}
	mode, err := tree.Stat(c.Path)
	if err != nil {
		return // nothing is there, which is usual
	}
	if !mode.IsDir() {
		r.Warn(rulePathHides, c.At, "choose a folder of its own", "Mounting hides a %s of the image at `%s`.", contract.KindOf(mode), c.Path)
		return
	}
	n, err := tree.CountFiles(c.Path, maxHidden)
	if err != nil || n == 0 {
		return
	}
	more := ""
	if n == maxHidden {
		more = " or more"
	}
	f := r.Add(task.SeverityWarning, rulePathHides, c.At, "Mounting hides %d%s files of the image at `%s`.", n, more, c.Path)
	f.Why = "the channel `" + c.Name + "` covers what lies there"
	f.Mend = "mount it at a folder of its own, or keep the files elsewhere"
}

package racetrack

import (
	"io/fs"
	"path"

	"longshore/internal/contract"
)

// Recognise looks for the manifest and the keys that only Racetrack has. A job.yaml may also be a Kubernetes Job, and a file
// that was named may be any YAML.
func (Contract) Recognise(src contract.Source) contract.Recognition {
	if src.FS == nil {
		return contract.Recognition{}
	}
	if src.File != "" {
		return recogniseFile(src.FS, src.File)
	}
	for _, name := range []string{manifestName, legacyName} {
		if !present(src.FS, name) {
			continue
		}
		if r := recogniseFile(src.FS, name); r.Certainty != contract.No {
			return r
		}
	}
	return contract.Recognition{}
}

func recogniseFile(fsys fs.FS, name string) contract.Recognition {
	base := path.Base(name)
	r := contract.Recognition{Manifest: name}
	ours := base == manifestName || base == legacyName
	likely := func(c contract.Certainty, evidence string) contract.Recognition {
		r.Certainty, r.Evidence = c, evidence
		return r
	}
	var root *contract.Node
	if isFile(fsys, name) {
		if data, err := contract.ReadText(fsys, name); err == nil {
			// A file that cannot be parsed is judged by its name; Load says what is wrong with it.
			root, _ = contract.ParseYAML(data)
		}
	}
	job := root.Has("jobtype") || root.Has("lang")
	about := root.Has("owner_email") || root.Get("git").Has("remote")
	switch {
	case root.Has("apiVersion") && root.Has("kind"):
		return contract.Recognition{}
	case job && about:
		return likely(contract.Certain, base+" with a job type")
	case ours && (job || about || root.Has("extends")):
		return likely(contract.Likely, base)
	case !ours && (job && (root.Has("name") || root.Has("git")) || root.Has("extends") && path.Ext(base) != ".json"):
		return likely(contract.Possible, base+" with keys of a Racetrack manifest")
	case base == legacyName:
		return likely(contract.Likely, base)
	case base == manifestName:
		return likely(contract.Possible, base)
	}
	return contract.Recognition{}
}

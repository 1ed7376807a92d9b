package iexec

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// logOutput is where the log of both streams lies in a published result.
const logOutput = "log"

// RecogniseResult implements contract.ResultDigester: a result without result.json is the app's output folder, the folder
// around it, or its archive as workers hand it out.
func (Contract) RecogniseResult(r contract.ResultFiles) string {
	files := &digester{}
	files.enterBare(r.FS)
	for _, name := range []string{computedFile, determinismFile, consensusFile} {
		if _, ok := files.regular(name); ok {
			return name
		}
	}
	entries, err := walk(files.files)
	if err == nil && r.Archive != "" && slices.ContainsFunc(entries, func(e entry) bool { return e.mode.IsRegular() }) {
		return "an archive, as v2 compares results without consensus.iexec"
	}
	return ""
}

// enter goes to a folder within the files of a result.
func (d *digester) enter(files fs.FS, dir string) error {
	if st, err := fs.Stat(files, dir); err != nil || !st.IsDir() {
		return task.Errorf(task.ReasonInput, "its folder %s, which holds the app's files, is missing", dir)
	}
	sub, err := fs.Sub(files, dir)
	if err != nil {
		return task.Errorf(task.ReasonInput, "its folder %s cannot be read: %w", dir, err)
	}
	d.files, d.within = sub, dir
	return nil
}

// enterBare goes to the output folder in files without a result.json.
func (d *digester) enterBare(files fs.FS) {
	if err := d.enter(files, mountOut); err != nil {
		d.files, d.within = files, "."
	}
}

// DigestResult implements contract.ResultDigester, by the same rules as Collect. What result.json says is used for what files
// cannot tell: the generation, and which of the rules for the same files held.
func (Contract) DigestResult(r contract.ResultFiles) (contract.ResultDigest, error) {
	d, legacy, err := resultDigester(r)
	if err != nil {
		return contract.ResultDigest{}, err
	}
	entries, err := d.walk()
	if err != nil {
		return contract.ResultDigest{}, task.Errorf(task.ReasonEngine, "the result cannot be read: %w", err)
	}
	_, hasConsensus := d.regular(consensusFile)
	switch {
	case legacy && r.Result == nil && !hasConsensus:
		sum, err := sumOf(func() (io.ReadCloser, error) { return os.Open(r.Archive) })
		if err != nil {
			return contract.ResultDigest{}, task.Errorf(task.ReasonEngine, "the archive cannot be read: %w", err)
		}
		d.found(sum, nil, ruleTextArchive)
	case legacy:
		var files []entry
		for _, e := range entries {
			if !e.mode.IsDir() {
				files = append(files, e)
			}
		}
		err = d.legacy(files, r.Result != nil && onlyFile(r.Result.DigestRule))
	default:
		d.checkNames(entries)
		err = d.later()
	}
	if err != nil {
		return contract.ResultDigest{}, err
	}
	got := contract.ResultDigest{Digest: d.digest, Rule: d.rule, Folder: d.within, Covered: d.covered, Notes: d.warnings}
	if found := d.problems.Findings; len(found) > 0 {
		got.Digest, got.Missing = "", found[0].What
	} else if d.digest == "" {
		got.Missing = "there is nothing that a digest could be of"
	}
	return got, nil
}

// resultDigester prepares the digester of a finished run. legacy tells that v1 or v2 made it.
func resultDigester(r contract.ResultFiles) (d *digester, legacy bool, err error) {
	d = &digester{logs: map[string]opener{}, problems: newReport("")}
	if r.Result == nil {
		d.enterBare(r.FS)
		_, computed := d.regular(computedFile)
		_, determinism := d.regular(determinismFile)
		d.callback = computed && d.onlyCallback()
		return d, !computed && !determinism, nil
	}
	if err := d.enter(r.FS, outputPath(r.Result, outputResult)); err != nil {
		return nil, false, err
	}
	d.longNames = true // a run of ours succeeded with them only where they were allowed
	d.callback = strings.Contains(r.Result.DigestRule, ruleTextCallback)
	d.lenient = strings.Contains(r.Result.DigestRule, ruleTextLenient)
	d.archive = r.Result.DigestRule == ruleTextArchive
	d.logsOver = slices.Contains(variantWords(r.Result.Variant), variantLogsOver)
	legacy = ofLegacy(r.Result)
	streams := map[string]string{outputStdout: outputPath(r.Result, outputStdout), outputStderr: outputPath(r.Result, outputStderr)}
	if legacy {
		streams = map[string]string{outputStdout: logOutput}
	}
	for name, file := range streams {
		if st, err := fs.Stat(r.FS, file); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
			d.logs[name] = func() (io.ReadCloser, error) { return r.FS.Open(file) }
		}
	}
	return d, legacy, nil
}

// ofLegacy tells that v1 or v2 made a result.
func ofLegacy(r *task.Result) bool {
	return strings.HasPrefix(r.Dialect, string(generationV1)) || strings.HasPrefix(r.Dialect, string(generationV2))
}

// outputPath is where an output lies in a published result.
func outputPath(res *task.Result, name string) string {
	for _, o := range res.Outputs {
		if o.Name == name && fs.ValidPath(o.Path) {
			return o.Path
		}
	}
	return name
}

// onlyCallback tells a computed.json that names no deterministic path but has callback-data: the deal had a callback.
func (d *digester) onlyCallback() bool {
	data, _, err := d.small(computedFile)
	if err != nil {
		return false
	}
	n, err := contract.ParseJSON(data)
	return err == nil && n.Get(computedPath).Str() == "" && n.Get(computedCallback).Str() != ""
}

// PackResult implements contract.ResultPackager: the archive of iexec_out with the logs (v3 and later), or of the files that
// the app created or changed with its log (v1 and v2), made anew so that the same results give the same bytes.
func (Contract) PackResult(r contract.ResultFiles, w io.Writer) ([]string, error) {
	d, _, err := resultDigester(r)
	if err != nil {
		return nil, err
	}
	entries, err := d.walk()
	if err != nil {
		return nil, task.Errorf(task.ReasonEngine, "the result cannot be read: %w", err)
	}
	members, skipped := d.members(entries)
	if err := pack(w, members); err != nil {
		return nil, task.Errorf(task.ReasonEngine, "the result cannot be packed: %w", err)
	}
	return skipped, nil
}

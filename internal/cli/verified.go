package cli

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/dispatch"
	"longshore/internal/task"
)

// verified is one result that is compared, with what its files give.
type verified struct {
	contract.ResultFiles
	name     string
	contract contract.Contract
	res      *task.Result // ResultFiles.Result
	close    func()

	digest  contract.ResultDigest
	outputs map[string]string // the sha256 of each output, by name, for contracts without a digest
	skipped []string          // what in the outputs is not compared, one per output
	missing string            // why there is nothing to compare
}

// openVerified opens a result, whatever form it has. An error is a *task.Error that names it.
func openVerified(name string) (*verified, error) {
	v := &verified{name: name, close: func() {}}
	err := v.open()
	if err == nil {
		err = v.choose()
	}
	if err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

func (v *verified) open() error {
	st, err := os.Stat(v.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noResult(task.CodeMissing, v.name, err)
	case err != nil:
	case st.IsDir():
		err = v.openFolder()
	case st.Mode().IsRegular():
		err = v.openArchive()
	default:
		err = errors.New("it is neither a folder nor a file")
	}
	if err != nil {
		return noResult(task.ReasonInput, v.name, err)
	}
	return nil
}

func noResult(code task.Code, name string, why error) error {
	return (&task.Error{Code: code, Message: name + " is no result", Cause: why}).
		WithHint("`longshore run PACKAGE -o DIR` makes a folder, and --package FILE an archive, that can be compared")
}

func (v *verified) openFolder() error {
	root, err := os.OpenRoot(v.name)
	if err != nil {
		return err
	}
	v.close = func() { root.Close() }
	v.FS = contract.Folder{Root: root}
	data, err := readSmall(v.FS, dispatch.ResultFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	res := &task.Result{}
	if err == nil {
		err = json.Unmarshal(data, res)
	}
	if err == nil && (res.Contract == "" || !res.State.Terminal()) {
		err = errors.New("it names no contract or no end state")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dispatch.ResultFile, err)
	}
	for _, o := range res.Outputs {
		if o.Path != "" && !fs.ValidPath(o.Path) {
			return fmt.Errorf("%s names the output %q, which is no path inside its folder", dispatch.ResultFile, o.Path)
		}
	}
	v.res, v.Result = res, res
	return nil
}

// maxArchive bounds what an archive may unpack to.
const maxArchive = 64 << 30

func (v *verified) openArchive() error {
	z, err := zip.OpenReader(v.name)
	if err != nil {
		return fmt.Errorf("it is no zip archive that can be read: %w", err)
	}
	v.close = func() { z.Close() }
	v.FS, v.Archive = &z.Reader, v.name
	var total uint64
	seen := map[string]bool{}
	for _, f := range z.File {
		if total += min(f.UncompressedSize64, maxArchive); total > maxArchive {
			return fmt.Errorf("it unpacks to more than %s", task.Bytes(maxArchive))
		}
		if seen[f.Name] {
			return fmt.Errorf("it holds two entries named %q", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
}

// maxResultFile bounds a result.json, which holds small outputs as values.
const maxResultFile = 256 << 20

// readSmall reads a regular file of at most maxResultFile bytes.
func readSmall(fsys fs.FS, name string) ([]byte, error) {
	// Looked at before it is opened: opening a named pipe would wait for a writer.
	st, err := fs.Stat(fsys, name)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular() || st.Size() > maxResultFile:
		return nil, fmt.Errorf("not a file of at most %s", task.Bytes(maxResultFile))
	}
	return fs.ReadFile(fsys, name)
}

// choose finds the contract: the one that result.json names, else the first that recognises its platform's own form.
func (v *verified) choose() (err error) {
	if v.res != nil {
		if v.contract, err = app.Contract(v.res.Contract); err != nil {
			return noResult(task.ReasonInput, v.name, fmt.Errorf("%s: %w", dispatch.ResultFile, err))
		}
		return nil
	}
	for _, name := range app.ContractNames() {
		c, err := app.Contract(name)
		if err != nil {
			return err
		}
		if d, ok := c.(contract.ResultDigester); ok && d.RecogniseResult(v.ResultFiles) != "" {
			v.contract = c
			return nil
		}
	}
	return noResult(task.CodeMissing, v.name, errors.New("it holds no "+dispatch.ResultFile+", and nothing that a contract's digest could be of"))
}

// digests tells whether the contract defines a digest.
func (v *verified) digests() bool {
	_, ok := v.contract.(contract.ResultDigester)
	return ok
}

// compute digests the files.
func (v *verified) compute() error {
	if v.res != nil && v.res.State != task.Succeeded {
		v.missing = "the run " + string(v.res.State)
		if v.res.Reason != "" {
			v.missing += " (" + string(v.res.Reason) + ")"
		}
		return nil
	}
	if d, ok := v.contract.(contract.ResultDigester); ok {
		got, err := d.DigestResult(v.ResultFiles)
		if err != nil {
			return noResult(task.ReasonInput, v.name, err)
		}
		v.digest, v.missing = got, got.Missing
		return nil
	}
	v.outputs = map[string]string{}
	for _, o := range v.res.Outputs {
		sum, skipped, err := sumTree(v.FS, o.Path)
		if err != nil {
			return noResult(task.ReasonInput, v.name, fmt.Errorf("the output %s cannot be read: %w", o.Name, err))
		}
		v.outputs[o.Name] = sum
		if skipped != "" {
			v.skipped = append(v.skipped, skipped)
		}
	}
	return nil
}

// sumTree is the digest of an output, as task.OutputResult has it. Anything but regular files and folders is left out; skipped
// is the first such path.
func sumTree(files fs.FS, name string) (sum, skipped string, err error) {
	st, err := fs.Lstat(files, name)
	if err != nil {
		return "", "", err
	}
	if st.Mode().IsRegular() {
		sum, err = sumFile(files, name)
		return sum, "", err
	}
	h := sha256.New()
	err = fs.WalkDir(files, name, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !e.Type().IsRegular() && skipped == "" {
			skipped = p
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		sum, err := sumFile(files, p)
		fmt.Fprintf(h, "%s  %s\n", sum, p[len(name)+1:])
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), skipped, err
}

func sumFile(files fs.FS, name string) (string, error) {
	f, err := files.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// changed tells where result.json says other than the files.
func (v *verified) changed() []string {
	if v.res == nil || v.res.State != task.Succeeded {
		return nil
	}
	if v.digests() {
		if v.res.Digest == v.digest.Digest {
			return nil
		}
		return []string{fmt.Sprintf("%s has the digest %s, and its files give %s", dispatch.ResultFile, orNone(v.res.Digest), orNone(v.digest.Digest))}
	}
	var changed []string
	for _, o := range v.res.Outputs {
		if sum := v.outputs[o.Name]; o.SHA256 != sum {
			changed = append(changed, fmt.Sprintf("the output %s is not what %s says", o.Name, dispatch.ResultFile))
		}
	}
	return changed
}

// difference finds the first difference to another result: in what the digest covers, then in all files of the program, and
// then in the logs of two runs of ours.
func (v *verified) difference(other *verified) (*difference, error) {
	if !v.digests() {
		return compareTrees(v.FS, other.FS, append(outputPaths(v.res), outputPaths(other.res)...))
	}
	a, err := fs.Sub(v.FS, v.digest.Folder)
	if err != nil {
		return nil, err
	}
	b, err := fs.Sub(other.FS, other.digest.Folder)
	if err != nil {
		return nil, err
	}
	covered := slices.DeleteFunc(slices.Concat(v.digest.Covered, other.digest.Covered), func(name string) bool { return !fs.ValidPath(name) })
	for _, paths := range [][]string{covered, {"."}} {
		d, err := compareTrees(a, b, paths)
		if d != nil && v.digest.Folder == other.digest.Folder {
			d.File = path.Join(v.digest.Folder, d.File)
		}
		if d != nil || err != nil {
			return d, err
		}
	}
	if v.res == nil || other.res == nil {
		return nil, nil
	}
	return compareTrees(v.FS, other.FS, append(outputPaths(v.res), outputPaths(other.res)...))
}

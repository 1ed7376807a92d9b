package iexec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/task"
)

// stagedInput is one input file with the names it gets in /iexec_in.
type stagedInput struct {
	file task.File // without Path
	base string    // may be empty
	hash string    // may be empty
}

func prepareLater(x *task.Execution, p plan, t *task.Task, v task.Values) error {
	in := task.Mount{Name: mountIn, Target: folderIn, Links: task.LinksKeptInside}
	inputs, err := laterInputs(p, v)
	if err != nil {
		return err
	}
	names, hashed := inputNames(inputs, p.HashNames)
	if hashed && !p.HashNames {
		x.Warnings = append(x.Warnings, "input files have the same file name; they are stored as 0x<sha256 of url>")
	}
	taken := map[string]bool{"": true}
	stage := func(f task.File, name string) {
		if !taken[name] {
			taken[name] = true
			f.Path = name
			in.Files = append(in.Files, f)
		}
	}
	for i, s := range inputs {
		stage(s.file, names[i])
		if !hashed || p.HashNames {
			stage(s.file, s.base)
		}
		stage(s.file, s.hash)
	}
	dataset, err := laterDataset(p, v)
	if err != nil {
		return err
	}
	for _, name := range dataset.names {
		stage(dataset.file, name)
	}
	x.Mounts = []task.Mount{in, {Name: mountOut, Target: folderOut, Links: task.LinksKeptInside}}
	x.Process.Env = append(laterEnv(p, t, v, names, dataset), v.Env...)
	x.Process.Env = append(x.Process.Env, enclaveEnv(p, v)...)
	x.Notes = append(x.Notes, fmt.Sprintf("mounts: %s with %d input files, %s", folderIn, len(inputs), folderOut))
	return nil
}

// laterInputs are the caller's files in the places of the manifest's URLs, and the URLs that were not replaced.
func laterInputs(p plan, v task.Values) ([]stagedInput, error) {
	given := v.Inputs[paramInputs].Items
	first := v.Inputs[paramInput]
	named := first.Path != "" || first.Text != ""
	if v.Given[paramInputs] && named {
		return nil, task.Errorf(task.ReasonInput, "both %s and %s are given", paramInput, paramInputs).WithHint("give all files with %s", paramInputs)
	}
	var inputs []stagedInput
	for i, r := range p.Inputs {
		s := stagedInput{file: task.File{URL: r.URL}, base: r.Name, hash: hashName(r.URL)}
		switch {
		case i < len(given):
			s = s.by(given[i])
		case i == 0 && named:
			s = s.by(first)
		case v.Given[paramInputs]:
			continue // a shorter list replaces the longer one
		}
		inputs = append(inputs, s)
	}
	for _, g := range given[min(len(p.Inputs), len(given)):] {
		inputs = append(inputs, stagedInput{base: filepath.Base(g.Path)}.by(g))
	}
	if len(p.Inputs) == 0 && named {
		inputs = append(inputs, stagedInput{base: filepath.Base(first.Path)}.by(first))
	}
	return inputs, nil
}

// by is the input with what the caller gave in its place: a file keeps the names of the address it stands in for, another
// address has its own.
func (s stagedInput) by(given task.Value) stagedInput {
	if given.Path != "" {
		s.file = task.File{Source: given.Path}
		return s
	}
	r, _ := laterURL(given.Text)
	return stagedInput{file: task.File{URL: given.Text}, base: r.Name, hash: hashName(given.Text)}
}

// inputNames chooses the name that IEXEC_INPUT_FILE_NAME_n gives each file: its base name, or the hash form where that was
// asked for or base names are missing or collide.
func inputNames(inputs []stagedInput, hashes bool) (names []string, hashed bool) {
	seen := map[string]bool{}
	collide := false
	for _, s := range inputs {
		collide = collide || s.base != "" && seen[s.base]
		seen[s.base] = true
	}
	for i, s := range inputs {
		hash := s.hash
		if hash == "" {
			hash = hashName(fmt.Sprintf("file:%d/%s", i+1, s.base)) // a local file has no URL to hash
		}
		if hashes && s.hash != "" || collide || s.base == "" {
			names = append(names, hash)
		} else {
			names = append(names, s.base)
		}
	}
	return names, hashes || collide
}

// stagedDataset is the dataset with all its names; the first is the one in IEXEC_DATASET_FILENAME.
type stagedDataset struct {
	file  task.File
	names []string
}

func laterDataset(p plan, v task.Values) (stagedDataset, error) {
	file := task.File{Source: v.Inputs[paramDataset].Path, URL: v.Inputs[paramDataset].Text}
	if file.Source == "" && file.URL == "" && p.Dataset.Fetch {
		file.URL = p.Dataset.URL
	}
	given := file.Source
	switch {
	case given == "" && file.URL == "":
		return stagedDataset{}, nil
	case given == "":
		file.SHA256 = strings.TrimPrefix(p.Dataset.Checksum, "0x")
	case p.Dataset.Checksum != "":
		sum, err := sha256File(given)
		if err != nil {
			return stagedDataset{}, task.Errorf(task.ReasonInput, "the dataset cannot be read: %w", err)
		}
		if sum != p.Dataset.Checksum {
			what := fmt.Sprintf("the dataset's sha256 is %s, the manifest's dataset.checksum is %s (%s)", sum, p.Dataset.Checksum, causeDatasetChecksum)
			return stagedDataset{}, &task.Error{Code: task.ReasonInput, Message: what, Findings: []task.Finding{{Rule: ruleDatasetChecksum, Severity: task.SeverityError, What: what}}}
		}
	}
	name := filepath.Base(given)
	for _, address := range []string{p.Dataset.URL, file.URL} {
		if r, ok := laterURL(address); ok && r.Name != "" {
			name = r.Name
		}
	}
	if given == "" && name == "." {
		name = "dataset"
	}
	d := stagedDataset{file: file, names: []string{name}}
	for _, n := range []string{p.Dataset.Name, p.Dataset.Address} {
		if n != "" && len(n) < 256 && n != "." && n != ".." && !strings.ContainsAny(n, "/\x00") {
			d.names = append(d.names, n)
		}
	}
	return d, nil
}

func sha256File(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return "0x" + hex.EncodeToString(h.Sum(nil)), nil
}

// zeroAddress names nothing.
const zeroAddress = "0x0000000000000000000000000000000000000000"

// laterEnv is a superset of what workers from v3.2 to v9 set, so that apps of every age find what they read.
func laterEnv(p plan, t *task.Task, v task.Values, names []string, d stagedDataset) []task.EnvVar {
	number := func(param, fallback string) string {
		if text := v.Inputs[param].Text; text != "" {
			return text
		}
		return fallback
	}
	index := number(paramBotIndex, "0")
	deal := keccak256([]byte("longshore deal of " + t.Name))
	taskID := taskIDOf(deal, index)
	datasetName, address := "", zeroAddress
	if len(d.names) > 0 {
		datasetName = d.names[0]
		if p.Dataset.Address != "" {
			address = p.Dataset.Address
		}
	}
	count := fmt.Sprint(len(names))
	var env []task.EnvVar
	if p.Enclave && p.Generation == generationV3 { // releases 3.0 name them so, in enclaves only
		env = append(env, task.EnvVar{Name: "TASKID", Value: "0x" + hex.EncodeToString(taskID)}, task.EnvVar{Name: "WORKER", Value: zeroAddress})
	}
	for _, e := range [][2]string{
		{"IEXEC_TASK_ID", "0x" + hex.EncodeToString(taskID)},
		{"IEXEC_DEAL_ID", "0x" + hex.EncodeToString(deal)},
		{"IEXEC_TASK_INDEX", index},
		{"IEXEC_IN", folderIn},
		{"IEXEC_OUT", folderOut},
		{"IEXEC_DATASET_ADDRESS", address},
		{"IEXEC_DATASET_FILENAME", datasetName},
		{"DATASET_FILENAME", datasetName},
		{"IEXEC_BOT_SIZE", number(paramBotSize, "1")},
		{"IEXEC_BOT_FIRST_INDEX", number(paramBotFirst, "0")},
		{"IEXEC_BOT_TASK_INDEX", index},
		{"IEXEC_INPUT_FILES_NUMBER", count},
		{"IEXEC_NB_INPUT_FILES", count},
		{"IEXEC_INPUT_FILES_FOLDER", folderIn},
	} {
		env = append(env, task.EnvVar{Name: e[0], Value: e[1]})
	}
	for i, n := range names {
		env = append(env, task.EnvVar{Name: fmt.Sprintf("IEXEC_INPUT_FILE_NAME_%d", i+1), Value: n})
	}
	return env
}

// enclaveEnv are the variables that apps get in enclaves only: the secrets that the caller gave, and for v3 the worker's.
func enclaveEnv(p plan, v task.Values) []task.EnvVar {
	var env []task.EnvVar
	for _, number := range slices.Sorted(maps.Keys(p.Secrets)) {
		env = append(env, task.EnvVar{Name: "IEXEC_REQUESTER_SECRET_" + number, Value: v.Inputs[p.Secrets[number]].Text})
	}
	const developer = "IEXEC_APP_DEVELOPER_SECRET"
	given := map[string]string{}
	for _, e := range v.Env {
		given[e.Name] = e.Value
	}
	// Both names of the app's one secret have the same value.
	for name, other := range map[string]string{developer: developer + "_1", developer + "_1": developer} {
		if value, ok := given[name]; ok && given[other] == "" {
			env = append(env, task.EnvVar{Name: other, Value: value})
		}
	}
	if p.Bulk {
		env = append(env, task.EnvVar{Name: "IEXEC_BULK_SLICE_SIZE", Value: "0"})
	}
	return env
}

// taskIDOf is keccak256 of the deal and the task's index as 32 bytes (iExec reference, section 8.4).
func taskIDOf(deal []byte, index string) []byte {
	n, ok := new(big.Int).SetString(index, 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 256 {
		n = new(big.Int)
	}
	return keccak256(deal, n.FillBytes(make([]byte, 32)))
}

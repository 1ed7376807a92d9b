package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/dispatch"
	"longshore/internal/task"
)

func newVerify(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR DIR…",
		Short: "Compare result folders, as a consensus would",
		Long: `Compare folders that run -o made, of the same task, and tell which results agree: by their digests
where the contract defines one (iExec), and by the content of all outputs otherwise. Where they differ,
the first differing file and byte are shown. The digests are those in each result.json.`,
		Example: `  longshore run ./my-dapp -o first
  longshore run ./my-dapp -o second
  longshore verify first second
  longshore verify results/* --json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("a DIR", "at least one more DIR")(c, nil)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := verify(args)
			if err != nil {
				return err
			}
			if g.json {
				err = g.printJSON(r)
			} else {
				r.print(g.Out)
			}
			if err == nil && !r.Agree {
				err = exitError{exitCode(task.ReasonExit)}
			}
			return err
		},
	}
}

// verifyReport is what "verify --json" prints.
type verifyReport struct {
	Contract string `json:"contract"`
	Agree    bool   `json:"agree"`
	// By is "digest" or "outputs": what was compared.
	By string `json:"by"`
	// Groups are the results that agree with each other, the largest group first.
	Groups []verifyGroup `json:"groups"`
	// Differences are between the first folder of the first group and that of each other one.
	Differences []verifyDifference `json:"differences"`
	Notes       []string           `json:"notes,omitempty"`
}

// verifyGroup is a set of results that agree.
type verifyGroup struct {
	Dirs []string `json:"dirs"`
	// Digest and DigestRule are those of the contract; the rule is of the first folder.
	Digest     string `json:"digest,omitempty"`
	DigestRule string `json:"digestRule,omitempty"`
	// Outputs are the sha256 of each output, by name, when these are compared.
	Outputs map[string]string `json:"outputs,omitempty"`
	// Missing says why there is nothing to compare, "" when there is.
	Missing string `json:"missing,omitempty"`
	first   outcome
}

type verifyDifference struct {
	Dirs [2]string `json:"dirs"`
	// Difference is nil when no file that lies in the folders now differs.
	*difference
}

// verify compares result folders.
func verify(dirs []string) (*verifyReport, error) {
	var all []outcome
	for _, dir := range dirs {
		o, err := readOutcome(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	r := &verifyReport{Contract: all[0].res.Contract, By: "outputs", Differences: []verifyDifference{}}
	for _, o := range all {
		if o.res.Contract != r.Contract {
			return nil, (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s is a result of %s, and %s one of %s", all[0].dir, r.Contract, o.dir, o.res.Contract)}).
				WithHint("compare results of one task")
		}
		if o.res.Digest != "" {
			r.By = "digest"
		}
	}
	r.group(all)
	r.Agree = len(r.Groups) == 1 && r.Groups[0].Missing == ""
	r.note(all)
	return r, r.differ()
}

// readOutcome reads a folder's result.json.
func readOutcome(dir string) (outcome, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		code := task.ReasonInput
		if errors.Is(err, fs.ErrNotExist) {
			code = task.CodeMissing
		}
		return outcome{}, notOutcome(code, dir, err)
	}
	defer root.Close()
	data, err := readSmall(root.FS(), dispatch.ResultFile)
	if errors.Is(err, fs.ErrNotExist) {
		return outcome{}, notOutcome(task.CodeMissing, dir, errors.New("it holds no "+dispatch.ResultFile))
	}
	res := &task.Result{}
	if err == nil {
		err = json.Unmarshal(data, res)
	}
	if err == nil && (res.Contract == "" || !res.State.Terminal()) {
		err = errors.New("it names no contract or no end state")
	}
	if err != nil {
		return outcome{}, notOutcome(task.ReasonInput, dir, fmt.Errorf("%s: %w", dispatch.ResultFile, err))
	}
	return outcome{dir, res}, nil
}

func notOutcome(code task.Code, dir string, why error) error {
	return (&task.Error{Code: code, Message: dir + " is no result folder", Cause: why}).WithHint("`longshore run PACKAGE -o DIR` makes one")
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

// group puts together the results that agree. A result that cannot be compared agrees with none that can.
func (r *verifyReport) group(all []outcome) {
	index := map[string]int{}
	for _, o := range all {
		v := r.groupOf(o)
		key := strings.Join([]string{v.Missing, v.Digest}, "\x00")
		if r.By == "outputs" && v.Missing == "" {
			text, _ := json.Marshal(v.Outputs) // maps of texts always encode, in the order of their keys
			key += string(text)
		}
		i, ok := index[key]
		if !ok {
			i = len(r.Groups)
			index[key] = i
			r.Groups = append(r.Groups, v)
		}
		r.Groups[i].Dirs = append(r.Groups[i].Dirs, o.dir)
	}
	slices.SortStableFunc(r.Groups, func(a, b verifyGroup) int {
		if (a.Missing == "") != (b.Missing == "") {
			return cmp.Compare(len(a.Missing), len(b.Missing)) // what can be compared comes first
		}
		return cmp.Compare(len(b.Dirs), len(a.Dirs))
	})
}

// groupOf is the group that a result makes by itself.
func (r *verifyReport) groupOf(o outcome) verifyGroup {
	g := verifyGroup{first: o}
	switch {
	case o.res.State != task.Succeeded:
		g.Missing = "the run " + string(o.res.State)
		if o.res.Reason != "" {
			g.Missing += " (" + string(o.res.Reason) + ")"
		}
	case r.By == "digest" && o.res.Digest == "":
		g.Missing = "no digest"
	case r.By == "digest":
		g.Digest, g.DigestRule = o.res.Digest, o.res.DigestRule
	default:
		g.Outputs = map[string]string{}
		for _, out := range o.res.Outputs {
			g.Outputs[out.Name] = out.SHA256
		}
	}
	return g
}

// note tells what makes a comparison say less than it seems to.
func (r *verifyReport) note(all []outcome) {
	first := all[0].res
	for _, o := range all[1:] {
		res := o.res
		switch {
		case res.Task != first.Task || res.Version != first.Version || res.Variant != first.Variant:
			r.notef("%s and %s are results of different tasks or versions", all[0].dir, o.dir)
		case res.Image.Digest != first.Image.Digest:
			r.notef("%s and %s were made by different images", all[0].dir, o.dir)
		}
		if r.By == "digest" && res.Digest != "" && res.Digest == first.Digest {
			if res.DigestRule != first.DigestRule {
				r.notef("%s and %s have the same digest by different rules: %s, and %s", all[0].dir, o.dir, first.DigestRule, res.DigestRule)
			}
			if !sameOutputs(first, res) {
				r.notef("%s and %s agree, and differ in what the digest does not cover", all[0].dir, o.dir)
			}
		}
	}
}

func (r *verifyReport) notef(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// differ finds the first difference between the largest group and each other one that can be compared.
func (r *verifyReport) differ() error {
	for _, g := range r.Groups[1:] {
		if g.Missing != "" {
			continue
		}
		a, b := r.Groups[0].first, g.first
		d, err := firstDifference(a, b)
		if err != nil {
			return err
		}
		r.Differences = append(r.Differences, verifyDifference{[2]string{a.dir, b.dir}, d})
	}
	return nil
}

// print tells the report to people.
func (r *verifyReport) print(w io.Writer) {
	n := 0
	for _, g := range r.Groups {
		n += len(g.Dirs)
	}
	word := "DIFFER"
	if r.Agree {
		word = "agree"
	}
	groups := "1 group"
	if len(r.Groups) > 1 {
		groups = fmt.Sprintf("%d groups", len(r.Groups))
	}
	fmt.Fprintf(w, "%s: %d results in %s, by %s (%s)\n", word, n, groups, r.By, printable(r.Contract))
	for _, g := range r.Groups {
		fmt.Fprintf(w, "  %d × %s\n", len(g.Dirs), printable(g.title()))
		for _, dir := range g.Dirs {
			fmt.Fprintf(w, "      %s\n", printable(dir))
		}
	}
	for _, d := range r.Differences {
		text := fmt.Sprintf("between %s and %s no file that lies there now differs", d.Dirs[0], d.Dirs[1])
		if d.difference != nil {
			text = "first difference: " + d.words(d.Dirs[0], d.Dirs[1])
		}
		fmt.Fprintln(w, printable(text))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", printable(n))
	}
}

// title names what the results of a group have in common.
func (g verifyGroup) title() string {
	switch {
	case g.Missing != "":
		return "nothing to compare: " + g.Missing
	case g.Digest != "":
		return g.Digest + " (" + g.DigestRule + ")"
	}
	const most = 5
	var outputs []string
	for _, out := range g.first.res.Outputs[:min(most, len(g.first.res.Outputs))] {
		outputs = append(outputs, out.Name+" sha256:"+out.SHA256)
	}
	if more := len(g.first.res.Outputs) - most; more > 0 {
		outputs = append(outputs, fmt.Sprintf("and %d more outputs", more))
	}
	if len(outputs) == 0 {
		return "no outputs"
	}
	return strings.Join(outputs, ", ")
}

package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/task"
)

func newVerify(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "verify RESULT RESULT…",
		Short: "Compare results, as a consensus would",
		Long: `Compare results of the same task, and tell which agree: by their digests where the contract defines
one (iExec), and by the content of all outputs otherwise. Both are computed again from the files; what a
result.json says of them is only compared. Where results differ, the first differing file and byte are
shown, first of what the digest covers.

A RESULT is a folder that run -o made, an output folder as the platform leaves it (iExec: iexec_out), or
the platform's archive (run --package makes one).

The exit code is 0 when all agree, 1 when they do not, 66 when there is no such folder or file, 67 when it
is no result, and 64 when results of different contracts are compared.`,
		Example: `  longshore run ./my-dapp -o first
  longshore run ./my-dapp -o second
  longshore verify first second
  longshore verify first worker-1/iexec_out worker-2.zip
  longshore verify results/* --json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return exactly("a RESULT", "at least one more RESULT")(c, args)
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
	// Differences are between the first result of the first group and that of each other one.
	Differences []verifyDifference `json:"differences"`
	Notes       []string           `json:"notes,omitempty"`
}

// verifyGroup is a set of results that agree.
type verifyGroup struct {
	Dirs []string `json:"dirs"`
	// Digest and DigestRule are those of the contract; the rule is of the first result.
	Digest     string `json:"digest,omitempty"`
	DigestRule string `json:"digestRule,omitempty"`
	// Outputs are the sha256 of each output, by name, when these are compared.
	Outputs map[string]string `json:"outputs,omitempty"`
	// Missing says why there is nothing to compare, "" when there is.
	Missing string `json:"missing,omitempty"`
	first   *verified
}

type verifyDifference struct {
	Dirs [2]string `json:"dirs"`
	// Difference is nil when no file differs.
	*difference
}

// verify compares results.
func verify(names []string) (*verifyReport, error) {
	var all []*verified
	defer func() {
		for _, v := range all {
			v.close()
		}
	}()
	for _, name := range names {
		v, err := openVerified(name)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	r := &verifyReport{Contract: all[0].contract.Name(), By: "outputs", Differences: []verifyDifference{}}
	for _, v := range all {
		if name := v.contract.Name(); name != r.Contract {
			return nil, (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s is a result of %s, and %s one of %s", all[0].name, r.Contract, v.name, name)}).
				WithHint("compare results of one task")
		}
		if v.digests() {
			r.By = "digest"
		}
		if err := v.compute(); err != nil {
			return nil, err
		}
	}
	r.group(all)
	r.Agree = len(r.Groups) == 1 && r.Groups[0].Missing == ""
	r.note(all)
	return r, r.differ()
}

// group puts together the results that agree. A result that cannot be compared agrees with none that can.
func (r *verifyReport) group(all []*verified) {
	index := map[string]int{}
	for _, v := range all {
		g := verifyGroup{Digest: v.digest.Digest, DigestRule: v.digest.Rule, Outputs: v.outputs, Missing: v.missing, first: v}
		text, _ := json.Marshal([]any{g.Missing, g.Digest, g.Outputs}) // texts always encode, in the order of their keys
		i, ok := index[string(text)]
		if !ok {
			i = len(r.Groups)
			index[string(text)] = i
			r.Groups = append(r.Groups, g)
		}
		r.Groups[i].Dirs = append(r.Groups[i].Dirs, v.name)
	}
	slices.SortStableFunc(r.Groups, func(a, b verifyGroup) int {
		if (a.Missing == "") != (b.Missing == "") {
			return cmp.Compare(len(a.Missing), len(b.Missing)) // what can be compared comes first
		}
		return cmp.Compare(len(b.Dirs), len(a.Dirs))
	})
}

// note tells what makes a comparison say less than it seems to.
func (r *verifyReport) note(all []*verified) {
	first := all[0]
	for _, v := range all {
		for _, n := range v.digest.Notes {
			r.notef("%s: %s", v.name, n)
		}
		for _, p := range v.skipped {
			r.notef("%s: %s is neither a file nor a folder; nothing of that kind is compared", v.name, p)
		}
		for _, n := range v.changed() {
			r.notef("%s was changed after its run: %s", v.name, n)
		}
		if v != first && v.res != nil && first.res != nil {
			r.noteRuns(first, v)
		}
		if v != first && v.digest.Digest != "" && v.digest.Digest == first.digest.Digest && v.digest.Rule != first.digest.Rule {
			r.notef("%s and %s have the same digest by different rules: %s, and %s", first.name, v.name, first.digest.Rule, v.digest.Rule)
		}
	}
	for _, g := range r.Groups {
		if len(g.Dirs) > 1 && len(g.Dirs) > len(all)/2 && len(r.Groups) > 1 && g.Missing == "" {
			r.notef("the %d results of the first group are the majority; who has another result disagrees with them", len(g.Dirs))
		}
	}
}

// noteRuns tells how two runs of ours differ.
func (r *verifyReport) noteRuns(a, b *verified) {
	switch {
	case a.res.Task != b.res.Task || a.res.Version != b.res.Version || a.res.Variant != b.res.Variant:
		r.notef("%s and %s are results of different tasks or versions", a.name, b.name)
	case a.res.Image.Digest != b.res.Image.Digest:
		r.notef("%s and %s were made by different images", a.name, b.name)
	}
	if a.digest.Digest != "" && a.digest.Digest == b.digest.Digest && !sameOutputs(a.res, b.res) {
		r.notef("%s and %s agree, and differ in what the digest does not cover", a.name, b.name)
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
		d, err := a.difference(b)
		if err != nil {
			return err
		}
		r.Differences = append(r.Differences, verifyDifference{[2]string{a.name, b.name}, d})
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
		text := fmt.Sprintf("between %s and %s no file differs", d.Dirs[0], d.Dirs[1])
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
		outputs = append(outputs, out.Name+" sha256:"+g.Outputs[out.Name])
	}
	if more := len(g.first.res.Outputs) - most; more > 0 {
		outputs = append(outputs, fmt.Sprintf("and %d more outputs", more))
	}
	if len(outputs) == 0 {
		return "no outputs"
	}
	return strings.Join(outputs, ", ")
}

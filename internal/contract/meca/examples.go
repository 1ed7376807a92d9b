package meca

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// The words of the verdicts.
const (
	wordMatch         = "match"          // the bytes are equal
	wordTrim          = "match-trim"     // equal text but for white space around it: MECA's own rule
	wordJSON          = "match-json"     // both are JSON and equal as values
	wordBase64        = "match-base64"   // the reply is the base64 text of the promised bytes: not a pass
	wordMismatch      = "mismatch"       // anything else
	wordNotReplayable = "not-replayable" // the promise cannot be kept by any run
	wordError         = "error"          // the reply cannot be read
)

// Examples returns the one run that a MECA folder promises: example_input.bin, byte for byte, gives example_output.bin. A
// package whose example cannot be replayed has an Example that says so in Skip.
func (Contract) Examples(src contract.Source, t *task.Task) ([]contract.Example, error) {
	if src.FS == nil {
		return nil, nil
	}
	f, err := open(src)
	if err != nil {
		return nil, err
	}
	l := &loader{folder: f}
	in, err := l.read(exampleInput, maxBody)
	if err != nil {
		return nil, task.Errorf(task.CodePackage, "%s cannot be sent: %w", exampleInput, err)
	}
	want, err := l.read(exampleOutput, maxBody)
	if err != nil {
		return nil, task.Errorf(task.CodePackage, "%s cannot be compared: %w", exampleOutput, err)
	}
	ex := contract.Example{
		Name: "example", Variant: t.Variant, Skip: notReplayable(t, in, want),
		Check: func(res *task.Result, outDir string) contract.Verdict {
			v := check(want, res, outDir)
			v.Pass = v.Pass && (v.Word != wordJSON || !detailOf(t).AsRunner)
			return v
		},
	}
	body := task.Body{Text: string(in)}
	if f.dir != "" && len(in) > 0 {
		body = task.Body{Path: filepath.Join(f.dir, exampleInput)}
	}
	ex.Request.Body = &body
	return []contract.Example{ex}, nil
}

// notReplayable says why no run can keep the example's promise, or "".
func notReplayable(t *task.Task, in, want []byte) string {
	switch {
	case len(t.Variants) > 0:
		return wordNotReplayable + ": the example of an SGX task is bound to the key of one enclave"
	case damaged(in):
		return wordNotReplayable + ": " + exampleInput + " is a damaged PNG image"
	case damaged(want):
		return wordNotReplayable + ": " + exampleOutput + " is a damaged PNG image"
	}
	return ""
}

// check compares a run's output with the promised bytes.
func check(want []byte, res *task.Result, outDir string) contract.Verdict {
	i := slices.IndexFunc(res.Outputs, func(o task.OutputResult) bool { return o.Name == outputName })
	if i < 0 {
		return contract.Verdict{Word: wordError, Detail: "the run has no output"}
	}
	p := filepath.Join(outDir, filepath.FromSlash(res.Outputs[i].Path))
	st, err := os.Lstat(p)
	switch {
	case err != nil:
		return contract.Verdict{Word: wordError, Detail: err.Error()}
	case !st.Mode().IsRegular() || st.Size() > maxBody:
		return contract.Verdict{Word: wordError, Detail: fmt.Sprintf("the output is a %s of %s", contract.KindOf(st.Mode()), task.Bytes(st.Size()))}
	}
	got, err := os.ReadFile(p)
	if err != nil {
		return contract.Verdict{Word: wordError, Detail: err.Error()}
	}
	return Compare(want, got)
}

// Compare judges a reply against example_output.bin. MECA compares texts without the white space around them, as
// JavaScript's trim removes it. JSON that is equal as values passes here too, and the detail says that the platform's own test,
// which compares text, would not take it.
func Compare(want, got []byte) contract.Verdict {
	if bytes.Equal(want, got) {
		return contract.Verdict{Pass: true, Word: wordMatch}
	}
	if !utf8.Valid(want) {
		if base64.StdEncoding.EncodeToString(want) == trim(string(got)) {
			return contract.Verdict{Word: wordBase64, Detail: "the reply is the base64 text of example_output.bin; store that text in it"}
		}
		return contract.Verdict{Word: wordMismatch, Detail: difference(want, got)}
	}
	// MECA's executor puts U+FFFD in the place of each byte that is not UTF-8.
	w, g := trim(string(want)), trim(string([]rune(string(got))))
	if w == g {
		return contract.Verdict{Pass: true, Word: wordTrim}
	}
	if a, err := contract.ParseJSON([]byte(w)); err == nil {
		if b, err := contract.ParseJSON([]byte(g)); err == nil && sameJSON(a, b) {
			return contract.Verdict{Pass: true, Word: wordJSON, Detail: "equal as JSON, but not as text, which is what MECA's desktop compares; store the reply as it is in example_output.bin"}
		}
	}
	return contract.Verdict{Word: wordMismatch, Detail: difference([]byte(w), []byte(g))}
}

// trim removes what JavaScript's String.prototype.trim does: Unicode spaces, tabs, line ends and the byte-order mark.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		switch r {
		case '\t', '\n', '\v', '\f', '\r', '\u2028', '\u2029', '\ufeff':
			return true
		}
		return unicode.Is(unicode.Zs, r)
	})
}

// sameJSON tells whether two documents have the same value: members in any order, the last of a repeated key counting, and
// numbers by value.
func sameJSON(a, b *contract.Node) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case contract.NodeList:
		return slices.EqualFunc(a.Items, b.Items, sameJSON)
	case contract.NodeObject:
		return sameMembers(a, b)
	case contract.NodeNumber:
		x, ok1 := a.Rat()
		y, ok2 := b.Rat()
		if ok1 && ok2 && modest(x) && modest(y) {
			return x.Cmp(y) == 0
		}
	}
	return a.Text == b.Text
}

// modest tells numbers that are cheap to compare exactly.
func modest(r *big.Rat) bool { return r.Num().BitLen() < 1<<16 && r.Denom().BitLen() < 1<<16 }

func sameMembers(a, b *contract.Node) bool {
	x, y := members(a), members(b)
	if len(x) != len(y) {
		return false
	}
	for k, v := range x {
		if o, ok := y[k]; !ok || !sameJSON(v, o) {
			return false
		}
	}
	return true
}

func members(n *contract.Node) map[string]*contract.Node {
	m := make(map[string]*contract.Node, len(n.Members))
	for _, it := range n.Members {
		m[it.Key] = it.Value
	}
	return m
}

// difference shows where two texts part, with what follows there in each.
func difference(want, got []byte) string {
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	for i > 0 && i < len(want) && !utf8.RuneStart(want[i]) {
		i--
	}
	line := bytes.Count(want[:i], []byte("\n")) + 1
	column := utf8.RuneCount(want[bytes.LastIndexByte(want[:i], '\n')+1:i]) + 1
	return fmt.Sprintf("line %d, column %d (byte %d): promised %s, got %s", line, column, i, glimpse(want, i), glimpse(got, i))
}

func glimpse(data []byte, at int) string {
	const most = 40
	if at >= len(data) {
		return "the end"
	}
	end := min(at+most, len(data))
	s := fmt.Sprintf("%q", data[at:end])
	if end < len(data) {
		s += "…"
	}
	return s
}

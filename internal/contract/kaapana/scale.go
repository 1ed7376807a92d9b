package kaapana

import (
	"fmt"
	"math/big"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// scaleRule computes memory from the size of an input: Coefficient × size^Exponent bytes.
type scaleRule struct {
	// Coefficient is an exact rational ("8", "3/2"). The older dialect allows fractions and exponents.
	Coefficient string `json:"coefficient"`
	Exponent    int    `json:"exponent"`
	// Type is limit or request, Mode sum, max_file_size or max_item_sum.
	Type string `json:"type"`
	Mode string `json:"mode"`
	// Dir is relative to the channel, or for max_item_sum to each item; Glob and Regex select files below it.
	Dir   string `json:"dir,omitempty"`
	Glob  string `json:"glob"`
	Regex string `json:"regex"`
}

// The types and modes of scale rules.
const (
	scaleLimit   = "limit"
	scaleRequest = "request"

	modeSum     = "sum"
	modeMaxFile = "max_file_size"
	modeMaxItem = "max_item_sum"
)

const (
	defaultGlob  = "*"
	defaultRegex = ".*"
	// maxExponent bounds n**exponent; every use known is n**1.
	maxExponent = 64
	// maxDigits bounds a number's text: exact arithmetic with more takes seconds.
	maxDigits = 1000
)

var scaleFields = []string{"scale_factor", "complexity", "type", "mode", "target_dir", "target_regex", "target_glob"}

func (r *reader) scaleRule(n *contract.Node, at string) *scaleRule {
	r.fields(n, "a scale rule", scaleFields)
	s := &scaleRule{Type: r.word(n, at, "type", scaleLimit, scaleRequest), Mode: r.word(n, at, "mode", modeSum, modeMaxFile, modeMaxItem)}
	s.Dir = r.target(n, at, "target_dir", "")
	s.Glob = r.target(n, at, "target_glob", defaultGlob)
	s.Regex = r.target(n, at, "target_regex", defaultRegex)
	if !r.scaleFunction(n, s) {
		return nil
	}
	where := func(key string) contract.At {
		if v := n.Get(key); v != nil {
			return v.Pos()
		}
		return n.Pos()
	}
	r.checkDir(s.Dir, where("target_dir"))
	r.checkGlob(s.Glob, where("target_glob"))
	r.checkRegex(s, where("target_regex"))
	return s
}

// word reads a required string that is one of a few.
func (r *reader) word(n *contract.Node, at, key string, words ...string) string {
	v := n.Get(key)
	if v == nil {
		r.missing(n, member(at, key), "write one of "+strings.Join(words, ", "))
		return ""
	}
	if !v.Is(contract.NodeString) || !slices.Contains(words, v.Text) {
		f := r.Add(task.SeverityError, ruleFieldType, v.Pos(), "`%s` must be %s, found %s", member(at, key), strings.Join(words, " or "), quoted(v))
		f.Mend = "write one of " + strings.Join(words, ", ")
		if near := contract.Nearest(v.Text, words); near != "" {
			f.Mend = "write \"" + near + "\""
		}
		return ""
	}
	return v.Text
}

func quoted(n *contract.Node) string {
	if n.Is(contract.NodeString) {
		return "`" + n.Text + "`"
	}
	return string(n.Kind)
}

// target reads one of the three optional fields; null stands for the default.
func (r *reader) target(n *contract.Node, at, key, def string) string {
	v := n.Get(key)
	switch {
	case v == nil:
		return def
	case v.IsNull():
		r.Note(ruleScaleNull, v.Pos(), "null means the default here; Kaapana fails on it.")
		return def
	}
	if !v.Is(contract.NodeString) {
		r.wrongType(v, member(at, key), "a string")
		return def
	}
	return r.str(v, member(at, key))
}

// scaleFunction reads scale_factor and complexity. false means that the rule is no use.
func (r *reader) scaleFunction(n *contract.Node, s *scaleRule) bool {
	factor, complexity := n.Get("scale_factor"), n.Get("complexity")
	if factor == nil && complexity.IsNull() {
		r.Error(ruleScaleMissing, n.Pos(), "add \"scale_factor\"", "A scale rule needs `scale_factor` (or the older `complexity`).")
		return false
	}
	var a, b *growth
	if complexity != nil && !complexity.IsNull() {
		r.dialect(complexity.Pos(), "complexity", "early", "2025-09-03 to 2025-10-31", "refuses it")
		if b = r.complexity(complexity); b == nil {
			return false
		}
		s.Coefficient, s.Exponent = b.coefficient.RatString(), b.exponent
	}
	if factor != nil {
		if a = r.scaleFactor(factor); a == nil {
			return false
		}
		s.Coefficient, s.Exponent = a.coefficient.RatString(), a.exponent
	}
	if a != nil && b != nil && (a.exponent != b.exponent || a.coefficient.Cmp(b.coefficient) != 0) {
		r.Error(ruleScaleBoth, complexity.Pos(), "keep `scale_factor`", "`scale_factor` %s and `complexity` %s disagree.", factor.Text, complexity.Text)
		return false
	}
	return true
}

// growth is coefficient × n^exponent.
type growth struct {
	coefficient *big.Rat
	exponent    int
}

// scaleFactor reads the integer in the forms that Kaapana's model takes: 2, 2.0, "3", "2.0", true.
func (r *reader) scaleFactor(n *contract.Node) *growth {
	text := n.Text
	b, isBool := n.Bool()
	switch {
	case b:
		text = "1"
		r.Warn(ruleScaleFactor, n.Pos(), "write a number", "`scale_factor` is a boolean and counts as 1")
	case isBool:
		text = "0"
	case !n.Is(contract.NodeNumber) && !n.Is(contract.NodeString):
		text = ""
	}
	var v *big.Int
	ok := len(text) <= maxDigits
	if ok {
		v, ok = task.ParseInteger(strings.TrimSpace(text))
	}
	if !ok {
		r.Error(ruleScaleFactor, n.Pos(), "write a whole number", "`scale_factor` must be an integer, found %s", shown(n))
		return nil
	}
	if v.Sign() <= 0 {
		r.Warn(ruleScaleFactor, n.Pos(), "write a positive number", "`scale_factor` %s has no effect.", v)
	}
	return &growth{new(big.Rat).SetInt(v), 1}
}

func shown(n *contract.Node) string {
	if n.Is(contract.NodeNumber) {
		return n.Text
	}
	return quoted(n)
}

var complexityForm = regexp.MustCompile(`^([-+]?)([0-9]*(?:\.[0-9]+)?)\*?n(?:\*\*([0-9]+))?$`)

// complexity reads the older dialect's expression; a missing coefficient and a missing exponent are 1.
func (r *reader) complexity(n *contract.Node) *growth {
	m := complexityForm.FindStringSubmatch(n.Str())
	if m == nil || len(n.Text) > maxDigits {
		r.Error(ruleScaleComplexity, n.Pos(), "write it like 10*n**1", "`complexity` is <coefficient>*n**<exponent>, for example 10*n**1.")
		return nil
	}
	g := &growth{big.NewRat(1, 1), 1}
	if m[2] != "" {
		if _, ok := g.coefficient.SetString(m[2]); !ok {
			return nil // digits with an optional fraction always parse
		}
	}
	if m[1] == "-" {
		g.coefficient.Neg(g.coefficient)
	}
	if m[3] != "" {
		e, err := strconv.Atoi(m[3])
		if err != nil || e > maxExponent {
			r.Error(ruleScaleComplexity, n.Pos(), "write it like 10*n**1", "`complexity` %s: an exponent above %d is more than any machine has", n.Text, maxExponent)
			return nil
		}
		g.exponent = e
	}
	if g.coefficient.Sign() <= 0 {
		r.Warn(ruleScaleComplexity, n.Pos(), "write a positive coefficient", "`complexity` %s has no effect.", n.Text)
	}
	return g
}

func (r *reader) checkDir(dir string, at contract.At) {
	if path.IsAbs(dir) || hasDotDot(dir) {
		r.Error(ruleScaleDir, at, "name a folder below the channel", "`target_dir` must stay inside the channel.")
	}
}

func (r *reader) checkGlob(glob string, at contract.At) {
	g, err := parseGlob(glob)
	switch {
	case err != nil:
		r.Error(ruleScaleGlob, at, "use a pattern below the channel, such as *.nrrd", "`target_glob` `%s`: %v", glob, err)
	case g.foldersOnly(), strings.Contains(glob, "{"):
		r.Warn(ruleScaleGlob, at, "use *, ? and […]; a { is an ordinary character", "`target_glob` `%s` selects nothing.", glob)
	}
}

func (r *reader) checkRegex(s *scaleRule, at contract.At) {
	doubts, err := checkRegex(s.Regex)
	dir := "`" + s.Dir + "`"
	if s.Dir == "" {
		dir = "the channel"
		if s.Mode == modeMaxItem {
			dir = "each item"
		}
	}
	if err != nil {
		r.Error(ruleScaleRegex, at, "see the syntax of Python's re; Longshore's engine has no look-around and no back-references",
			"`target_regex`: %v. It must match the whole path relative to %s.", err, dir)
		return
	}
	for _, d := range doubts {
		r.Warn(ruleScaleRegex, at, "write it another way", "`target_regex`: %s. It must match the whole path relative to %s.", d, dir)
	}
	if inRootOnly(s.Regex) {
		f := r.Add(task.SeverityNote, ruleScaleBasename, at, "Matches only files directly in %s: the relative path is compared, not the file name.", dir)
		f.Mend = "start it with .* to match at any depth"
	}
}

// describe says what the rule multiplies with what, for example "8 × max_item_sum of *.nrrd".
func (s *scaleRule) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s × %s", s.Coefficient, s.Mode)
	switch s.Exponent {
	case 0:
		return s.Coefficient + " whatever the size"
	case 1:
	default:
		fmt.Fprintf(&b, "^%d", s.Exponent)
	}
	if s.Glob != defaultGlob {
		b.WriteString(" of " + s.Glob)
	}
	if s.Regex != defaultRegex {
		b.WriteString(" matching " + s.Regex)
	}
	if s.Dir != "" {
		b.WriteString(" in " + s.Dir)
	}
	return b.String()
}

// requirement is Coefficient × size^Exponent, rounded up to whole bytes.
func (s *scaleRule) requirement(size int64) (*big.Int, error) {
	c, ok := new(big.Rat).SetString(s.Coefficient)
	if !ok {
		return nil, fmt.Errorf("the stored scale rule has the coefficient %q", s.Coefficient)
	}
	n := new(big.Int).Exp(big.NewInt(size), big.NewInt(int64(s.Exponent)), nil)
	return ceil(c.Mul(c, new(big.Rat).SetInt(n))), nil
}

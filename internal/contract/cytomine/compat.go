package cytomine

import (
	"math"
	"math/big"
	"regexp"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// compatAppEngine names the reading of today's App Engine (Options.Compat). Where it departs from what is documented it is:
// outputs of type integer are decimal, of 32 bits; a Feature with properties needs a subType; the size and format of files are
// not looked at; defaults are not applied.
const compatAppEngine = "app-engine"

var (
	_ contract.CompatModes  = Contract{}
	_ contract.LegacyLayout = Contract{}
)

// CompatModes implements contract.CompatModes.
func (Contract) CompatModes() []string { return []string{compatAppEngine} }

// LegacyLayout implements contract.LegacyLayout: the type wsi of release 0.1.0 is read as an image in its formats.
func (Contract) LegacyLayout() string { return "read the type wsi of release 0.1.0" }

// reading is how values are read: the zero value as documented.
type reading struct{ appEngine bool }

// readingOf is the reading that a task was loaded for.
func readingOf(d detail) reading { return reading{d.Compat == compatAppEngine} }

// check tests a written-down value and returns the App Engine's text for the first check that fails, or "".
func (r reading) check(t task.Type, s string) string {
	if r.appEngine && t.Kind == task.Geometry {
		return checkGeometry([]byte(s), needsSubtype)
	}
	return checkText(t, s)
}

// onDisk tests the content of a file or image.
func (r reading) onDisk(t task.Type, x *extra, name string) (string, error) {
	if r.appEngine && t.Kind == task.FileKind {
		return "", nil
	}
	return checkOnDisk(t, x, name)
}

// javaInteger is what Java's Integer.parseInt takes.
var javaInteger = regexp.MustCompile(`^[-+]?[0-9]{1,100}$`)

// integer reads an integer's text. octal tells that a leading zero made it octal, which today's App Engine reads as decimal.
func (r reading) integer(s string) (v *big.Int, octal, ok bool) {
	if !r.appEngine {
		return parseInteger(s)
	}
	if !javaInteger.MatchString(s) {
		return nil, false, false
	}
	v, ok = new(big.Int).SetString(s, 10)
	return v, false, ok && v.IsInt64() && v.Int64() >= math.MinInt32 && v.Int64() <= math.MaxInt32
}

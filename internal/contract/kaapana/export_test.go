package kaapana

import (
	"strings"
)

// Measure is measure, for tests.
func Measure(base, mode, dir, glob, regex string) (bytes int64, outside []string, err error) {
	s, err := measure(base, &scaleRule{Coefficient: "1", Exponent: 1, Type: scaleLimit, Mode: mode, Dir: dir, Glob: glob, Regex: regex})
	return s.Bytes, s.Outside, err
}

// MatchName, CompileRegex, CheckRegex and Render are the parsers that fuzzing and vectors reach directly.
var (
	MatchName    = matchName
	PythonStr    = pythonStr
	CompileRegex = compileRegex
	CheckRegex   = checkRegex
	ParseGlob    = parseGlob
)

// Render renders a document with the given variables.
func Render(text string, env map[string]string) (string, []string) {
	r := &reader{}
	out := r.render([]byte(text), func(name string) (string, bool) {
		v, ok := env[strings.TrimPrefix(name, "env.")]
		return v, ok
	})
	var rules []string
	for _, f := range r.Findings {
		rules = append(rules, f.Rule)
	}
	return string(out), rules
}

// Requirement is the figure a complexity or factor gives for a size.
func Requirement(coefficient string, exponent int, size int64) (string, error) {
	n, err := (&scaleRule{Coefficient: coefficient, Exponent: exponent}).requirement(size)
	if err != nil {
		return "", err
	}
	return n.String(), nil
}

// KubernetesText is a number of bytes as Kaapana formats it.
func KubernetesText(bytes float64) string {
	text, unit := kubernetesText(bytes)
	return text + memoryUnits[unit]
}

package racetrack

import (
	"math/big"
	"regexp"
	"strings"

	"longshore/internal/contract"
)

// scalar is what YAML 1.1 takes a plain word for. Racetrack reads manifests by these rules, so that no is a boolean and
// 12:30 a number; documents are parsed by the rules of 1.2, which keep the word's text.
type scalar string

const (
	scalarNull   scalar = "null"
	scalarBool   scalar = "boolean"
	scalarInt    scalar = "integer"
	scalarFloat  scalar = "number"
	scalarDate   scalar = "date"
	scalarString scalar = "string"
	scalarNone   scalar = "" // a list or a mapping
)

// The forms of YAML 1.1's plain scalars (yaml.org/type), as PyYAML resolves them.
var (
	nullForm  = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	boolForm  = regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)
	intForm   = regexp.MustCompile(`^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)
	floatForm = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
	dateForm  = regexp.MustCompile(`^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9][0-9]?-[0-9][0-9]?(?:[Tt]|[ \t]+)[0-9][0-9]?:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9][0-9]?(?::[0-9]{2})?))?)$`)
)

// scalarOf resolves a node; nil is null.
func scalarOf(n *contract.Node) scalar {
	switch {
	case n.IsNull():
		return scalarNull
	case n.Kind == contract.NodeObject || n.Kind == contract.NodeList:
		return scalarNone
	case n.Quoted:
		return scalarString
	}
	for _, f := range []struct {
		form *regexp.Regexp
		kind scalar
	}{{nullForm, scalarNull}, {boolForm, scalarBool}, {intForm, scalarInt}, {floatForm, scalarFloat}, {dateForm, scalarDate}} {
		if f.form.MatchString(n.Text) {
			return f.kind
		}
	}
	return scalarString
}

// integerOf is the value of a plain integer of YAML 1.1: binary, octal with a leading zero, hexadecimal, base 60 or decimal.
func integerOf(text string) (*big.Int, bool) {
	if !intForm.MatchString(text) || len(text) > 1000 {
		return nil, false
	}
	s := strings.ReplaceAll(text, "_", "")
	sign := int64(1)
	if s[0] == '-' || s[0] == '+' {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	var v *big.Int
	ok := false
	switch {
	case strings.HasPrefix(s, "0b"):
		v, ok = new(big.Int).SetString(s[2:], 2)
	case strings.HasPrefix(s, "0x"):
		v, ok = new(big.Int).SetString(s[2:], 16)
	case strings.Contains(s, ":"):
		v, ok = sexagesimal(s)
	case len(s) > 1 && s[0] == '0':
		v, ok = new(big.Int).SetString(s, 8)
	default:
		v, ok = new(big.Int).SetString(s, 10)
	}
	if !ok {
		return nil, false
	}
	return v.Mul(v, big.NewInt(sign)), true
}

func sexagesimal(s string) (*big.Int, bool) {
	v := new(big.Int)
	for _, digits := range strings.Split(s, ":") {
		d, ok := new(big.Int).SetString(digits, 10)
		if !ok {
			return nil, false
		}
		v.Add(v.Mul(v, big.NewInt(60)), d)
	}
	return v, true
}

// source is a node as the manifest has it, for messages.
func source(n *contract.Node) string {
	switch {
	case n.Is(contract.NodeList):
		return "a list"
	case n.Is(contract.NodeObject):
		return "a mapping"
	case n.Is(contract.NodeString) && n.Quoted:
		return `"` + show(n.Text) + `"`
	}
	return show(n.Text)
}

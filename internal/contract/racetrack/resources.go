package racetrack

import (
	"math/big"
	"regexp"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// The form of Racetrack's quantities (reference 2.7): no sign, no exponent, no space.
var (
	quantityForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)$`)
	suffixes     = []string{"n", "u", "m", "k", "M", "G", "T", "P", "E", "p", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}
)

// quantity is an amount as written and its exact value.
type quantity struct {
	key   string // the field's path
	text  string
	value *big.Rat
	node  *contract.Node
}

// resources reads resources (reference R1). A minimum is what must be free, a maximum is the limit; a maximum that is not
// there means no limit of the job's own, and zero counts as not there, as on Racetrack.
func (l *loader) resources(root *contract.Node) task.Resources {
	n := l.mapping(root, "resources", "")
	if n == nil {
		return task.Resources{}
	}
	l.unknown(n, "resources.", resourceKeys())
	q := map[string]*quantity{}
	for _, key := range resourceKeys() {
		q[key] = l.quantity(n, key)
	}
	for _, kind := range []string{"memory", "cpu"} {
		least, most := q[kind+"_min"], q[kind+"_max"]
		if least != nil && most != nil && least.value.Cmp(most.value) > 0 {
			add := l.on(ruleQuantity, least.node, "resources.%s_min (%s) must be less than resources.%s_max (%s)", kind, least.text, kind, most.text)
			add.Mend = "lower the one or raise the other"
			q[kind+"_min"] = nil // one fault is told once
		}
	}
	return task.Resources{
		CPU: task.MilliCPU(l.whole(q["cpu_max"], 1000)), MinCPU: task.MilliCPU(l.whole(q["cpu_min"], 1000)),
		Memory: task.Bytes(l.whole(q["memory_max"], 1)), MinMemory: task.Bytes(l.whole(q["memory_min"], 1)),
	}
}

// quantity reads one amount; nil when it is not there, zero, or wrong.
func (l *loader) quantity(in *contract.Node, key string) *quantity {
	n := in.Get(key)
	switch scalarOf(n) {
	case scalarNull:
		return nil
	case scalarString, scalarInt, scalarFloat:
	default:
		l.wrongType(n, "resources."+key, "quantity")
		return nil
	}
	text := n.Text
	if v, ok := integerOf(text); ok && !n.Quoted {
		text = v.String() // 0x10 is 16 by now
	}
	m := quantityForm.FindStringSubmatch(text)
	switch {
	case m == nil || len(text) > 60:
		add := l.on(ruleQuantity, n, `resources.%s: invalid quantity format: %s, use "<number><suffix>"`, key, show(n.Text))
		add.Mend = "such as 256Mi, 1.5Gi, 250m or 2"
		return nil
	case m[2] != "" && !contains(suffixes, m[2]):
		add := l.on(ruleQuantity, n, "resources.%s: invalid suffix: %s, use one of %s", key, show(m[2]), strings.Join(suffixes, ", "))
		add.Mend = "such as Mi for mebibytes, or m for thousandths"
		return nil
	}
	v := valueOf(m[1], m[2])
	if v.Sign() == 0 {
		l.note("resources.%s: zero counts as not given", key)
		return nil
	}
	return &quantity{key: "resources." + key, text: n.Text, value: v, node: n}
}

// valueOf multiplies a decimal number with its suffix.
func valueOf(digits, suffix string) *big.Rat {
	whole, fraction, _ := strings.Cut(digits, ".")
	n, _ := new(big.Int).SetString(whole+fraction, 10) // digits alone
	v := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(fraction))), nil))
	power := func(base, e int64) *big.Rat {
		return new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(base), big.NewInt(e), nil))
	}
	switch i := strings.Index("pnum", suffix); {
	case suffix == "":
		return v
	case i >= 0: // pico, nano, micro, milli
		return v.Quo(v, power(1000, int64(4-i)))
	case strings.HasSuffix(suffix, "i"):
		return v.Mul(v, power(1024, int64(strings.Index("KMGTPE", suffix[:1])+1)))
	}
	return v.Mul(v, power(1000, int64(strings.Index("kMGTPE", suffix)+1)))
}

// whole scales an amount and rounds it up; zero when there is none.
func (l *loader) whole(q *quantity, scale int64) int64 {
	if q == nil {
		return 0
	}
	v := new(big.Rat).Mul(q.value, new(big.Rat).SetInt64(scale))
	n, rest := new(big.Int).QuoRem(v.Num(), v.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		n.Add(n, big.NewInt(1))
	}
	if !n.IsInt64() {
		l.on(ruleQuantity, q.node, "%s: %s is more than any machine has", q.key, show(q.text)).Mend = "write a smaller amount"
		return 0
	}
	return n.Int64()
}

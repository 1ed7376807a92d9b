package meca

import (
	"cmp"
	"errors"
	"math/big"
	"slices"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// config is what config.json says.
type config struct {
	cpu    task.MilliCPU
	memory task.Bytes
	useGPU bool
	gpus   int
	sgx    bool
	notes  []string
}

// defaults are the documented values (MECA seed, section 3).
func defaults() config { return config{cpu: 1000, memory: 128 << 20} }

// The fields of "resource". The last two are not in the seed: MECA's own SGX sample uses them.
const (
	fieldCPU    = "cpu"
	fieldMem    = "mem"
	fieldUseGPU = "use_gpu"
	fieldGPUs   = "gpu_count"
	fieldSGX    = "use_sgx"
	fieldMemory = "memory"
)

const resourceField = "resource"

func fields() []string {
	return []string{fieldCPU, fieldMem, fieldUseGPU, fieldGPUs, fieldSGX, fieldMemory}
}

// Bounds of the fields. A container with less than minMem cannot be started; the upper ones keep nanoseconds of processor
// time and bytes within 64 bits.
const (
	maxCPU  = 9_223_372_036
	minMem  = 6
	maxMem  = 1<<43 - 1
	maxGPUs = 1 << 20
)

// config reads config.json. Whatever is wrong in it, the fields that are right are used.
func (l *loader) config() config {
	c := defaults()
	data, err := l.read(configuration, maxText)
	if err != nil {
		l.found(ruleSyntax, configuration, contract.At{}, "config.json cannot be read: %v", err)
		return c
	}
	if at, bad := badUTF8(data); bad {
		l.syntax(at, "the file is not UTF-8").Mend = "save it as UTF-8"
		return c
	}
	root, err := contract.ParseJSON(data)
	if err != nil {
		at, reason := syntaxAt(err)
		l.syntax(at, reason).Mend = cmp.Or(mendOf(err), "write a JSON object, such as {\"resource\": {\"cpu\": 1, \"mem\": 128}}")
		return c
	}
	if root.Kind != contract.NodeObject && root.Kind != contract.NodeNull {
		l.syntax(root.Pos(), "must be an object, found "+jsonKind(root)).Mend = `write {"resource": {…}}`
		return c
	}
	first := len(l.report.Findings)
	for _, m := range root.Duplicates() {
		add := l.found(ruleKey, configuration, m.Pos(), "config.json: key %s is given twice; the last one counts", show(m.Key))
		add.Mend = "keep one of them"
	}
	if fields, prefix := l.resource(root, &c); fields != nil {
		l.fields(fields, prefix, &c)
	}
	slices.SortStableFunc(l.report.Findings[first:], func(a, b task.Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return c
}

func (l *loader) syntax(at contract.At, reason string) *task.Finding {
	return l.found(ruleSyntax, configuration, at, "config.json: invalid JSON at line %d, column %d: %s", at.Line, at.Column, reason)
}

func syntaxAt(err error) (contract.At, string) {
	if s, ok := errors.AsType[*contract.SyntaxError](err); ok {
		return contract.At{Line: s.Line, Column: s.Column}, s.Reason
	}
	return contract.At{Line: 1, Column: 1}, err.Error()
}

// mendOf is how to repair what could not be parsed, "" when that is not clear.
func mendOf(err error) string {
	if s, ok := errors.AsType[*contract.SyntaxError](err); ok {
		return s.Mend
	}
	return ""
}

// resource finds the object that holds the fields, and what comes before their names: "resource", the same nested twice, or
// the top level. It answers nil when there is none.
func (l *loader) resource(root *contract.Node, c *config) (fields *contract.Node, prefix string) {
	r := root.Get(resourceField)
	if r.IsNull() {
		return l.withoutResource(root, c), ""
	}
	l.unknown(root, "", resourceField)
	if r.Kind != contract.NodeObject {
		l.wrongType(r, "", "object")
		return nil, ""
	}
	inner := r.Get(resourceField)
	if inner.IsNull() {
		if len(r.Members) == 0 {
			l.noResource(r.Pos()).Why = "resource is empty"
		}
		return r, resourceField + "."
	}
	l.unknown(r, resourceField+".", resourceField)
	if inner.Kind != contract.NodeObject {
		l.wrongType(inner, resourceField, "object")
		return nil, ""
	}
	c.notes = append(c.notes, "config.json: resource is nested twice; the inner one is used")
	return inner, resourceField + "." + resourceField + "."
}

// withoutResource reads a document whose fields lie at the top level, or that has none.
func (l *loader) withoutResource(root *contract.Node, c *config) *contract.Node {
	for _, m := range root.Members {
		if slices.Contains(fields(), m.Key) {
			add := l.found(ruleKey, configuration, m.Pos(), `config.json: resource fields found at top level; put them under "resource"`)
			add.Why = "MECA ignores them there"
			add.Mend = `write {"resource": {…}} around them`
			c.notes = append(c.notes, "config.json: resource fields at the top level are used")
			return root
		}
	}
	l.unknown(root, "", resourceField)
	l.noResource(root.Pos())
	return nil
}

func (l *loader) noResource(at contract.At) *task.Finding {
	add := l.found(ruleNoResource, configuration, at, "config.json has no resource object; using 1 CPU, 128 MB, no GPU")
	add.Mend = "say what the task needs"
	return add
}

// unknown reports the members of n other than the expected ones.
func (l *loader) unknown(n *contract.Node, prefix string, expected ...string) {
	seen := map[string]bool{}
	for _, m := range n.Members {
		if slices.Contains(expected, m.Key) || seen[m.Key] { // a repeated one is reported as such
			continue
		}
		seen[m.Key] = true
		add := l.found(ruleKey, configuration, m.Pos(), "config.json: key %s is unknown and ignored", show(prefix+m.Key))
		add.Mend = "remove it"
		if near := contract.Nearest(m.Key, expected); near != "" {
			add.Mend = "did you mean " + near + "?"
		} else if prefix == "" && slices.Contains(fields(), m.Key) {
			add.Mend = "move it into resource"
		} else if near := contract.Nearest(m.Key, fields()); prefix == "" && near != "" {
			add.Mend = "did you mean " + near + ", within resource?"
		}
	}
}

func (l *loader) wrongType(n *contract.Node, field, want string) {
	key := resourceField
	if field != "" {
		key += "." + field
	}
	l.found(ruleType, configuration, n.Pos(), "config.json: %s must be %s, found %s", key, want, jsonKind(n)).Mend = "write a JSON " + want
}

// jsonKind is a value's kind in the word of JSON.
func jsonKind(n *contract.Node) string {
	if n.Kind == contract.NodeList {
		return "array"
	}
	return string(n.Kind)
}

// fields reads the members of the resource object. Each missing or wrong one keeps its default.
func (l *loader) fields(n *contract.Node, prefix string, c *config) {
	known := []string{fieldCPU, fieldMem, fieldUseGPU, fieldGPUs, fieldSGX}
	if n.Get(resourceField).Is(contract.NodeNull) { // says nothing
		known = append(known, resourceField)
	}
	if !n.Has(fieldMem) {
		known = append(known, fieldMemory)
	}
	l.unknown(n, prefix, known...)
	if v := n.Get(fieldCPU); v != nil {
		l.cpu(v, c)
	}
	if v := n.Get(fieldMem); v != nil {
		c.memory = l.mem(v, fieldMem, c.memory)
	} else if v := n.Get(fieldMemory); v != nil {
		before := len(l.report.Findings)
		c.memory = l.mem(v, fieldMemory, c.memory)
		if len(l.report.Findings) == before {
			add := l.found(ruleAlias, configuration, v.Pos(), "config.json: resource.memory is not in the MECA format; used as mem = %d MB", c.memory>>20)
			add.Why = "MECA ignores it"
			add.Mend = "rename it to mem"
		}
	}
	c.useGPU = l.flag(n.Get(fieldUseGPU), fieldUseGPU)
	c.sgx = l.flag(n.Get(fieldSGX), fieldSGX)
	if c.sgx {
		add := l.found(ruleSGX, configuration, n.Get(fieldSGX).Pos(), "config.json: use_sgx is true; the task needs an SGX enclave")
		add.Mend = "to run it without one, choose the variant " + variantPlain
		c.notes = append(c.notes, "SGX: the package asks for an enclave")
	}
	l.gpus(n, c)
}

func (l *loader) cpu(v *contract.Node, c *config) {
	if v.Kind != contract.NodeNumber {
		l.wrongType(v, fieldCPU, "number")
		return
	}
	r, ok := v.Rat()
	tenths := new(big.Rat)
	if ok {
		tenths.Mul(r, big.NewRat(10, 1))
	}
	if !ok || r.Sign() <= 0 || !tenths.IsInt() || r.Cmp(big.NewRat(maxCPU, 1)) > 0 {
		l.outOfRange(v, fieldCPU, "more than 0, at most one decimal")
		return
	}
	c.cpu = task.MilliCPU(tenths.Num().Int64() * 100)
}

func (l *loader) mem(v *contract.Node, field string, otherwise task.Bytes) task.Bytes {
	if v.Kind != contract.NodeNumber {
		l.wrongType(v, field, "number")
		return otherwise
	}
	mib, ok := v.Int()
	if !ok || mib < minMem || mib > maxMem {
		l.outOfRange(v, field, "an integer of at least 6")
		return otherwise
	}
	return task.Bytes(mib) << 20
}

func (l *loader) flag(v *contract.Node, field string) bool {
	if v == nil {
		return false
	}
	b, ok := v.Bool()
	if !ok {
		l.wrongType(v, field, "boolean")
	}
	return b
}

// gpus reads gpu_count, which counts only beside use_gpu.
func (l *loader) gpus(n *contract.Node, c *config) {
	v := n.Get(fieldGPUs)
	count := int64(0)
	if v != nil {
		if v.Kind != contract.NodeNumber {
			l.wrongType(v, fieldGPUs, "number")
			return
		}
		var ok bool
		if count, ok = v.Int(); !ok || count < 0 || count > maxGPUs {
			l.outOfRange(v, fieldGPUs, "an integer of at least 0")
			return
		}
	}
	switch {
	case c.useGPU && count == 0:
		add := l.found(ruleGPUCount, configuration, n.Get(fieldUseGPU).Pos(), "config.json: use_gpu is true but gpu_count is 0; set gpu_count to 1 or more")
		add.Why = "MECA would give the task every idle GPU"
		add.Mend = "set gpu_count to 1 or more"
	case !c.useGPU && count > 0 && (!n.Has(fieldUseGPU) || n.Get(fieldUseGPU).Is(contract.NodeBool)):
		add := l.found(ruleGPUUnused, configuration, v.Pos(), "config.json: gpu_count is ignored because use_gpu is false")
		add.Mend = "set use_gpu to true, or gpu_count to 0"
	case c.useGPU:
		c.gpus = int(count)
	}
}

func (l *loader) outOfRange(v *contract.Node, field, allowed string) {
	add := l.found(ruleRange, configuration, v.Pos(), "config.json: resource.%s = %s is out of range (%s)", field, show(v.Text), allowed)
	add.Mend = "write " + allowed
	if field != fieldCPU {
		return
	}
	add.Mend = "write a number such as 1 or 0.5"
}

package kaapana

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var (
	// kaapanaMemory is the one form of memory that Kaapana's own parser reads.
	kaapanaMemory = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?(B|Ki|Mi|Gi|Ti|Pi|Ei|Zi|Yi)$`)
	// notKubernetes are the suffixes that only Kaapana's own parser reads.
	notKubernetes = regexp.MustCompile(`^(-?[0-9]+(?:\.[0-9]+)?)(B|Zi|Yi)$`)
)

// resources reads limits and requests: Kubernetes quantities, with JSON numbers as plain values. Zero and null mean none.
func (r *reader) resources(n *contract.Node, path string) task.Resources {
	var out task.Resources
	if n.IsNull() || !r.isObject(n, path) {
		return out
	}
	r.fields(n, "resources", []string{"limits", "requests"})
	limits := r.amounts(n.Get("limits"), member(path, "limits"))
	requests := r.amounts(n.Get("requests"), member(path, "requests"))
	if n.Get("limits").IsNull() != n.Get("requests").IsNull() {
		f := r.Add(task.SeverityWarning, ruleOneSided, n.Pos(), "Kaapana's Kubernetes runner crashes unless both are given; its local runner does not.")
		f.Mend = "give both limits and requests"
	}
	for _, key := range []string{keyMemory, keyCPU, keyGPU, keyDisk} {
		l, q := limits[key], requests[key]
		if l.n > 0 && q.n > l.n {
			r.Error(ruleOverLimit, q.at, "raise the limit or lower the request", "Kubernetes refuses a request above the limit.")
		}
	}
	out.Memory, out.MinMemory = task.Bytes(limits[keyMemory].n), task.Bytes(requests[keyMemory].n)
	out.CPU, out.MinCPU = task.MilliCPU(limits[keyCPU].n), task.MilliCPU(requests[keyCPU].n)
	out.GPUs = int(max(limits[keyGPU].n, requests[keyGPU].n))
	out.Disk = task.Bytes(limits[keyDisk].n)
	return out
}

// Keys of resources that are enforced. Every key that contains "gpu" counts as keyGPU.
const (
	keyMemory = "memory"
	keyCPU    = "cpu"
	keyGPU    = "gpu"
	keyDisk   = "ephemeral-storage"
)

// beyondMachines stands for every amount that is as large or larger.
const beyondMachines = 1 << 60

// maxGPUs is more than any machine has; it keeps the number in an int.
const maxGPUs = 1 << 16

// amount is one resource: bytes, thousandths of a core, or devices.
type amount struct {
	n  int64
	at contract.At
}

// amounts reads one side of the resources; nil when it is absent or null.
func (r *reader) amounts(n *contract.Node, path string) map[string]amount {
	if n.IsNull() || !r.isObject(n, path) {
		return nil
	}
	out := map[string]amount{}
	for _, m := range distinct(n.Members) {
		key := m.Key
		if strings.Contains(strings.ToLower(key), keyGPU) {
			key = keyGPU
		}
		switch key {
		case keyMemory, keyCPU, keyGPU, keyDisk:
			a := amount{r.quantity(m.Value, key), m.Value.Pos()}
			a.n += out[key].n // several kinds of GPU add up
			out[key] = a
		default:
			f := r.Add(task.SeverityWarning, ruleResourceKey, m.Pos(), "`%s` is not enforced by Longshore.", m.Key)
			f.Mend = "leave it for the platform, or remove it"
			if near := contract.Nearest(m.Key, []string{keyMemory, keyCPU, keyDisk, "nvidia.com/gpu"}); near != "" {
				f.Mend = fmt.Sprintf("did you mean `%s`?", near)
			}
		}
	}
	return out
}

// quantity reads one amount; whatever is wrong is reported and counts as none.
func (r *reader) quantity(n *contract.Node, key string) int64 {
	if n.IsNull() {
		return 0
	}
	if !n.Is(contract.NodeString) && !n.Is(contract.NodeNumber) {
		r.badQuantity(n, nodeText(n))
		return 0
	}
	text := n.Text
	if len(text) > maxDigits {
		r.badQuantity(n, text)
		return 0
	}
	if n.Is(contract.NodeNumber) {
		text = strings.ToLower(text) // 1E3 is a number in JSON, and an exabyte nowhere
	}
	q, err := task.ParseQuantity(text)
	if err != nil && n.Is(contract.NodeString) {
		q, err = r.kaapanaQuantity(n)
	}
	if err != nil || q.Sign() < 0 {
		r.badQuantity(n, n.Text)
		return 0
	}
	whole, ok := r.whole(n, q, key)
	if ok && key == keyMemory {
		r.memoryTraps(n)
	}
	return whole
}

func (r *reader) badQuantity(n *contract.Node, text string) {
	r.Error(ruleQuantity, n.Pos(), "write a number with a suffix, and no space", "`%s` is not a quantity: use 512Mi, 1Gi, 500M, 0.5, 250m.", text)
}

// kaapanaQuantity reads the suffixes that Kubernetes lacks and files in use have.
func (r *reader) kaapanaQuantity(n *contract.Node) (*big.Rat, error) {
	m := notKubernetes.FindStringSubmatch(n.Text)
	if m == nil {
		return nil, fmt.Errorf("%q is not a quantity", n.Text)
	}
	q, err := task.ParseQuantity(m[1])
	if err != nil {
		return nil, err
	}
	exponent := map[string]uint{"B": 0, "Zi": 70, "Yi": 80}[m[2]]
	q.Mul(q, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), exponent)))
	r.Warn(ruleQuantity, n.Pos(), "write the number of bytes, or Ki, Mi, Gi, Ti, Pi, Ei", "`%s` is no Kubernetes quantity; only Kaapana's own parser knows the suffix %s.", n.Text, m[2])
	return q, nil
}

func (r *reader) memoryTraps(n *contract.Node) {
	if strings.HasSuffix(n.Text, "m") {
		number := strings.TrimSuffix(n.Text, "m")
		q, err := task.ParseQuantity(n.Text)
		if err == nil {
			r.Warn(ruleMilliBytes, n.Pos(), fmt.Sprintf("write %sM or %sMi", number, number), "`%s` of memory is %s bytes; did you mean %sM or %sMi?",
				n.Text, strings.TrimSuffix(strings.TrimRight(q.FloatString(3), "0"), "."), number, number)
		}
	}
	if n.Is(contract.NodeNumber) || !kaapanaMemory.MatchString(n.Text) {
		r.Warn(ruleQuantityKaapana, n.Pos(), "write it like \"512Mi\"", "Kaapana 0.6 reads only <number><Ki|Mi|Gi|Ti…> here.")
	}
}

// whole rounds a quantity up to whole bytes, thousandths of a core, or devices.
func (r *reader) whole(n *contract.Node, q *big.Rat, key string) (amount int64, ok bool) {
	switch {
	case key == keyCPU:
		q = new(big.Rat).Mul(q, big.NewRat(1000, 1))
	case key == keyGPU && (!q.IsInt() || q.Cmp(big.NewRat(maxGPUs, 1)) > 0):
		r.Error(ruleQuantity, n.Pos(), "ask for whole devices", "`%s` is not a number of GPUs", n.Text)
		return 0, false
	}
	// More than any machine has is legal to write; the machine refuses it.
	if up := ceil(q); up.IsInt64() && up.Int64() < beyondMachines {
		return up.Int64(), true
	}
	return beyondMachines, true
}

// ceil rounds up to an integer.
func ceil(q *big.Rat) *big.Int {
	n, rest := new(big.Int).QuoRem(q.Num(), q.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		n.Add(n, big.NewInt(1))
	}
	return n
}

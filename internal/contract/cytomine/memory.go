package cytomine

import (
	"math"
	"math/big"
	"regexp"
	"strings"

	"longshore/internal/task"
)

// memoryPrefix is how the upstream schema recognises an amount: not anchored at the end, the prefix mandatory.
var memoryPrefix = regexp.MustCompile(`^(?:0|[1-9]\d*)(?:\.\d+)?\s*(?:Ki|Mi|Gi|Ti|Pi|Ei|Zi|Yi|k|M|G|T|P|E|Z|Y|R|Q)`)

// memoryForm is a whole amount: value, blanks, prefix, optional suffix.
var memoryForm = regexp.MustCompile(`^((?:0|[1-9]\d*)(?:\.\d+)?)\s*([KMGTPEZY]i|[kMGTPEZYRQ])(B|Byte|byte|b|bit)?$`)

// What today's platform reads of those: Kubernetes an amount of memory, the App Engine's size parser a suffix.
var (
	quantityForm = regexp.MustCompile(`^[0-9.]+(?:[KMGTPE]i|[kMGTPE])$`)
	sizeSuffix   = regexp.MustCompile(`(?:B|Byte|byte|b|bit)$`)
)

// maxMemoryText bounds the length of an amount, so that reading it stays cheap.
const maxMemoryText = 100

// parseMemory reads an amount of memory ("100Mi", "2.5 MiB", "16 kbit"): decimal prefixes k to Q, binary ones Ki to Yi, and
// an optional suffix, where b and bit mean bits. Without suffix it counts bytes. The result is rounded up and saturates.
func parseMemory(s string) (n task.Bytes, bits, ok bool) {
	m := memoryForm.FindStringSubmatch(s)
	if m == nil || len(s) > maxMemoryText {
		return 0, false, false
	}
	r, ok := new(big.Rat).SetString(m[1])
	if !ok {
		return 0, false, false
	}
	base, prefix := int64(1000), m[2]
	order := strings.Index("kMGTPEZYRQ", prefix)
	if b, binary := strings.CutSuffix(prefix, "i"); binary {
		base, order = 1024, strings.Index("KMGTPEZY", b)
	}
	scale := new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(order+1)), nil)
	r.Mul(r, new(big.Rat).SetInt(scale))
	if bits = m[3] == "b" || m[3] == "bit"; bits {
		r.Quo(r, big.NewRat(8, 1))
	}
	q, rem := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rem.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	if !q.IsInt64() {
		return math.MaxInt64, bits, true
	}
	return task.Bytes(q.Int64()), bits, true
}

package task

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// Bytes is an amount of memory or disk in bytes.
type Bytes int64

// String prints the amount with a binary unit, exactly when it divides and with one decimal otherwise.
func (b Bytes) String() string {
	n := float64(b)
	for _, u := range []struct {
		name string
		size float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			s := strconv.FormatFloat(n/u.size, 'f', 1, 64)
			return strings.TrimSuffix(s, ".0") + " " + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + " B"
}

// MilliCPU is an amount of processor time in thousandths of a core.
type MilliCPU int64

// String prints cores, for example "1.5".
func (c MilliCPU) String() string {
	return strconv.FormatFloat(float64(c)/1000, 'f', -1, 64)
}

var quantityForm = regexp.MustCompile(`^([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)(?:([eE][+-]?[0-9]{1,4})|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?$`)

// ParseQuantity reads a number in every legal Kubernetes form: plain ("128974848"), exponent ("129e6", "1E3"), decimal
// suffix (n u m k M G T P E) or binary suffix (Ki … Ei). The result is exact.
func ParseQuantity(s string) (*big.Rat, error) {
	m := quantityForm.FindStringSubmatch(s)
	if m == nil {
		return nil, fmt.Errorf("%q is not a quantity: write a number with an optional suffix, such as 500m, 1.5, 128Mi or 2G", s)
	}
	r, ok := new(big.Rat).SetString(m[1])
	if !ok {
		return nil, fmt.Errorf("%q is not a quantity", s)
	}
	if m[2] != "" {
		e, ok := new(big.Rat).SetString("1" + m[2])
		if !ok || len(m[2]) > 4 {
			return nil, fmt.Errorf("%q is not a quantity: its exponent is out of range", s)
		}
		return r.Mul(r, e), nil
	}
	pow := func(base int64, n int) *big.Rat {
		x := new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(n)), nil)
		return new(big.Rat).SetInt(x)
	}
	switch u := m[3]; {
	case u == "":
	case u == "n":
		r.Quo(r, pow(1000, 3))
	case u == "u":
		r.Quo(r, pow(1000, 2))
	case u == "m":
		r.Quo(r, pow(1000, 1))
	case strings.HasSuffix(u, "i"):
		r.Mul(r, pow(1024, strings.Index("KMGTPE", u[:1])+1))
	default:
		r.Mul(r, pow(1000, strings.Index("kMGTPE", u)+1))
	}
	return r, nil
}

// ParseBytes reads a Kubernetes quantity as bytes, rounding up. Negative amounts and more than 8 EiB are errors.
func ParseBytes(s string) (Bytes, error) {
	n, err := ceil(s, 1)
	return Bytes(n), err
}

// ParseCPU reads a Kubernetes quantity as cores ("2", "0.5", "500m"), rounding up to a thousandth.
func ParseCPU(s string) (MilliCPU, error) {
	n, err := ceil(s, 1000)
	return MilliCPU(n), err
}

func ceil(s string, scale int64) (int64, error) {
	r, err := ParseQuantity(s)
	if err != nil {
		return 0, err
	}
	if r.Sign() < 0 {
		return 0, fmt.Errorf("%q is negative", s)
	}
	r.Mul(r, new(big.Rat).SetInt64(scale))
	q, rem := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rem.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	if !q.IsInt64() {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return q.Int64(), nil
}

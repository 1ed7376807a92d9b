package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"longshore/internal/task"
)

const day = 24 * time.Hour

// value is a field as text, both ways. It implements pflag.Value.
type value[T any] struct {
	field *T
	kind  string
	parse func(string) (T, error)
	print func(T) string
}

func (v *value[T]) Set(s string) error {
	x, err := v.parse(strings.TrimSpace(s))
	if err == nil {
		*v.field = x
	}
	return err
}

func (v *value[T]) String() string {
	if v.field == nil { // pflag asks the zero value whether a default is one
		return ""
	}
	return v.print(*v.field)
}

func (v *value[T]) Type() string { return v.kind }

func textOf(p *string) pflag.Value {
	return &value[string]{p, "text", func(s string) (string, error) { return s, nil }, func(s string) string { return s }}
}

// listKind is the kind of settings that are lists.
const listKind = "list"

// listOf is several texts with commas between.
func listOf(p *[]string) pflag.Value {
	return &value[[]string]{p, listKind, func(s string) ([]string, error) {
		var list []string
		for _, e := range strings.Split(s, ",") {
			if e = strings.TrimSpace(e); e != "" {
				list = append(list, e)
			}
		}
		return list, nil
	}, func(l []string) string { return strings.Join(l, ",") }}
}

func countOf(p *int) pflag.Value {
	return &value[int]{p, "number", func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%q is not a whole number from 0", s)
		}
		return n, nil
	}, strconv.Itoa}
}

func ratioOf(p *float64) pflag.Value {
	return &value[float64]{p, "number", func(s string) (float64, error) {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || !(x >= 0 && x <= 1) {
			return 0, fmt.Errorf("%q is not a number from 0 to 1", s)
		}
		return x, nil
	}, func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }}
}

func bytesOf(p *task.Bytes) pflag.Value {
	return &value[task.Bytes]{p, "size", func(s string) (task.Bytes, error) {
		n, err := task.ParseBytes(s)
		if err == nil && n < 0 {
			err = fmt.Errorf("%q is negative", s)
		}
		return n, err
	}, func(n task.Bytes) string { return quantity(int64(n)) }}
}

// quantity is a number of bytes as ParseBytes reads it, without loss.
func quantity(n int64) string {
	for _, u := range []struct {
		name  string
		shift uint
	}{{"Ti", 40}, {"Gi", 30}, {"Mi", 20}, {"Ki", 10}} {
		if n>>u.shift > 0 && n&(1<<u.shift-1) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func cpuOf(p *task.MilliCPU) pflag.Value {
	return &value[task.MilliCPU]{p, "CPUs", func(s string) (task.MilliCPU, error) {
		n, err := task.ParseCPU(s)
		if err == nil && n < 0 {
			err = fmt.Errorf("%q is negative", s)
		}
		return n, err
	}, task.MilliCPU.String}
}

// ageOf is a duration, of which days are a unit too.
func ageOf(p *time.Duration) pflag.Value {
	return &value[time.Duration]{p, "time", ParseAge, func(d time.Duration) string {
		if d != 0 && d%day == 0 {
			return strconv.FormatInt(int64(d/day), 10) + "d"
		}
		// "1h0m0s" is "1h".
		s := d.String()
		for _, zero := range []string{"0s", "0m"} {
			if t := strings.TrimSuffix(s, zero); t != "" && t != s && strings.ContainsAny(t[len(t)-1:], "hm") {
				s = t
			}
		}
		return s
	}}
}

// ParseAge reads "36h", "90m" or "30d"; "0" is zero.
func ParseAge(s string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is no time such as 30s, 12h or 30d", s)
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, wrong
		}
		return time.Duration(days) * day, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, wrong
	}
	return d, nil
}

func choiceOf(p *string, choices ...string) pflag.Value {
	return &value[string]{p, strings.Join(choices, "|"), func(s string) (string, error) {
		if !slices.Contains(choices, s) {
			return "", errors.New("it is one of: " + strings.Join(choices, ", "))
		}
		return s, nil
	}, func(s string) string { return s }}
}

package kaapana

import (
	"fmt"
	"math/big"
	"strings"

	"longshore/internal/task"
)

// ruled is what one scale rule asked for, kept to be compared with what the run used.
type ruled struct {
	Channel string `json:"channel"`
	// Rule describes it; Coefficient and Exponent are its own.
	Rule        string `json:"rule"`
	Coefficient string `json:"coefficient"`
	Exponent    int    `json:"exponent"`
	// Measured is the size that it found, and Need what it asked for, both in bytes.
	Measured int64      `json:"measured"`
	Need     task.Bytes `json:"need"`
}

const (
	// nearLimit is the part of its limit, in hundredths, from which on a peak counts as having reached it.
	nearLimit = 95
	// farTooHigh is how many times the peak a requirement must be to be called far too high, and muchMemory what it must be
	// above it: less is not worth a word.
	farTooHigh            = 4
	muchMemory task.Bytes = 64 << 20
	// headroom is what is suggested above a measured peak, in hundredths; when the peak reached the limit nobody knows what
	// would have been used, and unknownNeed is suggested.
	headroom    = 125
	unknownNeed = 200
)

// comparison is the measured peak beside what was asked for.
type comparison struct {
	peak, limit task.Bytes
	// reached tells that the container used all it was allowed, so that it might have used more.
	reached bool
	c       *task.Collected
}

// compareMemory tells how much memory was used beside what the scale rules and the limit said, and what to write instead when
// that was too low or far too high (Kaapana reference, 2.5.4).
func compareMemory(c *task.Collected, was left, x *task.Execution, l task.Leftovers) {
	m := &comparison{peak: l.Usage.PeakMemory, limit: x.Resources.Memory, c: c}
	if m.peak <= 0 {
		return
	}
	m.reached = m.limit > 0 && (l.Exit.OOM || m.peak >= m.limit/100*nearLimit)
	low := false
	for _, r := range was.Rules {
		low = m.rule(r) || low
	}
	if m.reached && (!low || was.Limit != limitByRule) {
		need := m.suggested()
		m.warn("the peak memory %s reached the limit of %s%s: write at least \"memory\": \"%dMi\"", exact(m.peak), exact(m.limit), from(was.Limit), mebibytes(need))
	}
}

func from(source string) string {
	if source == "" {
		return ""
	}
	return ", from " + source
}

func (m *comparison) warn(format string, args ...any) {
	m.c.Warnings = append(m.c.Warnings, fmt.Sprintf(format, args...))
}

// rule compares one rule; low tells that it asked for too little.
func (m *comparison) rule(r ruled) (low bool) {
	what := fmt.Sprintf("scale rule on input %s: %s asked for %s, and the measured peak memory is %s", r.Channel, r.Rule, exact(r.Need), exact(m.peak))
	switch {
	case r.Need <= m.peak || m.reached && r.Need <= m.limit:
		m.warn("%s: the rule asks for too little; %s", what, m.instead(r))
		return true
	case r.Need > farTooHigh*m.peak && r.Need-m.peak > muchMemory:
		m.warn("%s: the rule asks for far too much; %s", what, m.instead(r))
	default:
		m.c.Notes = append(m.c.Notes, what)
	}
	return false
}

// suggested is the memory to ask for instead.
func (m *comparison) suggested() task.Bytes {
	if m.reached {
		return max(m.peak, m.limit) / 100 * unknownNeed
	}
	return m.peak / 100 * headroom
}

// instead is what to write in the place of a rule. A rule about little data cannot say what the program itself needs.
func (m *comparison) instead(r ruled) string {
	need := m.suggested()
	switch little := r.Exponent != 1 || r.Measured < int64(1<<20); {
	case little && !m.reached && m.limit >= need:
		return fmt.Sprintf("the limit of %s is enough all the same, so see what it asks for with more data", exact(m.limit))
	case little:
		return fmt.Sprintf("declare at least \"memory\": \"%dMi\" beside it", mebibytes(need))
	}
	factor := ceil(new(big.Rat).SetFrac64(int64(need), r.Measured))
	if was, ok := new(big.Rat).SetString(r.Coefficient); ok && was.IsInt() && was.Num().Cmp(factor) == 0 {
		factor.Add(factor, big.NewInt(1))
	}
	return fmt.Sprintf("write \"scale_factor\": %s", factor)
}

func mebibytes(b task.Bytes) int64 { return int64((b + 1<<20 - 1) >> 20) }

// outOfMemory says which limit was reached, where it came from, what was used, and what Kaapana's Kubernetes runner, which
// multiplies every limit by 1.1, would have allowed (Kaapana reference, 2.5.4).
func outOfMemory(limit, peak task.Bytes, source string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the container ran out of memory: its limit is %s%s", limit, from(source))
	if peak > 0 {
		fmt.Fprintf(&b, ", its peak was %s", exact(peak))
	}
	fmt.Fprintf(&b, "; Kaapana's Kubernetes runner would have allowed ten per cent more, %s", exact(limit+limit/10))
	return b.String()
}

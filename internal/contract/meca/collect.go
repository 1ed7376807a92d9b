package meca

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"longshore/internal/task"
)

// maxInline bounds an output that is also given as text.
const maxInline = 1 << 20

// Collect returns the reply's body as the output "output", whatever its status. A status of 400 or more is a failure, which
// MECA itself hides, and so is a reply of more than 64 MiB, unless the execution follows MECA's own executor.
func (Contract) Collect(_ *task.Task, x *task.Execution, left task.Leftovers) (task.Collected, error) {
	c := task.Collected{Outputs: map[string]task.Value{}}
	r := left.Response
	if r == nil || r.BodyPath == "" {
		return c, nil
	}
	st, err := os.Stat(r.BodyPath)
	if err != nil {
		return c, fmt.Errorf("reading the reply: %w", err)
	}
	head, err := readHead(r.BodyPath)
	if err != nil {
		return c, fmt.Errorf("reading the reply: %w", err)
	}
	whole := st.Size() <= maxInline
	v := task.Value{Path: r.BodyPath}
	if whole && utf8.Valid(head) {
		v.Text = string(head)
	}
	c.Outputs[outputName] = v
	anyStatus := x != nil && x.HTTP != nil && x.HTTP.AcceptStatus
	switch {
	case r.Status >= 400 && !anyStatus:
		c.Failure = &task.Failure{
			Reason:  task.ReasonBadResponse,
			Message: fmt.Sprintf("task answered HTTP %d: %s", r.Status, excerpt(head)),
			Hint:    "the whole reply is kept as the output; the container's log may say more",
		}
	case st.Size() > maxBody && !anyStatus:
		c.Failure = &task.Failure{
			Reason:  task.ReasonBadResponse,
			Message: fmt.Sprintf("task reply larger than %s", task.Bytes(maxBody)),
			Hint:    "answer with less, or with where the result can be fetched",
		}
	case whole && !utf8.Valid(head), !whole && !validPrefix(head):
		c.Warnings = append(c.Warnings, "the reply is binary; it is kept as it is, but MECA's own clients receive results as text and would damage it")
	}
	return c, nil
}

// readHead reads at most the first MiB of a file.
func readHead(p string) ([]byte, error) {
	f, err := os.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxInline))
}

// validPrefix tells whether data is UTF-8 that may be cut within its last character.
func validPrefix(data []byte) bool {
	for cut := 0; cut < utf8.UTFMax && cut <= len(data); cut++ {
		if utf8.Valid(data[:len(data)-cut]) {
			return true
		}
	}
	return false
}

// excerpt is the beginning of a reply on one line, safe to print.
func excerpt(data []byte) string {
	const most = 300
	s := strings.Join(strings.Fields(printable(strings.ToValidUTF8(string(data[:min(len(data), 4*most)]), "\ufffd"))), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	if s == "" {
		return "(empty reply)"
	}
	return s
}

package engine

import "bytes"

// MarkScanner finds a text in a stream that comes in pieces. The zero value finds nothing.
type MarkScanner struct {
	// Mark is what is looked for.
	Mark string

	held []byte
	seen bool
}

// Scan takes the next piece and tells whether the mark is complete with it: once.
func (m *MarkScanner) Scan(data []byte) bool {
	if m.seen || m.Mark == "" {
		return false
	}
	m.held = append(m.held, data...)
	if bytes.Contains(m.held, []byte(m.Mark)) {
		m.seen, m.held = true, nil
		return true
	}
	if keep := len(m.Mark) - 1; len(m.held) > keep {
		m.held = append(m.held[:0], m.held[len(m.held)-keep:]...)
	}
	return false
}

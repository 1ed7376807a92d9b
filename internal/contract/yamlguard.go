package contract

import (
	"bytes"
	"fmt"
)

// Limits of a YAML document's shape. The parser calls itself for every key of a block mapping and for every level, and
// takes time by the square of both: what is over the limits could exhaust its stack, which ends the process.
const (
	maxYAMLKeys  = 20_000
	maxYAMLDepth = 1_000
)

// yamlGuard refuses documents that would cost the parser too much. It looks at characters alone, so it counts brackets and
// colons within texts too.
func yamlGuard(data []byte) error {
	keys, depth, marks := 0, 0, 0
	for line := 1; len(data) > 0; line++ {
		row, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		fail := func(what string) error {
			return &SyntaxError{Line: line, Column: 1, Reason: what, Source: SourceLine(row, 1)}
		}
		if bytes.ContainsAny(row, ":?") {
			if keys++; keys > maxYAMLKeys {
				return fail(fmt.Sprintf("the document has more than %d keys", maxYAMLKeys))
			}
		}
		marks = 0
		leading := true
		for _, c := range row {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(depth-1, 0)
			case '&', '!', '*':
				marks++
			case '-', '?':
				if leading {
					marks++
				}
			}
			leading = leading && (c == '-' || c == '?' || c == ' ' || c == '\t')
			if depth > maxYAMLDepth || marks > maxYAMLDepth && leading {
				return fail("the document is nested too deeply")
			}
		}
	}
	return nil
}

package contract

import (
	"fmt"

	"github.com/goccy/go-yaml/token"
)

// Limits of a YAML document's shape. The parser calls itself for every key of a block mapping, every level, tag and anchor,
// and takes time by the square of some of them: a document over the limits could exhaust its stack, which ends the process.
const (
	maxYAML       = 2 << 20
	maxYAMLTokens = 200_000
	maxYAMLKeys   = 20_000
	maxYAMLRow    = 1_000 // levels opened at once: brackets, or dashes, question marks, tags and anchors in a row
)

// yamlTokens splits a document into the parser's tokens, and refuses what would cost the parser too much.
func yamlTokens(data []byte) (token.Tokens, error) {
	if len(data) > maxYAML {
		return nil, &SyntaxError{Line: 1, Column: 1, Reason: fmt.Sprintf("the document has %d bytes, more than %d", len(data), maxYAML)}
	}
	tokens, err := tokenize(data)
	if err != nil {
		return nil, err
	}
	keys, flow, row := 0, 0, 0
	for i, t := range tokens {
		opens := false
		switch t.Type {
		case token.MappingValueType, token.MappingKeyType:
			keys++
			opens = t.Type == token.MappingKeyType
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(flow-1, 0)
		case token.SequenceEntryType, token.AnchorType, token.AliasType, token.TagType:
			opens = true
		}
		if opens {
			row++
		} else if t.Type != token.StringType || i > 0 && tokens[i-1].Type != token.AnchorType {
			row = 0 // an anchor's name is a token of its own
		}
		switch {
		case i > maxYAMLTokens, keys > maxYAMLKeys:
			return nil, tokenError(data, t, "the document has too many keys and values")
		case flow > maxYAMLRow, row > maxYAMLRow:
			return nil, tokenError(data, t, "the document is nested too deeply")
		}
	}
	return tokens, nil
}

func tokenError(data []byte, t *token.Token, reason string) *SyntaxError {
	return &SyntaxError{Line: t.Position.Line, Column: t.Position.Column, Reason: reason, Source: SourceLine(data, t.Position.Line)}
}

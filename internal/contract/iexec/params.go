package iexec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"longshore/internal/contract"
)

// params are a deal's parameters from v3 on.
type params struct {
	Args       string
	InputFiles []string
	Secrets    map[string]string
	Encryption bool
	Provider   string
	Proxy      string
	BulkCID    string
	// Dropped tells of droppedParam.
	Dropped bool
	// written is where the manifest has them; an object when it has them so, nil when it has none.
	written *contract.Node
}

// at is the place of one of them, or of all where they are one text.
func (p params) at(key string) contract.At { return cmp.Or(p.written.Get(key).Pos(), p.written.Pos()) }

// The keys that a worker knows (iExec reference, section 2.6). Any other key turns the whole text into arguments.
var paramKeys = []string{"iexec_args", "iexec_input_files", "iexec_secrets", "iexec_result_encryption",
	"iexec_result_storage_provider", "iexec_result_storage_proxy", "bulk_cid"}

// droppedParam was written by the CLI up to version 8; today's workers do not know it.
const droppedParam = "iexec_developer_logger"

// parseParams reads the text of a deal's parameters as workers do: a JSON object of known keys, or else arguments as a
// whole. why tells, for text that looks like JSON, what made it arguments.
func (l *loader) parseParams(raw string) (p params, why string) {
	text := strings.TrimSpace(raw)
	if text == "null" {
		return params{}, ""
	}
	n, err := contract.ParseJSON([]byte(text))
	switch {
	case err != nil && strings.HasPrefix(text, "{"):
		return params{Args: raw}, "it is not valid JSON: " + err.Error()
	case err != nil:
		return params{Args: raw}, ""
	case n.Kind == contract.NodeList:
		return params{Args: raw}, "it is a list"
	case n.Kind != contract.NodeObject:
		return params{Args: raw}, ""
	}
	if p, why = l.paramsOf(n, false); why != "" {
		return params{Args: raw}, why
	}
	return p, ""
}

// paramsOf reads an object of parameters; manifest allows what the CLI makes of it before it goes on chain.
func (l *loader) paramsOf(n *contract.Node, manifest bool) (p params, why string) {
	for _, m := range n.Members {
		if !slices.Contains(paramKeys, m.Key) && (l.exact || m.Key != droppedParam) {
			why = fmt.Sprintf("Unknown key %q in params", m.Key)
			if near := contract.Nearest(m.Key, paramKeys); near != "" {
				why += "; did you mean " + near + "?"
			}
			return params{}, why
		}
	}
	p.Dropped = n.Has(droppedParam)
	wrong := func(key, want string) string { return fmt.Sprintf("%s is not %s", key, want) }
	switch v := n.Get("iexec_input_files"); {
	case v.IsNull():
	case v.Kind == contract.NodeList:
		for _, it := range v.Items {
			if !it.Is(contract.NodeString) {
				return params{}, wrong("iexec_input_files", "a list of URLs")
			}
			p.InputFiles = append(p.InputFiles, it.Text)
		}
	case v.Kind == contract.NodeString && manifest:
		for _, u := range strings.Split(v.Text, ",") {
			if u = strings.TrimSpace(u); u != "" {
				p.InputFiles = append(p.InputFiles, u)
			}
		}
	default:
		return params{}, wrong("iexec_input_files", "a list of URLs")
	}
	if v := n.Get("iexec_secrets"); !v.IsNull() {
		if v.Kind != contract.NodeObject {
			return params{}, wrong("iexec_secrets", "an object")
		}
		p.Secrets = map[string]string{}
		for _, m := range v.Members {
			if m.Value.Is(contract.NodeObject) || m.Value.Is(contract.NodeList) {
				return params{}, wrong("iexec_secrets", "an object of names")
			}
			p.Secrets[m.Key] = m.Value.Text
		}
	}
	if v := n.Get("iexec_result_encryption"); !v.IsNull() {
		switch strings.ToLower(v.Text) {
		case "true":
			p.Encryption = true
		case "false":
		default:
			return params{}, wrong("iexec_result_encryption", "true or false")
		}
	}
	for _, text := range []struct {
		key string
		to  *string
	}{{"iexec_args", &p.Args}, {"iexec_result_storage_provider", &p.Provider}, {"iexec_result_storage_proxy", &p.Proxy}, {"bulk_cid", &p.BulkCID}} {
		switch v := n.Get(text.key); {
		case v.IsNull():
		case v.Kind == contract.NodeObject, v.Kind == contract.NodeList:
			return params{}, wrong(text.key, "a text")
		default:
			*text.to = v.Text // workers take numbers and booleans for texts
		}
	}
	return p, ""
}

// splitArgs divides the arguments of v3 and later into words, with the quoting rules of the platform's own workers
// (iExec reference, section 4.4): only spaces separate, quotes of either kind group, a backslash before a quote makes it an
// ordinary character and is kept, and an empty quoted text is no word. ok is false when a quote is left open.
func splitArgs(text string) (words []string, ok bool) {
	var current strings.Builder
	var quote rune
	escaped := false
	for _, c := range text {
		switch {
		case c == '\'' || c == '"':
			switch {
			case quote != 0 && c != quote:
				current.WriteRune(c)
				escaped = false
			case escaped:
				current.WriteRune(c)
				escaped = false
			case quote == 0:
				quote = c
			default:
				quote = 0
			}
		case c == ' ' && quote == 0:
			if current.Len() > 0 {
				words = append(words, current.String())
				current.Reset()
			}
		default:
			current.WriteRune(c)
			escaped = c == '\\'
		}
	}
	if current.Len() > 0 {
		words = append(words, current.String())
	}
	return words, quote == 0
}

// splitCmdline divides a command line of v1 and v2 on white space only.
func splitCmdline(text string) []string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' || r == '\r' })
	if len(words) == 0 {
		return nil // the image's own CMD runs
	}
	return words
}

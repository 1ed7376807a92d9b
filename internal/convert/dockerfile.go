package convert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"longshore/internal/task"
)

// moveContext rewrites a Dockerfile whose build context now lies in the folder to of another: what it takes from the context is
// taken from there. args are values for its build arguments, which nobody gives any more. All else stays as it was written.
func moveContext(data []byte, to string, args map[string]string) ([]byte, error) {
	res, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	var out []string
	next := 1
	for _, n := range res.AST.Children {
		for ; next < n.StartLine; next++ {
			out = append(out, strings.TrimSuffix(lines[next-1], "\r"))
		}
		text := strings.Join(lines[n.StartLine-1:n.EndLine], "\n")
		switch strings.ToLower(n.Value) {
		case "copy", "add":
			text, err = moveCopy(n, text, to)
		case "onbuild": // of a stage that another of the file starts from
			text, err = moveTrigger(n, text, to)
		case "run":
			text = moveBinds(n, text, to)
		case "arg":
			text = setArgs(n, text, args)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n.StartLine, err)
		}
		out = append(out, text)
		next = n.EndLine + 1
	}
	for ; next <= len(lines); next++ {
		out = append(out, lines[next-1])
	}
	return []byte(strings.Join(out, "\n") + "\n"), nil
}

// moveCopy rewrites a COPY or ADD from the build context.
func moveCopy(n *parser.Node, text, to string) (string, error) {
	parents := false
	for _, f := range n.Flags {
		if strings.HasPrefix(f, "--from=") {
			return text, nil
		}
		parents = parents || f == "--parents" || f == "--parents=true"
	}
	var words []string
	for w := n.Next; w != nil; w = w.Next {
		words = append(words, w.Value)
	}
	if len(words) < 2 {
		return text, nil // the build says what is wrong
	}
	changed := false
	for i, w := range words[:len(words)-1] {
		if elsewhere(w) {
			continue
		}
		changed = true
		words[i] = movedPath(w, to, parents)
	}
	switch {
	case !changed:
		return text, nil
	case len(n.Heredocs) > 0:
		return "", task.Errorf(task.CodePackage, "one instruction copies both files and text written in it, which cannot be moved").WithHint("divide it into two")
	}
	list, _ := json.Marshal(words) // texts always encode
	return strings.Join(append([]string{strings.ToUpper(n.Value)}, append(n.Flags, string(list))...), " "), nil
}

// moveTrigger rewrites an ONBUILD COPY or ADD.
func moveTrigger(n *parser.Node, text, to string) (string, error) {
	if n.Next == nil || len(n.Next.Children) == 0 {
		return text, nil // the build says what is wrong
	}
	inner := n.Next.Children[0]
	if word := strings.ToLower(inner.Value); word != "copy" && word != "add" {
		return text, nil
	}
	moved, err := moveCopy(inner, "", to)
	if moved == "" || err != nil {
		return text, err
	}
	return "ONBUILD " + moved, nil
}

// elsewhere tells of a source that is not in the build context: a URL, a repository, or text in the instruction itself.
func elsewhere(word string) bool {
	return strings.Contains(word, "://") || strings.HasPrefix(word, "git@") || strings.HasPrefix(word, "<<")
}

// movedPath is a source below the folder to. It never leaves the context: builders read ".." so.
func movedPath(word, to string, parents bool) string {
	if parents {
		to += "/."
	}
	if strings.ContainsAny(word, "$'\"\\") { // expanded later
		return to + "/" + strings.TrimPrefix(word, "/")
	}
	clean := strings.TrimPrefix(path.Clean("/"+word), "/")
	if strings.HasSuffix(word, "/") && clean != "" {
		clean += "/"
	}
	return to + "/" + clean
}

// moveBinds rewrites the bind mounts of a RUN that show the build context.
func moveBinds(n *parser.Node, text, to string) string {
	for _, f := range n.Flags {
		options, ok := strings.CutPrefix(f, "--mount=")
		if !ok {
			continue
		}
		bind, found := true, false
		fields := strings.Split(options, ",")
		for i, field := range fields {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "type":
				bind = bind && value == "bind"
			case "from":
				bind = false
			case "source", "src":
				fields[i], found = key+"="+movedPath(value, to, false), true
			}
		}
		if !found {
			fields = append(fields, "source="+to)
		}
		if bind {
			text = strings.Replace(text, f, "--mount="+strings.Join(fields, ","), 1)
		}
	}
	return text
}

// setArgs gives build arguments their values.
func setArgs(n *parser.Node, text string, args map[string]string) string {
	var lines []string
	set := false
	for w := n.Next; w != nil; w = w.Next {
		name, _, _ := strings.Cut(w.Value, "=")
		value, ok := args[name]
		if !ok {
			lines = append(lines, "ARG "+w.Value)
			continue
		}
		set = true
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`).Replace(value)
		lines = append(lines, fmt.Sprintf("ARG %s=\"%s\"", name, quoted))
	}
	if !set {
		return text
	}
	return strings.Join(lines, "\n")
}

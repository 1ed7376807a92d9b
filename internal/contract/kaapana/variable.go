package kaapana

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

var (
	variableFields = []string{"name", "value", "description", "type", "choices", "adjustable"}
	usualVariable  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	decimalInteger = regexp.MustCompile(`^[+-]?[0-9]+$`)
)

// Types of variables (seed; ignored by Kaapana 0.6).
const (
	typeString  = "string"
	typeBoolean = "boolean"
	typeInt     = "int"
)

// env reads the variables of a template. A variable declared twice is kept once, with the last declaration, since that is
// the one whose value reaches the container.
func (r *reader) env(n *contract.Node, path string) []variable {
	items, _ := r.list(n, path, "env")
	var out []variable
	at := map[string]int{}
	for i, it := range items {
		p := fmt.Sprintf("%s[%d]", member(path, "env"), i)
		if !r.isObject(it, p) {
			continue
		}
		v := r.variable(it, p)
		if v.Name == "" {
			continue
		}
		if j, ok := at[v.Name]; ok {
			r.Warn(ruleEnvTwice, it.Pos(), "declare it once", "`%s` is declared twice; the last value reaches the container.", v.Name)
			out[j] = v
			continue
		}
		at[v.Name] = len(out)
		out = append(out, v)
	}
	return out
}

func (r *reader) variable(n *contract.Node, path string) variable {
	r.fields(n, "an environment variable", variableFields)
	v := variable{Name: r.checkedText(n, path, "name"), Description: r.optionalText(n, path, "description")}
	r.checkVariableName(v.Name, n.Get("name"))
	r.variableValue(n, path, &v)
	r.variableType(n, &v)
	if c := n.Get("choices"); !c.IsNull() {
		v.Choices = r.strings(c, member(path, "choices"))
	}
	if a := n.Get("adjustable"); a != nil {
		r.dialect(a.Pos(), "adjustable", "early", "2025-09-03 to 2025-10-31", "ignores it")
		b, ok := a.Bool()
		if !ok {
			r.Warn(ruleFieldType, a.Pos(), "write true or false", "`%s` must be a boolean, found %s; it counts as true", member(path, "adjustable"), a.Kind)
		}
		v.Fixed = ok && !b
	}
	if n.Get("value").Is(contract.NodeString) && !strings.ContainsRune(v.Value, 0) {
		r.checkDefault(v, n.Get("value").Pos(), n.Get("choices"))
	}
	return v
}

func (r *reader) checkVariableName(name string, n *contract.Node) {
	switch {
	case !n.Is(contract.NodeString):
	case name == "" || strings.ContainsAny(name, "=\x00"):
		r.Error(ruleEnvName, n.Pos(), "use letters, digits and _", "`%s` cannot be a name for an environment variable", name)
	case !usualVariable.MatchString(name):
		r.Warn(ruleEnvName, n.Pos(), "use letters, digits and _", "`%s` is an unusual name for an environment variable", name)
	case reserved(name):
		f := r.Add(task.SeverityWarning, ruleEnvReserved, n.Pos(), "Kaapana overwrites `%s` on the platform.", name)
		f.Mend = "choose another name, unless the platform's value is what you want"
		if strings.HasPrefix(name, "KAAPANA_") && strings.HasSuffix(name, "_URL") {
			f.Why = "it is the address of a platform service, which needs the platform and a network"
		}
	}
}

// platformVariables are set by Kaapana's operator after the merged environment, so that they win (release 0.6.1).
var platformVariables = []string{
	"KAAPANA_SERVICES_NAMESPACE", "KAAPANA_ADMIN_NAMESPACE", "KAAPANA_LOG_LEVEL", "KAAPANA_TIMEZONE", "KAAPANA_KEYCLOAK_URL",
	"KAAPANA_CLIENT_ID", "KAAPANA_CLIENT_SECRET", "KAAPANA_OPENSEARCH_HOST", "KAAPANA_OPENSEARCH_PORT", "KAAPANA_OPENSEARCH_URL",
	"KAAPANA_DEFAULT_OPENSEARCH_INDEX", "KAAPANA_PROJECT_USER_NAME", "KAAPANA_PROJECT_USER_PASSWORD", "KAAPANA_AII_URL",
	"KAAPANA_DICOM_WEB_FILTER_URL", "KAAPANA_BACKEND_URL", "KAAPANA_MINIO_URL", "KAAPANA_NOTIFICATION_URL",
	"KAAPANA_PROJECT_IDENTIFIER", "KAAPANA_WORKFLOW_RUN_ID", "KAAPANA_DAG_ID", "KAAPANA_TASK_ID", "KAAPANA_IMAGE",
}

func reserved(name string) bool {
	return name == "PATH" || name == "HOME" || strings.HasPrefix(name, "LD_") || slices.Contains(platformVariables, name)
}

func (r *reader) variableValue(n *contract.Node, path string, v *variable) {
	val := n.Get("value")
	switch {
	case val == nil:
		r.missing(n, member(path, "value"), `write "" for unset`)
	case !val.Is(contract.NodeString):
		text := val.Text
		if val.IsNull() || text == "" {
			text = "…"
		}
		r.Error(ruleEnvValueType, val.Pos(), fmt.Sprintf("write \"%s\"", text), "`value` must be a string: write \"%s\".", text)
	default:
		r.noNUL(val, member(path, "value"))
		v.Value, v.Unset = val.Text, val.Text == ""
	}
}

func (r *reader) variableType(n *contract.Node, v *variable) {
	t := n.Get("type")
	if t == nil {
		return
	}
	r.dialect(t.Pos(), "env type", "early", "2025-09-03 to 2025-10-31", "ignores it")
	switch {
	case t.Is(contract.NodeString) && t.Text == typeString, t.IsNull():
	case t.Is(contract.NodeString) && (t.Text == typeBoolean || t.Text == typeInt):
		v.Type = t.Text
	default:
		r.Warn(ruleEnvType, t.Pos(), "write boolean, string or int", "`type` is boolean, string or int; `%s` counts as string.", nodeText(t))
	}
}

// nodeText is a short text of any node for messages.
func nodeText(n *contract.Node) string {
	if n.Is(contract.NodeList) || n.Is(contract.NodeObject) {
		return "a " + string(n.Kind)
	}
	return n.Text
}

// checkDefault warns of a template's own value that would not be accepted from a caller. The empty string stands for unset.
func (r *reader) checkDefault(v variable, at contract.At, choices *contract.Node) {
	if v.Value != "" && v.chosen(v.Value) && !v.fits(v.Value) && len(v.Choices) == 0 {
		f := r.Add(task.SeverityWarning, ruleEnvType, at, "`%s` is %s; `%s` is not one.", v.Name, v.typeWords(), v.Value)
		f.Mend = "correct the value or the type"
		f.Why = v.noDefault("its value is not of its type")
	}
	for i, c := range v.Choices {
		if c != "" && !v.fits(c) && !strings.ContainsRune(c, 0) {
			r.Warn(ruleEnvType, choices.Items[i].Pos(), "correct the choice or the type", "`%s` is %s; the choice `%s` is not one, so that nobody can take it.", v.Name, v.typeWords(), c)
		}
	}
	if !v.chosen(v.Value) {
		f := r.Add(task.SeverityWarning, ruleEnvChoice, at, "`%s` must be one of %s; found `%s`.", v.Name, strings.Join(v.Choices, ", "), v.Value)
		f.Why = v.noDefault("its value is not among the choices")
		f.Mend = "add it to the choices, or choose one of them"
	}
}

// chosen tells whether text is among the choices, if there are any.
func (v variable) chosen(text string) bool {
	return len(v.Choices) == 0 || slices.Contains(v.Choices, text)
}

// own tells whether the template's value is one that its choices and type allow.
func (v variable) own() bool { return v.chosen(v.Value) && (v.Unset || v.fits(v.Value)) }

// noDefault says what comes of a template's own value that a caller could not give.
func (v variable) noDefault(reason string) string {
	if v.Fixed {
		return reason + "; as it is fixed (adjustable: false), it is passed on all the same"
	}
	return reason + ", so that callers must give another"
}

// fits tells whether text is of the variable's type. The text itself is never changed.
func (v variable) fits(text string) bool {
	switch v.Type {
	case typeBoolean:
		l := strings.ToLower(text)
		return l == "true" || l == "false" || l == "1" || l == "0"
	case typeInt:
		return decimalInteger.MatchString(text)
	}
	return true
}

func (v variable) typeWords() string {
	switch v.Type {
	case typeBoolean:
		return "a boolean"
	case typeInt:
		return "an int"
	}
	return "a string"
}

// accept tells why text cannot be the variable's value in a run, or nothing.
func (v variable) accept(text string) *task.Finding {
	refuse := func(rule, mend, what string, args ...any) *task.Finding {
		return &task.Finding{Rule: rule, Severity: task.SeverityError, What: fmt.Sprintf(what, args...), Mend: mend}
	}
	switch {
	case strings.ContainsRune(text, 0):
		return refuse(ruleEnvType, "remove it", "`%s` must not contain the character NUL", v.Name)
	case v.Fixed && text != v.Value:
		return refuse(ruleEnvFixed, "leave it out", "`%s` is fixed by the package (adjustable: false).", v.Name)
	case v.Fixed:
		return nil // the package's own value: validate warns of one that is not among the choices or of the type
	case !v.chosen(text):
		return refuse(ruleEnvChoice, "choose one of them", "`%s` must be one of %s; found `%s`.", v.Name, strings.Join(v.Choices, ", "), text)
	case text == "" && v.Unset:
		return nil
	case !v.fits(text):
		return refuse(ruleEnvType, "give another value", "`%s` is %s; `%s` is not one.", v.Name, v.typeWords(), text)
	}
	return nil
}

// parameter is the variable as an input that goes to the environment. A default that could not be given by a caller is no
// default: then a value is required. A fixed one is passed on whatever it is.
func (v variable) parameter() task.Parameter {
	p := task.Parameter{
		Name: v.Name, Direction: task.Input, Aliases: []string{envAlias(v.Name)}, Description: v.Description, Fixed: v.Fixed,
		Type:  task.Type{Kind: task.String, Verbatim: true},
		Place: task.Place{Kind: task.PlaceEnv, Name: v.Name},
	}
	switch {
	case v.Fixed && !v.own():
	case len(v.Choices) > 0:
		p.Type.Kind, p.Type.Choices = task.Enumeration, v.Choices
	case v.Type == typeBoolean:
		p.Type.Kind, p.Type.AllowEmpty = task.Boolean, v.Unset
	case v.Type == typeInt:
		p.Type.Kind, p.Type.AllowEmpty = task.Integer, v.Unset
	}
	if v.Fixed || v.accept(v.Value) == nil {
		p.Default, p.Optional = &task.Value{Text: v.Value}, true
	}
	return p
}

func envAlias(name string) string   { return "env." + name }
func inputAlias(name string) string { return "input." + name }

package task

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Value is the value of one parameter, in the form that its kind asks for: Text for everything that is written down, Path
// for what is a file or folder on this machine (or Text for its address, where the type says URLs), Items for arrays.
type Value struct {
	Text  string  `json:"text,omitempty"`
	Path  string  `json:"path,omitempty"`
	Items []Value `json:"items,omitempty"`
	// Members makes a folder of what lies apart: each name in it with the file or folder on this machine that comes there. Path
	// is empty then. For outputs that a contract collects.
	Members map[string]string `json:"members,omitempty"`
	// Except lists files below the folder Path, slash separated and relative to it, that are not part of the value.
	Except []string `json:"except,omitempty"`
}

// Given is a value as a caller gave it, before it is known what it should be. Exactly one of Text, Path and JSON is set.
type Given struct {
	Text *string         // -i name=value
	Path string          // -i name=@file-or-folder
	JSON json.RawMessage `json:",omitempty"` // a member of a JSON object; left out of JSON when there is none, since null is a value
	Dir  string          // the folder that every "@path" in JSON is relative to; empty: the current one
	// As is what messages call the file Path, for callers on other machines, who shall not read this machine's paths; empty: Path.
	As string `json:",omitempty"`
	// files, when not nil, is what every "@name" in JSON means instead of a path; see Request.Files.
	files map[string]string
}

// file is the path that "@ref" in JSON means.
func (g Given) file(ref string) (string, error) {
	if g.files != nil {
		path, ok := g.files[ref]
		if !ok {
			return "", fmt.Errorf("no file named %q came with the request", ref)
		}
		return path, nil
	}
	if g.Dir == "" || filepath.IsAbs(ref) {
		return ref, nil
	}
	return filepath.Join(g.Dir, ref), nil
}

// shown is what messages call the file that was given.
func (g Given) shown() string { return cmp.Or(g.As, g.Path) }

// named is the file that "@ref" in JSON means, as if it had been given by itself.
func (g Given) named(ref string) (Given, error) {
	path, err := g.file(ref)
	named := Given{Path: path, files: g.files}
	if g.files != nil {
		named.As = ref
	}
	return named, err
}

// text is what was written, for values that are passed on as they are.
func (g Given) text() string {
	var s string
	switch {
	case g.Text != nil:
		return *g.Text
	case g.JSON != nil && json.Unmarshal(g.JSON, &s) == nil && g.JSON[0] == '"':
		return s
	}
	return string(g.JSON)
}

// null tells a JSON null.
func (g Given) null() bool {
	return g.JSON != nil && strings.TrimSpace(string(g.JSON)) == "null"
}

// asJSON is the value as a JSON document: text that is valid JSON is taken as such, other text becomes a JSON string.
func (g Given) asJSON() (json.RawMessage, error) {
	text := []byte(g.text())
	if g.JSON != nil {
		return g.JSON, nil
	}
	if g.Path != "" {
		data, err := g.readInline()
		if err != nil {
			return nil, err
		}
		text = data
	}
	if json.Valid(text) {
		return json.RawMessage(strings.TrimSpace(string(text))), nil
	}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("is neither JSON nor text")
	}
	return json.Marshal(string(text))
}

// GivenText is a value written down.
func GivenText(s string) Given { return Given{Text: &s} }

// Request is everything a caller gives to one use of a task.
type Request struct {
	// Inputs by parameter name or alias.
	Inputs map[string]Given
	// Env are environment variables given by name.
	Env []EnvVar
	// Words replace the arguments when not nil: the words after "--".
	Words []string
	// Body is the raw request body of an HTTP task, nil when the inputs make it. For a files task it is a JSON object of
	// inputs, or the content of its only input.
	Body *Body
	// Resources that are not zero replace the task's.
	Resources Resources
	// Unbound names inputs that are left out on purpose.
	Unbound []string
	// Files, when not nil, are the only files that values may name: "@name" in JSON means Files[name]. Nil lets "@path" name
	// any file of this machine, which is for the machine's own user.
	Files map[string]string
}

// Values are the checked inputs of one use of a task.
type Values struct {
	Inputs map[string]Value // by parameter name; parameters without value are absent
	// Given tells which inputs the caller gave; the others are defaults.
	Given map[string]bool
	Env   []EnvVar // beyond the declared parameters
	Words []string // nil when not given
	// Free are inputs beyond the declared ones, in name order; Text of each is a JSON document.
	Free []FreeValue
	// Body is the raw request body, when the caller gave one as such or for a parameter whose place is the whole body.
	Body      *Body
	Resources Resources
	Unbound   []string
}

// FreeValue is an input that the task does not declare.
type FreeValue struct {
	Name string
	JSON json.RawMessage
}

func (t *Task) envParameter(name string) *Parameter {
	for i := range t.Parameters {
		if p := &t.Parameters[i]; p.Direction == Input && p.Place.Kind == PlaceEnv && p.Place.Name == name {
			return p
		}
	}
	return nil
}

func (t *Task) envParameters() []Parameter {
	var ps []Parameter
	for _, p := range t.Inputs() {
		if p.Place.Kind == PlaceEnv {
			ps = append(ps, p)
		}
	}
	return ps
}

func names(ps []Parameter) string {
	if len(ps) == 0 {
		return "none"
	}
	var s []string
	for _, p := range ps {
		s = append(s, p.Name)
	}
	return strings.Join(s, ", ")
}

// ParseGiven turns what a caller gave into a value of the type and checks it. A file given for something that is written
// down (-i n=@file) is read, without its final line end.
func ParseGiven(t Type, g Given) (Value, error) {
	v, err := parseGiven(t, g)
	if err != nil {
		return Value{}, err
	}
	return v, Check(t, v)
}

func parseGiven(t Type, g Given) (Value, error) {
	switch {
	case t.Kind.OnDisk():
		switch {
		case g.Path != "":
			return Value{Path: g.Path}, checkPath(t, g.Path, g.shown())
		case t.URLs && isURL(g.text()):
			return Value{Text: g.text()}, nil
		case g.JSON != nil:
			var s string
			if json.Unmarshal(g.JSON, &s) != nil || !strings.HasPrefix(s, "@") {
				return Value{}, fmt.Errorf(`must be %s: write "@path"`, t.Kind.withArticle())
			}
			named, err := g.named(s[1:])
			if err != nil {
				return Value{}, err
			}
			return parseGiven(t, named)
		default:
			return Value{}, fmt.Errorf("must be %s on this machine, not text: put @ before its path", t.Kind.withArticle())
		}
	case g.Path != "" && arrayFolder(t, g.Path):
		return fromFolder(t, g.Path, g)
	case g.Path != "":
		data, err := g.readInline()
		if err != nil {
			return Value{}, err
		}
		if t.Kind == Array || t.Kind == JSON {
			return parseGiven(t, Given{JSON: data, files: g.files})
		}
		text := strings.TrimRight(string(data), "\r\n")
		if t.Verbatim {
			return Value{Text: text}, nil
		}
		return fromText(t, text, g)
	case t.Verbatim && (g.JSON != nil || g.Text != nil):
		return Value{Text: g.verbatimText()}, nil
	case g.JSON != nil:
		return fromJSON(t, g.JSON, g)
	case g.Text != nil:
		return fromText(t, *g.Text, Given{files: g.files})
	}
	return Value{}, fmt.Errorf("has no value")
}

// maxInline bounds a file that is read as a written-down value.
const maxInline = 64 << 20

func (g Given) readInline() ([]byte, error) {
	st, err := os.Stat(g.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", g.shown(), bare(err))
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", g.shown())
	}
	if st.Size() > maxInline {
		return nil, fmt.Errorf("%s has %s, more than the %s a written value may have", g.shown(), Bytes(st.Size()), Bytes(maxInline))
	}
	data, err := os.ReadFile(g.Path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", g.shown(), bare(err))
	}
	return data, nil
}

// bare is an error about a file without the file's path, for messages that name it themselves.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// fromText reads what was written down; files come from where g says.
func fromText(t Type, s string, g Given) (Value, error) {
	switch t.Kind {
	case Boolean:
		switch strings.ToLower(s) {
		case "true", "1", "yes":
			return Value{Text: "true"}, nil
		case "false", "0", "no":
			return Value{Text: "false"}, nil
		}
		return Value{}, fmt.Errorf("%q is not a boolean: write true or false", s)
	case Integer:
		n, ok := ParseInteger(s)
		if !ok {
			return Value{}, fmt.Errorf("%q is not an integer", s)
		}
		return Value{Text: n.String()}, nil
	case Number:
		switch strings.ToLower(strings.TrimPrefix(s, "+")) {
		case "nan":
			return Value{Text: "NaN"}, nil
		case "inf", "infinity":
			return Value{Text: "Infinity"}, nil
		case "-inf", "-infinity":
			return Value{Text: "-Infinity"}, nil
		}
		if _, err := strconv.ParseFloat(s, 64); err != nil || strings.ContainsAny(s, "xXpP_") {
			return Value{}, fmt.Errorf("%q is not a number", s)
		}
		return Value{Text: s}, nil
	case JSON:
		if !json.Valid([]byte(s)) {
			return Value{}, fmt.Errorf("is not valid JSON: %s", jsonProblem(s))
		}
		return Value{Text: s}, nil
	case Array:
		return fromJSON(t, json.RawMessage(s), g)
	}
	return Value{Text: s}, nil
}

func jsonProblem(s string) string {
	var x any
	if err := json.Unmarshal([]byte(s), &x); err != nil {
		return err.Error()
	}
	return "more than one document"
}

// fromJSON reads a JSON document as a value; g says what its "@path" strings mean.
func fromJSON(t Type, raw json.RawMessage, g Given) (Value, error) {
	raw = json.RawMessage(strings.TrimSpace(string(raw)))
	if !json.Valid(raw) {
		return Value{}, fmt.Errorf("is not valid JSON: %s", jsonProblem(string(raw)))
	}
	if t.Kind == JSON {
		return Value{Text: string(raw)}, nil
	}
	if t.Kind == Array {
		var items []json.RawMessage
		if json.Unmarshal(exploded(t, raw), &items) != nil || items == nil {
			return Value{}, fmt.Errorf("must be a JSON list of %s", t.Item.Kind)
		}
		if t.Indexed {
			var err error
			if items, err = inOrder(items); err != nil {
				return Value{}, err
			}
		}
		v := Value{Items: make([]Value, 0, len(items))}
		for i, it := range items {
			x, err := parseGiven(*t.Item, Given{JSON: it, Dir: g.Dir, files: g.files})
			if err != nil {
				return Value{}, &itemError{i, err}
			}
			v.Items = append(v.Items, x)
		}
		return v, nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil && raw[0] == '"' {
		if t.Kind == Boolean || t.Kind == Integer {
			return Value{}, fmt.Errorf("must be a JSON %s, found the string %s", t.Kind, raw)
		}
		return fromText(t, s, g)
	}
	switch {
	case t.Kind == Geometry && raw[0] == '{':
		return Value{Text: compact(raw)}, nil
	case t.Kind == Boolean && (raw[0] == 't' || raw[0] == 'f'),
		t.Kind == Integer && strings.ContainsAny(string(raw[:1]), "-0123456789"),
		t.Kind == Number && strings.ContainsAny(string(raw[:1]), "-0123456789"):
		return fromText(t, string(raw), g)
	}
	return Value{}, fmt.Errorf("must be %s, found %s", t.Kind.withArticle(), shorten(string(raw)))
}

// inOrder returns the values of a list of objects of index and value, and every other list as it is.
func inOrder(items []json.RawMessage) ([]json.RawMessage, error) {
	values := make([]json.RawMessage, len(items))
	for i, it := range items {
		var o struct {
			Index *int            `json:"index"`
			Value json.RawMessage `json:"value"`
		}
		switch {
		case json.Unmarshal(it, &o) != nil || o.Index == nil || o.Value == nil:
			return items, nil
		case *o.Index < 0 || *o.Index >= len(items) || values[*o.Index] != nil:
			return nil, &itemError{i, fmt.Errorf("its index is %d; the indexes of %d items are 0 to %d, each once", *o.Index, len(items), len(items)-1)}
		}
		values[*o.Index] = o.Value
	}
	return values, nil
}

func shorten(s string) string {
	if utf8.RuneCountInString(s) > 60 {
		return string([]rune(s)[:60]) + "…"
	}
	return s
}

var decimalInteger = regexp.MustCompile(`^[+-]?[0-9]+$`)

// integral is an integer written as a number with zero fraction ("300.0", "3e2").
var integral = regexp.MustCompile(`^[+-]?[0-9]+(\.0+)?([eE]\+?[0-9]{1,3})?$`)

// ParseInteger reads a decimal integer of any size, also one written as a JSON number with a zero fraction.
func ParseInteger(s string) (*big.Int, bool) {
	if decimalInteger.MatchString(s) {
		return new(big.Int).SetString(strings.TrimPrefix(s, "+"), 10)
	}
	if integral.MatchString(s) {
		if r, ok := new(big.Rat).SetString(s); ok && r.IsInt() {
			return r.Num(), true
		}
	}
	return nil, false
}

// Violation is a value that does not meet its type. Rule names the constraint ("gt", "ge", "lt", "le", "infinity", "nan",
// "min-length", "max-length", "choices", "before", "after", "min-items", "max-items", "max-bytes", "kind").
type Violation struct {
	Rule    string
	Message string
}

func (v *Violation) Error() string { return v.Message }

func violation(rule, format string, args ...any) error {
	return &Violation{Rule: rule, Message: fmt.Sprintf(format, args...)}
}

// Wording is a platform's own words for values that are refused, by the Rule of a Violation, or by kind and rule where they
// differ ("boolean/kind"). What cannot even be taken for a value of its kind breaks the rule "type"; an item of an array is worded
// as itself.
type Wording map[string]Words

// Words are a platform's code and text; without them, Longshore's own stand alone.
type Words struct {
	Code string `json:"code,omitempty"`
	Text string `json:"text,omitempty"`
}

// Of returns the words for an error of ParseGiven or Check.
func (w Wording) Of(t Type, err error) Words {
	for item := (*itemError)(nil); t.Kind == Array && errors.As(err, &item); {
		t, err = *t.Item, item.err
	}
	rule := "type"
	if v, ok := errors.AsType[*Violation](err); ok {
		rule = v.Rule
	}
	if words, ok := w[string(t.Kind)+"/"+rule]; ok {
		return words
	}
	return w[rule]
}

// itemError is what is wrong with one item of an array.
type itemError struct {
	index int
	err   error
}

func (e *itemError) Error() string { return fmt.Sprintf("item %d: %v", e.index, e.err) }
func (e *itemError) Unwrap() error { return e.err }

// Check tests a value against its type, and answers an error that is or wraps a *Violation for the first constraint that fails. Files are looked at
// (existence, kind, size), their content is not.
func Check(t Type, v Value) error {
	if t.AllowEmpty && v.Text == "" && v.Path == "" && v.Items == nil {
		return nil
	}
	if t.Verbatim && !verbatimKind(t.Kind, v.Text) {
		return violation("kind", "%q is not %s", v.Text, map[Kind]string{Boolean: "a boolean: write true or false", Integer: "an integer"}[t.Kind])
	}
	switch t.Kind {
	case Boolean:
		if t.Verbatim {
			return nil
		}
		if v.Text != "true" && v.Text != "false" {
			return violation("kind", "%q is not a boolean", v.Text)
		}
	case Integer:
		n, ok := ParseInteger(v.Text)
		if !ok {
			return violation("kind", "%q is not an integer", v.Text)
		}
		return checkBounds(t, new(big.Rat).SetInt(n), v.Text)
	case Number:
		return checkNumber(t, v.Text)
	case String:
		n := utf8.RuneCountInString(v.Text)
		if t.MinLength != nil && n < *t.MinLength {
			return violation("min-length", "has %d characters, must have at least %d", n, *t.MinLength)
		}
		if t.MaxLength != nil && n > *t.MaxLength {
			return violation("max-length", "has %d characters, must have at most %d", n, *t.MaxLength)
		}
		if len(t.Choices) > 0 && !slices.Contains(t.Choices, v.Text) {
			return violation("choices", "%q is not one of %s", v.Text, strings.Join(t.Choices, ", "))
		}
	case Enumeration:
		if !slices.Contains(t.Choices, v.Text) {
			return violation("choices", "%q is not one of %s", v.Text, strings.Join(t.Choices, ", "))
		}
	case Datetime:
		return checkTime(t, v.Text)
	case Geometry, JSON:
		if !json.Valid([]byte(v.Text)) {
			return violation("kind", "is not valid JSON: %s", jsonProblem(v.Text))
		}
	case Image, FileKind, Directory:
		if t.URLs && v.Path == "" && isURL(v.Text) {
			return nil
		}
		return checkPath(t, v.Path, v.Path)
	case Array:
		if t.MinItems != nil && len(v.Items) < *t.MinItems {
			return violation("min-items", "has %d items, must have at least %d", len(v.Items), *t.MinItems)
		}
		if t.MaxItems != nil && len(v.Items) > *t.MaxItems {
			return violation("max-items", "has %d items, must have at most %d", len(v.Items), *t.MaxItems)
		}
		for i, it := range v.Items {
			if err := Check(*t.Item, it); err != nil {
				return &itemError{i, err}
			}
		}
	}
	return nil
}

func checkNumber(t Type, s string) error {
	switch s {
	case "NaN":
		if !t.AllowNaN {
			return violation("nan", "NaN is not allowed")
		}
		return nil
	case "Infinity", "-Infinity":
		// An infinity meets the bounds first: +∞ passes every lower bound, −∞ every upper one.
		switch {
		case s == "-Infinity" && t.GT != "":
			return violation("gt", "-Infinity is below the lower bound")
		case s == "-Infinity" && t.GE != "":
			return violation("ge", "-Infinity is below the lower bound")
		case s == "Infinity" && t.LT != "":
			return violation("lt", "Infinity is above the upper bound")
		case s == "Infinity" && t.LE != "":
			return violation("le", "Infinity is above the upper bound")
		}
		if !t.AllowInfinity {
			return violation("infinity", "%s is not allowed", s)
		}
		return nil
	}
	r, ok := ratOf(s)
	if !ok {
		return violation("kind", "%q is not a number", s)
	}
	return checkBounds(t, r, s)
}

// ratOf reads a decimal exactly, refusing exponents that would make it enormous.
func ratOf(s string) (*big.Rat, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if e, err := strconv.Atoi(s[i+1:]); err != nil || e > 400 || e < -400 {
			return new(big.Rat).SetFloat64(f), true
		}
	}
	return new(big.Rat).SetString(s)
}

func checkBounds(t Type, n *big.Rat, text string) error {
	for _, b := range []struct {
		bound Decimal
		rule  string
		fails func(int) bool
		words string
	}{
		{t.GT, "gt", func(c int) bool { return c <= 0 }, "greater than"},
		{t.GE, "ge", func(c int) bool { return c < 0 }, "at least"},
		{t.LT, "lt", func(c int) bool { return c >= 0 }, "less than"},
		{t.LE, "le", func(c int) bool { return c > 0 }, "at most"},
	} {
		if b.bound == "" {
			continue
		}
		if r, ok := ratOf(string(b.bound)); ok && b.fails(n.Cmp(r)) {
			return violation(b.rule, "%s must be %s %s", text, b.words, b.bound)
		}
	}
	return nil
}

func checkTime(t Type, s string) error {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return violation("kind", "%q is not a date and time: write it like 2024-02-23T18:00:00Z", s)
	}
	if t.Before != nil && at.After(*t.Before) {
		return violation("before", "%s is later than %s", s, t.Before.Format(time.RFC3339))
	}
	if t.After != nil && at.Before(*t.After) {
		return violation("after", "%s is earlier than %s", s, t.After.Format(time.RFC3339))
	}
	return nil
}

// isURL tells an absolute http or https address.
func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (strings.EqualFold(u.Scheme, "http") || strings.EqualFold(u.Scheme, "https")) && u.Host != ""
}

// checkPath tests what lies at path; shown is what messages call it.
func checkPath(t Type, path, shown string) error {
	st, err := os.Stat(path)
	if err != nil {
		if os.IsNotExist(err) {
			return violation("kind", "%s does not exist", shown)
		}
		return violation("kind", "cannot look at %s: %v", shown, bare(err))
	}
	folder := t.Kind == Directory || slices.Contains(t.Formats, "wsidicom")
	switch {
	case st.IsDir() && t.Kind == FileKind && !slices.Contains(t.Formats, "folder"), st.IsDir() && t.Kind == Image && !folder:
		return violation("kind", "%s is a folder, must be a file", shown)
	case !st.IsDir() && !st.Mode().IsRegular():
		return violation("kind", "%s is neither a file nor a folder", shown)
	}
	if t.MaxBytes != nil && st.Mode().IsRegular() && st.Size() > int64(*t.MaxBytes) {
		return violation("max-bytes", "%s has %s, must have at most %s", shown, Bytes(st.Size()), *t.MaxBytes)
	}
	return nil
}

// Describe says in a few words what values the type takes, for example "integer, at least 1".
func (t Type) Describe() string {
	parts := []string{string(t.Kind)}
	if t.Kind == Array {
		parts[0] = "array of " + t.Item.Describe()
	}
	add := func(words, bound string) {
		if bound != "" {
			parts = append(parts, words+" "+bound)
		}
	}
	number := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	add("greater than", string(t.GT))
	add("at least", string(t.GE))
	add("less than", string(t.LT))
	add("at most", string(t.LE))
	if len(t.Choices) > 0 {
		parts = append(parts, "one of "+strings.Join(t.Choices, "|"))
	}
	add("min length", number(t.MinLength))
	add("max length", number(t.MaxLength))
	add("min items", number(t.MinItems))
	add("max items", number(t.MaxItems))
	add("as", strings.Join(t.Formats, "|"))
	return strings.Join(parts, ", ")
}

// withArticle is the kind's name in a sentence: "an integer".
func (k Kind) withArticle() string {
	if strings.ContainsRune("aei", rune(k[0])) {
		return "an " + string(k)
	}
	return "a " + string(k)
}

func (t Type) example() string {
	switch t.Kind {
	case Boolean:
		return "true"
	case Integer, Number:
		return t.exampleNumber()
	case Enumeration:
		if len(t.Choices) > 0 {
			return t.Choices[0]
		}
	case Datetime:
		return "2024-02-23T18:00:00Z"
	case Image, FileKind:
		return "@FILE"
	case Directory:
		return "@FOLDER"
	case Array:
		return "'[" + t.Item.exampleItem() + ", …]'"
	case JSON, Geometry:
		return "'{…}'"
	}
	return "VALUE"
}

// exampleItem is the example as it stands in a list in JSON.
func (t Type) exampleItem() string {
	text := strings.Trim(t.example(), "'")
	switch t.Kind {
	case Boolean, Integer, Number, Array, JSON, Geometry:
		return text
	}
	return strconv.Quote(text)
}

// exampleNumber is a number that the bounds allow.
func (t Type) exampleNumber() string {
	list := []string{"1", string(t.GE), string(t.LE)}
	low, above := new(big.Rat).SetString(string(t.GT))
	high, below := new(big.Rat).SetString(string(t.LT))
	one := big.NewRat(1, 1)
	if above {
		list = append(list, short(low.Add(low, one)))
	}
	if below {
		list = append(list, short(high.Sub(high, one)))
	}
	if above && below { // a little more than one bound, a little less than the other; in the middle is something
		list = append(list, short(low.Mul(low.Add(low, high), big.NewRat(1, 2))))
	}
	for _, text := range list {
		if text != "" && Check(t, Value{Text: text}) == nil {
			return text
		}
	}
	return "VALUE"
}

// short writes a number without more digits than it needs.
func short(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64() // an example need not be exact
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// Plain returns the value as what encoding/json writes for it: a bool, json.Number, string, json.RawMessage or a list. Kinds
// on disk give their path.
func (v Value) Plain(t Type) any {
	switch t.Kind {
	case Boolean:
		return v.Text == "true"
	case Integer, Number:
		if json.Valid([]byte(v.Text)) {
			return json.RawMessage(v.Text)
		}
		return v.Text // NaN and the infinities have no JSON number
	case JSON:
		return json.RawMessage(v.Text)
	case Geometry:
		return json.RawMessage(v.Text)
	case Image, FileKind, Directory:
		return v.Path
	case Array:
		list := make([]any, 0, len(v.Items))
		for _, it := range v.Items {
			list = append(list, it.Plain(*t.Item))
		}
		return list
	}
	return v.Text
}

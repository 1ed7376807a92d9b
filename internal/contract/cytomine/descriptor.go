package cytomine

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// descriptor is what a descriptor.yml says, as far as it could be read.
type descriptor struct {
	name, nameShort, namespace, version, description string
	inputFolder, outputFolder                        string
	// imageFile is configuration.image.file without its leading slash; imageFileAt is where it is written.
	imageFile   string
	imageFileAt contract.At
	resources   task.Resources
	memoryGiven bool
	network     bool
	parameters  []task.Parameter
	extras      map[string]*extra
}

// The forms of the descriptor's identifiers (App Engine schema task.v0.json).
var (
	nameForm      = regexp.MustCompile(`^[a-zA-Z0-9_\s\-]+$`)
	namespaceForm = regexp.MustCompile(`^[a-zA-Z0-9_]*(\.[a-zA-Z0-9_-]+)+$`)
	versionForm   = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)
	keyForm       = regexp.MustCompile(`^[a-zA-Z0-9_]+$`)
	inputRef      = regexp.MustCompile(`^inputs(?:/[a-zA-Z0-9_]+)+$`)
	anyRef        = regexp.MustCompile(`^(inputs|outputs)(?:/[a-zA-Z0-9_]+)+$`)
)

const maxDescription = 2048

// readDescriptor reads a descriptor and reports everything that is wrong with it. It returns nil when data is no mapping.
func readDescriptor(data []byte, r *report) *descriptor {
	root, err := contract.ParseYAML(data)
	if err != nil {
		r.Syntax(ruleSyntax, "YAML", err)
		return nil
	}
	if !root.Is(contract.NodeObject) {
		r.found(ruleSyntax, root.Pos(), "write keys and values", "the descriptor must be an object, got %s", jsonType(root))
		return nil
	}
	for _, m := range root.Duplicates() {
		r.found(ruleDuplicate, m.Pos(), "keep one of them", "%s: the key occurs twice", printable(m.Key))
	}
	if n := asWritten(root); n != nil {
		r.portable(n.Pos(), "the descriptor", "reads an alias as the text of its name, and knows no merge keys", "write out what the anchor stands for")
	}
	d := &descriptor{extras: map[string]*extra{}}
	d.identity(root, r)
	d.authors(root, r)
	d.external(root, r)
	d.configuration(root, r)
	d.side(root, task.Input, r)
	d.side(root, task.Output, r)
	d.dependencies(root, r)
	r.unknown(root, "", "$schema", "name", "name_short", "namespace", "version", "description", "authors", "external", "configuration", "inputs", "outputs")
	return d
}

// identity reads the keys that name and describe the task.
func (d *descriptor) identity(root *contract.Node, r *report) {
	if n := r.need(root, "", "$schema"); n != nil {
		if s, ok := r.text(n, "$schema"); ok && !isURI(s) {
			r.form(n, "$schema", "a URI", "write https://cytomine.com/schema-store/tasks/task.v0.json")
		}
	}
	if n := r.need(root, "", "name"); n != nil {
		s, ok := r.text(n, "name")
		if c := utf8.RuneCountInString(s); ok && (c < 3 || c > 30 || !nameForm.MatchString(s)) {
			r.form(n, "name", `3 to 30 letters, digits, blanks, "_" and "-"`, "choose another name")
		}
		d.name = s
	}
	d.nameShort = slug(d.name)
	if n := root.Get("name_short"); n == nil {
		r.portable(root.Pos(), "name_short", "refuses a descriptor without it", "add name_short")
	} else if s, ok := r.text(n, "name_short"); ok {
		d.nameShort = s
	}
	d.readNamespace(root, r)
	d.readVersion(root, r)
	if n := root.Get("description"); n != nil {
		s, ok := r.text(n, "description")
		if ok && utf8.RuneCountInString(s) > maxDescription {
			r.form(n, "description", "at most 2048 characters", "shorten it")
		}
		d.description = s
	}
}

func (d *descriptor) readNamespace(root *contract.Node, r *report) {
	n := r.need(root, "", "namespace")
	s, ok := "", false
	if n != nil {
		s, ok = r.text(n, "namespace")
	}
	switch {
	case !ok:
		return
	case !namespaceForm.MatchString(s):
		r.form(n, "namespace", "words of letters, digits and _ with dots between them", "write it like org.example.cells")
		return
	case strings.Contains(s, "-"):
		r.portable(n.Pos(), "namespace", `takes the name of the image's file apart at the first "-"`, `write "_" for "-"`)
	}
	if s != strings.ToLower(s) {
		r.portable(n.Pos(), "namespace", "cannot push an image with an upper-case name", "write it in lower case")
	}
	d.namespace = s
}

func (d *descriptor) readVersion(root *contract.Node, r *report) {
	n := r.need(root, "", "version")
	if n == nil {
		return
	}
	if !n.Is(contract.NodeString) {
		r.found(ruleType, n.Pos(), `quote it and use three numbers, e.g. "1.0.0"`, "version: must be a string, got %s", jsonType(n))
		return
	}
	if !versionForm.MatchString(n.Text) {
		r.form(n, "version", "a version by SemVer 2.0", "use three numbers, e.g. 1.0.0")
		return
	}
	d.version = n.Text
	if strings.Contains(n.Text, "+") {
		r.portable(n.Pos(), "version", `cannot push an image with "+" in its tag`, "leave the build metadata out")
	}
}

func (d *descriptor) authors(root *contract.Node, r *report) {
	n := r.need(root, "", "authors")
	if n == nil || !r.is(n, "authors", "array") {
		return
	}
	if len(n.Items) == 0 {
		r.form(n, "authors", "a list of at least one author", "name an author")
	}
	for i, a := range n.Items {
		p := fmt.Sprintf("authors[%d]", i)
		if !r.is(a, p, "object") {
			continue
		}
		for _, key := range []string{"first_name", "last_name", "organization", "email"} {
			v := r.need(a, p, key)
			s, ok := "", false
			if v != nil {
				s, ok = r.text(v, join(p, key))
			}
			if ok && key == "email" && !emailForm.MatchString(s) {
				r.form(v, join(p, key), "an e-mail address", "write name@host")
			}
		}
		if r.flag(a, p, "is_contact"); !a.Has("is_contact") {
			r.portable(a.Pos(), join(p, "is_contact"), "takes it too, but the one of 2025 and the app store refuse an author without it", "add is_contact: true or false")
		}
		r.unknown(a, p, "first_name", "last_name", "organization", "email", "is_contact")
	}
}

func (d *descriptor) external(root *contract.Node, r *report) {
	n := root.Get("external")
	if n == nil || !r.is(n, "external", "object") {
		return
	}
	uri := func(v *contract.Node, p string) {
		if s, ok := r.text(v, p); ok && !isURI(s) {
			r.form(v, p, "a URI", "write the whole address, e.g. https://doi.org/…")
		}
	}
	if v := n.Get("source_code"); v != nil {
		uri(v, "external.source_code")
	}
	if v := n.Get("doi"); v != nil && r.is(v, "external.doi", "array") {
		for i, it := range v.Items {
			uri(it, fmt.Sprintf("external.doi[%d]", i))
		}
	}
	r.unknown(n, "external", "source_code", "doi", "dois") // the docs' own example writes dois
}

func (d *descriptor) configuration(root *contract.Node, r *report) {
	d.inputFolder, d.outputFolder = defaultInputFolder, defaultOutputFolder
	d.resources = task.Resources{CPU: 1000, Memory: defaultMemory, MinMemory: freeForDefault}
	n := r.need(root, "", "configuration")
	if n == nil || !r.is(n, "configuration", "object") {
		return
	}
	d.folders(n, r)
	if img := n.Get("image"); img != nil {
		d.image(img, r)
	}
	if res := n.Get("resources"); res != nil && r.is(res, "configuration.resources", "object") {
		d.readResources(res, r)
	}
	r.unknown(n, "configuration", "input_folder", "output_folder", "image", "resources")
}

func (d *descriptor) folders(n *contract.Node, r *report) {
	read := func(name string, into *string) *contract.Node {
		p := join("configuration", name)
		v := n.Get(name)
		if v == nil {
			r.portable(n.Pos(), p, "refuses a descriptor without it", "add "+name+": "+*into)
			return nil
		}
		s, ok := r.text(v, p)
		switch {
		case !ok:
			return nil
		case !strings.HasPrefix(s, "/"):
			r.form(v, p, `an absolute path: "/" and more`, "put / before it")
			return nil
		case !mountable(s):
			r.found(ruleFolder, v.Pos(), "choose a folder such as "+*into, "%s: %s cannot be a mount point", p, quote(s))
			return nil
		}
		*into = path.Clean(s)
		return v
	}
	in := read("input_folder", &d.inputFolder)
	out := read("output_folder", &d.outputFolder)
	if overlap(d.inputFolder, d.outputFolder) {
		at, name, value := out, "output_folder", d.outputFolder
		if at == nil {
			at, name, value = in, "input_folder", d.inputFolder
		}
		f := r.found(ruleFolder, at.Pos(), "choose folders that lie beside one another", "configuration.%s: %s cannot be a mount point", name, quote(value))
		f.Why = fmt.Sprintf("inputs are in %s and outputs in %s, which must not overlap", d.inputFolder, d.outputFolder)
		d.inputFolder, d.outputFolder = defaultInputFolder, defaultOutputFolder
	}
}

// mountable tells whether a folder of a container can be covered by a mount without harm.
func mountable(p string) bool {
	if slices.Contains(strings.Split(p, "/"), "..") || path.Clean(p) == "/" || len(p) > 1024 {
		return false
	}
	if strings.ContainsFunc(p, func(c rune) bool { return unicode.IsControl(c) || c == utf8.RuneError }) {
		return false
	}
	return !slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, func(own string) bool { return within(path.Clean(p), own) })
}

func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

func overlap(a, b string) bool { return within(a, b) || within(b, a) }

// image reads configuration.image, which the upstream schema does not know.
func (d *descriptor) image(n *contract.Node, r *report) {
	file := n.Get("file")
	switch {
	case n.IsNull() || n.Is(contract.NodeObject) && file == nil:
	case !n.Is(contract.NodeObject):
		r.found(ruleImageFile, n.Pos(), "write image: {file: /image.tar}", "configuration.image.file: must be the path of the image tar inside the bundle")
	case !file.Is(contract.NodeString) || strings.TrimPrefix(file.Text, "/") == "":
		r.found(ruleImageFile, file.Pos(), "write a path such as /image.tar", "configuration.image.file: must be the path of the image tar inside the bundle")
	default:
		d.imageFile, d.imageFileAt = strings.TrimPrefix(file.Text, "/"), file.Pos()
	}
	r.unknown(n, "configuration.image", "file")
}

func (d *descriptor) readResources(n *contract.Node, r *report) {
	const p = "configuration.resources"
	if v := n.Get("ram"); v != nil {
		if amount, ok := r.memory(v, p+".ram", false); ok && amount == 0 {
			r.found(ruleMemory, v.Pos(), "say how much the task needs", "%s.ram: %s is not a memory amount; write e.g. 512Mi or 2GiB", p, quote(v.Text))
		} else if ok {
			d.resources.Memory, d.resources.MinMemory, d.memoryGiven = amount, 0, true
			if !quantityForm.MatchString(v.Text) {
				r.portable(v.Pos(), p+".ram", "hands it to Kubernetes, which refuses the run", "write a Kubernetes quantity, such as 512Mi or 2Gi, without blank or B")
			}
		}
	}
	count := func(name string, least int) (int, bool) {
		v := n.Get(name)
		if v == nil || !r.is(v, join(p, name), "integer") {
			return 0, false
		}
		c := saturated(v)
		if c < least {
			r.found(ruleAtLeast, v.Pos(), fmt.Sprintf("write %d or more", least), "%s: must be at least %d", join(p, name), least)
			return 0, false
		}
		return c, true
	}
	if c, ok := count("cpus", 1); ok {
		d.resources.CPU = task.MilliCPU(c) * 1000
	}
	if c, ok := count("gpus", 0); ok {
		d.resources.GPUs = c
	}
	d.network = r.flag(n, p, "internet")
	r.unknown(n, p, "ram", "cpus", "gpus", "internet")
}

// side reads the parameters of one direction.
func (d *descriptor) side(root *contract.Node, dir task.Direction, r *report) {
	side := string(dir) + "s"
	n := r.need(root, "", side)
	if n == nil || !r.is(n, side, "object") {
		return
	}
	if dir == task.Input && len(n.Members) == 0 {
		r.portable(n.Pos(), side, "installs a task without inputs and then cannot find it to run", "give the task an input")
	}
	folded := map[string]string{}
	seen := map[string]bool{}
	for _, m := range n.Members {
		p := side + "." + printable(m.Key)
		if seen[m.Key] { // reported as a duplicate
			continue
		}
		seen[m.Key] = true
		if !keyForm.MatchString(m.Key) {
			r.found(ruleName, m.Pos(), "rename it, e.g. "+parameterName(m.Key), "%s: parameter names may hold letters, digits and _ only", p)
			continue
		}
		if other, ok := folded[strings.ToLower(m.Key)]; ok {
			r.found(ruleCase, m.Pos(), "rename one of them", "%s: %q and %q differ only in case; clients match names ignoring case", side, other, m.Key)
		} else {
			folded[strings.ToLower(m.Key)] = m.Key
		}
		if r.is(m.Value, p, "object") {
			d.parameter(m, dir, p, r)
		}
	}
}

// parameterName makes a valid name of one that is not.
func parameterName(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !keyForm.MatchString(string(r)) })
	return cmp.Or(strings.Join(words, "_"), "value")
}

// parameter reads one parameter.
func (d *descriptor) parameter(m contract.Member, dir task.Direction, p string, r *report) {
	n := m.Value
	param := task.Parameter{Name: m.Key, Direction: dir, Title: m.Key, Place: task.Place{Kind: task.PlaceFile, Path: path.Join(d.folder(dir), m.Key)}}
	if v := r.need(n, p, "description"); v != nil {
		param.Description, _ = r.text(v, p+".description")
	}
	if v := n.Get("display_name"); v == nil {
		r.portable(m.Pos(), p+".display_name", "refuses a parameter without it", "add display_name")
	} else if s, ok := r.text(v, p+".display_name"); ok {
		if param.Title = s; s == "" {
			r.form(v, p+".display_name", "at least one character", "give it a name")
		}
	}
	param.Optional = r.flag(n, p, "optional")
	if dir == task.Output && param.Optional {
		r.portable(n.Get("optional").Pos(), p+".optional", "takes every output for mandatory", "always write the output")
	}
	v := r.need(n, p, "type")
	ok := false
	var x *extra
	if v != nil {
		param.Type, x, ok = r.typ(v, p+".type")
	}
	if def := n.Get("default"); def != nil {
		switch {
		case dir == task.Output:
			r.found(ruleDefaultUnused, def.Pos(), "remove it", "%s.default: ignored, an output has no default", p)
		case ok:
			if param.Default = r.defaultOf(def, param.Type, p); param.Default != nil && param.Optional {
				r.differs(def.Pos(), p+".default", "starts the task without the file when the value is left out", "let the task itself know the default, or make the input mandatory")
			}
		}
	}
	if ok {
		r.traps(param, m.Pos(), p)
	}
	r.unknown(n, p, "description", "display_name", "type", "default", "optional", "dependencies")
	if x != nil {
		d.extras[key(param)] = x
	}
	if ok {
		d.parameters = append(d.parameters, param)
	}
}

// traps warns of whole parameters that today's App Engine installs and then cannot run or answer.
func (r *report) traps(p task.Parameter, at contract.At, path string) {
	if p.Type.Kind != task.Array {
		return
	}
	leaf := p.Type
	for leaf.Kind == task.Array {
		leaf = *leaf.Item
	}
	switch {
	case p.Direction == task.Input && p.Optional:
		r.portable(at, path, "fails a run that leaves an optional array out", "make it mandatory: an array may be empty")
	case p.Direction == task.Output && leaf.Kind == task.Number && (leaf.AllowNaN || leaf.AllowInfinity):
		r.portable(at, path, "refuses nan and inf in an array", "leave them out of arrays")
	case p.Direction == task.Output && len(leaf.Formats) == 1 && leaf.Formats[0] == "wsidicom":
		r.portable(at, path, "cannot answer slides in an array", "write single slides")
	}
	if p.Direction == task.Input && (leaf.Kind == task.String || leaf.Kind == task.Datetime || leaf.Kind == task.Enumeration) {
		r.differs(at, path, "refuses items of text that are sent one at a time", "send the whole array at once")
	}
}

func (d *descriptor) folder(dir task.Direction) string {
	if dir == task.Input {
		return d.inputFolder
	}
	return d.outputFolder
}

// defaultOf reads the default of an input, nil when it has none that can be used.
func (r *report) defaultOf(n *contract.Node, t task.Type, p string) *task.Value {
	p += ".default"
	v := task.Value{Text: n.Text}
	switch t.Kind {
	case task.Boolean, task.Integer, task.Number, task.String:
		if !r.is(n, p, string(t.Kind)) {
			return nil
		}
	case task.Enumeration:
		if !r.choice(n, p) {
			return nil
		}
	case task.Datetime:
		s, ok := r.text(n, p)
		if !ok {
			return nil
		}
		if _, ok := isDateTime(s); !ok {
			r.form(n, p, "a date and time with zone, such as 2024-02-23T18:00:00Z", "write date, time and zone")
			return nil
		}
	default:
		r.found(ruleDefaultUnused, n.Pos(), "remove it", "%s: ignored, type %s has no default", p, t.Kind)
		return nil
	}
	v.Text = canonical(t.Kind, n)
	if bad := checkText(t, v.Text); bad != "" {
		r.found(ruleDefault, n.Pos(), "choose a default that the type allows", "%s: %s is not allowed by the type: %s", p, printable(n.Text), bad)
		return nil
	}
	if i, ok := integerOf(n); ok && t.Kind == task.Integer {
		r.narrow(i, n.Pos(), p)
	}
	return &v
}

// canonical is a default's text as a value of the kind has it.
func canonical(k task.Kind, n *contract.Node) string {
	switch k {
	case task.Boolean:
		return strings.ToLower(n.Text)
	case task.Integer:
		if v, ok := integerOf(n); ok {
			return v.String()
		}
	case task.Number:
		if s, ok := specialNumber(strings.Replace(n.Text, ".", "", 1)); ok { // YAML writes .nan and .inf
			return s
		}
		if v, ok := integerOf(n); ok && !json.Valid([]byte(n.Text)) {
			return v.String()
		}
		if s, ok := parseNumber(n.Text); ok {
			return s
		}
	}
	return n.Text
}

// dependencies reads the references between parameters, once all of them are known.
func (d *descriptor) dependencies(root *contract.Node, r *report) {
	for _, dir := range []task.Direction{task.Input, task.Output} {
		side := string(dir) + "s"
		n := root.Get(side)
		if !n.Is(contract.NodeObject) {
			continue
		}
		for _, m := range n.Members {
			deps := m.Value.Get("dependencies")
			if deps == nil || !keyForm.MatchString(m.Key) {
				continue
			}
			p := side + "." + m.Key + ".dependencies"
			if r.is(deps, p, "object") {
				d.references(root, dir, m.Key, deps, p, r)
			}
		}
	}
}

func (d *descriptor) references(root *contract.Node, dir task.Direction, name string, deps *contract.Node, p string, r *report) {
	known := []string{"matching"}
	if dir == task.Output {
		known = append(known, "derived_from")
		from := deps.Get("derived_from")
		switch {
		case from == nil:
			r.portable(deps.Pos(), p, "refuses dependencies of an output without derived_from", "name the input it comes from")
		case !inputRef.MatchString(from.Str()) || !declared(root, from.Text):
			r.dangling(from, p, root)
		}
	}
	r.unknown(deps, p, known...)
	matching := deps.Get("matching")
	if matching == nil {
		return
	}
	if !matching.Is(contract.NodeList) {
		r.dangling(matching, p, root)
		return
	}
	own := d.find(dir, name)
	for _, ref := range matching.Items {
		switch target := d.named(ref.Str()); {
		case !anyRef.MatchString(ref.Str()) || !declared(root, ref.Text):
			r.dangling(ref, p, root)
		case target != nil && target.Type.Kind != task.Array:
			r.found(ruleReference, ref.Pos(), "match arrays with arrays", "%s: %s is not an array", p, quote(ref.Text))
		case own != nil && own.Type.Kind != task.Array:
			r.found(ruleReference, ref.Pos(), "match arrays with arrays", "%s: %s is not an array", p, quote(string(dir)+"s/"+name))
		case own != nil:
			own.Type.Matching = append(own.Type.Matching, ref.Text)
		}
	}
}

func (r *report) dangling(n *contract.Node, p string, root *contract.Node) {
	mend := "write inputs/NAME or outputs/NAME of a parameter of this task"
	if known := references(root); contains(known, "inputs/"+n.Str()) {
		mend = "did you mean inputs/" + n.Str() + "?"
	} else if near := contract.Nearest(n.Str(), known); near != "" {
		mend = "did you mean " + near + "?"
	}
	r.found(ruleReference, n.Pos(), mend, "%s: %s is not an input/output of this task", p, quote(brief(n)))
}

// references lists the names that references can use.
func references(root *contract.Node) []string {
	var list []string
	for _, side := range []string{"inputs", "outputs"} {
		if n := root.Get(side); n.Is(contract.NodeObject) {
			for _, m := range n.Members {
				list = append(list, side+"/"+m.Key)
			}
		}
	}
	return list
}

// declared tells whether a reference names a parameter, also one whose type is wrong and reported as such.
func declared(root *contract.Node, ref string) bool {
	side, name, ok := strings.Cut(ref, "/")
	return ok && root.Get(side).Has(name)
}

// named returns the parameter that a reference names, or nil.
func (d *descriptor) named(ref string) *task.Parameter {
	side, name, _ := strings.Cut(ref, "/")
	return d.find(task.Direction(strings.TrimSuffix(side, "s")), name)
}

func (d *descriptor) find(dir task.Direction, name string) *task.Parameter {
	for i := range d.parameters {
		if p := &d.parameters[i]; p.Direction == dir && p.Name == name {
			return p
		}
	}
	return nil
}

// slug is a name in lower case with dashes between its words.
func slug(s string) string { return squeeze(strings.ToLower(s)) }

package cytomine

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// The type ids of a descriptor (App Engine schema task.v0.json).
func kinds() []task.Kind {
	return []task.Kind{
		task.Boolean, task.Integer, task.Number, task.String, task.Enumeration, task.Datetime, task.Geometry, task.FileKind,
		task.Image, task.Array,
	}
}

func kindNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, string(k))
	}
	return names
}

// kindWSI is the type that release 0.1.0 had for slides; today they are images in the format wsidicom.
const kindWSI = "wsi"

// Formats of images and files.
func imageFormats() []string { return []string{"dicom", "jpeg", "png", "tiff", "wsidicom"} }
func fileFormats() []string  { return []string{"binary", "text"} }

// maxChoice is the longest value of an enumeration, in characters.
const maxChoice = 256

var choiceForm = regexp.MustCompile(`^[^\r\n]+$`)

// typeReader reads one type of a descriptor.
type typeReader struct {
	*report
	node *contract.Node
	// path of the type, such as "inputs.a.type".
	path string
	t    task.Type
	x    extra
}

// typ reads a type in short form ("integer") or as an object with id. ok is false when its kind is not known.
func (r *report) typ(n *contract.Node, path string) (t task.Type, x *extra, ok bool) {
	id := n
	if n.Is(contract.NodeObject) {
		if id = r.need(n, path, "id"); id == nil {
			return t, nil, false
		}
	} else if !n.Is(contract.NodeString) {
		r.found(ruleType, n.Pos(), "write the id of a type, or an object with id", "%s: must be a string or an object, got %s", path, jsonType(n))
		return t, nil, false
	}
	if !r.is(id, join(path, "id"), "string") {
		return t, nil, false
	}
	kind := task.Kind(id.Text)
	switch {
	case kind == kindWSI && r.legacy:
		kind = task.Image
		r.portable(id.Pos(), path, "has no type wsi any more", "write {id: image, formats: [wsidicom]}")
	case kind == kindWSI:
		r.found(ruleWSI, id.Pos(), "replace it, or take the package as it is with --legacy", `%s: "wsi" was removed upstream; use {id: image, formats: [wsidicom]}`, path)
		return t, nil, false
	case !slices.Contains(kinds(), kind):
		mend := "choose one of them"
		if near := cmp.Or(string(typeFor(id.Text)), contract.Nearest(id.Text, kindNames())); near != "" {
			mend = "did you mean " + near + "?"
		}
		r.found(ruleTypeID, id.Pos(), mend, "%s: unknown type %s; known: %s", path, quote(id.Text), strings.Join(kindNames(), ", "))
		return t, nil, false
	case id == n && (kind == task.Enumeration || kind == task.Array):
		option := map[task.Kind]string{task.Enumeration: "values", task.Array: "subtype"}[kind]
		r.found(ruleShortForm, n.Pos(), fmt.Sprintf("write {id: %s, %s: …}", kind, option), "%s: %q has no short form, write an object with id and %s", path, kind, option)
		return t, nil, false
	}
	tr := &typeReader{report: r, node: n, path: path, t: task.Type{Kind: kind}}
	if id != n {
		ok = tr.options()
	} else {
		ok = true
	}
	if id.Text == kindWSI && len(tr.t.Formats) == 0 {
		tr.t.Formats = []string{"wsidicom"}
	}
	if kind == task.Image && len(tr.t.Formats) == 0 {
		tr.t.Formats, tr.x.AnyFormat = imageFormats(), true
	}
	if tr.x != (extra{}) {
		x = &tr.x
	}
	return tr.t, x, ok
}

// options reads what the object form adds.
func (r *typeReader) options() bool {
	ok := true
	switch r.t.Kind {
	case task.Integer, task.Number:
		r.bounds()
	case task.String:
		r.t.MinLength, r.t.MaxLength = r.sizes("min_length", "max_length", "length")
		r.unknown(r.node, r.path, "id", "min_length", "max_length")
	case task.Enumeration:
		ok = r.choices()
	case task.Datetime:
		r.times()
	case task.FileKind:
		r.t.MaxBytes = r.maxFileSize()
		r.formats(fileFormats())
		if n := r.node.Get("formats"); n != nil {
			r.differs(n.Pos(), join(r.path, "formats"), "does not look at the content of files", "let the task itself look, too")
		}
		r.unknown(r.node, r.path, "id", "max_file_size", "formats")
	case task.Image:
		r.image()
	case task.Array:
		ok = r.array()
	default:
		r.unknown(r.node, r.path, "id")
	}
	return ok
}

// bound is one limit of a range with the text it was written as.
type bound struct {
	name   string
	value  *big.Rat
	strict bool
}

func (b bound) String() string { return b.name + ": " + ratText(b.value) }

func ratText(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	s, exact := r.FloatPrec()
	if !exact {
		return r.RatString()
	}
	return r.FloatString(s)
}

func (r *typeReader) bounds() {
	known := []string{"id", "gt", "geq", "lt", "leq"}
	if r.t.Kind == task.Number {
		known = append(known, "infinity_allowed", "nan_allowed")
		r.t.AllowInfinity = r.flag(r.node, r.path, "infinity_allowed")
		r.t.AllowNaN = r.flag(r.node, r.path, "nan_allowed")
	}
	var low, high []bound
	read := func(name string, strict bool, side *[]bound, into *task.Decimal) {
		n := r.node.Get(name)
		if n == nil || !r.is(n, join(r.path, name), string(r.t.Kind)) {
			return
		}
		v, ok := ratOf(n)
		if !ok {
			r.form(n, join(r.path, name), "a finite number of at most 100 digits", "write a smaller number")
			return
		}
		*side = append(*side, bound{name, v, strict})
		*into = task.Decimal(ratText(v))
		if r.t.Kind == task.Integer {
			r.narrow(v.Num(), n.Pos(), join(r.path, name))
		}
	}
	read("gt", true, &low, &r.t.GT)
	read("geq", false, &low, &r.t.GE)
	read("lt", true, &high, &r.t.LT)
	read("leq", false, &high, &r.t.LE)
	for _, pair := range [][]bound{low, high} {
		if len(pair) == 2 {
			r.found(ruleBothBounds, r.node.Pos(), "keep one of them", "%s: %s and %s are documented as exclusive; both will be applied", r.path, pair[0].name, pair[1].name)
		}
	}
	if a, b, empty := emptyRange(low, high, r.t.Kind == task.Integer); empty {
		r.noValue(a.String(), b.String())
	}
	r.unknown(r.node, r.path, known...)
}

// narrow warns of an integer that is no int32, which is what today's App Engine reads and keeps.
func (r *report) narrow(v *big.Int, at contract.At, path string) {
	if !v.IsInt64() || v.Int64() < math.MinInt32 || v.Int64() > math.MaxInt32 {
		r.portable(at, path, "takes integers of 32 bits only", "stay between -2147483648 and 2147483647")
	}
}

// ratOf returns the exact value of a number, as long as it is cheap to have.
func ratOf(n *contract.Node) (*big.Rat, bool) {
	if v, ok := integerOf(n); ok && v.BitLen() < 2048 {
		return new(big.Rat).SetInt(v), true
	}
	v, ok := n.Rat()
	if !ok || v.Num().BitLen() > 2048 || v.Denom().BitLen() > 2048 {
		return nil, false
	}
	return v, true
}

func (r *typeReader) noValue(a, b string) {
	r.found(ruleEmptyRange, r.node.Pos(), "change one of them", "%s: no value can satisfy %s and %s", r.path, a, b)
}

// emptyRange finds a lower and an upper bound that leave no value between them.
func emptyRange(low, high []bound, whole bool) (a, b bound, empty bool) {
	one := big.NewRat(1, 1)
	for _, a := range low {
		for _, b := range high {
			from, to := a.value, b.value
			strict := a.strict || b.strict
			if whole {
				if from, to = roundUp(from), roundDown(to); a.strict && from.Cmp(a.value) == 0 {
					from = new(big.Rat).Add(from, one)
				}
				if b.strict && to.Cmp(b.value) == 0 {
					to = new(big.Rat).Sub(to, one)
				}
				strict = false
			}
			if c := from.Cmp(to); c > 0 || c == 0 && strict {
				return a, b, true
			}
		}
	}
	return a, b, false
}

func roundDown(r *big.Rat) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Div(r.Num(), r.Denom())) // Div rounds down, as denominators are positive
}

func roundUp(r *big.Rat) *big.Rat {
	return new(big.Rat).Neg(roundDown(new(big.Rat).Neg(r)))
}

// sizes reads a pair of inclusive limits that count something.
func (r *typeReader) sizes(lowName, highName, of string) (low, high *int) {
	low, high = r.count(lowName), r.count(highName)
	switch {
	case low != nil && *low < 0:
		r.noValue(r.written(lowName), "a "+of+" that is never negative")
	case high != nil && *high < 0:
		r.noValue(r.written(highName), "a "+of+" that is never negative")
	case low != nil && high != nil && *low > *high:
		r.noValue(r.written(lowName), r.written(highName))
	}
	return low, high
}

// written is an option as it stands in the descriptor, for messages.
func (r *typeReader) written(name string) string {
	return name + ": " + printable(r.node.Get(name).Text)
}

// count reads an optional integer, saturating.
func (r *typeReader) count(name string) *int {
	n := r.node.Get(name)
	if n == nil || !r.is(n, join(r.path, name), "integer") {
		return nil
	}
	v := saturated(n)
	return &v
}

// saturated returns an integer node's value within ±2^31.
func saturated(n *contract.Node) int {
	v, ok := integerOf(n)
	switch {
	case !ok:
		return 0
	case v.IsInt64():
		return int(min(max(v.Int64(), math.MinInt32), math.MaxInt32))
	case v.Sign() < 0:
		return math.MinInt32
	}
	return math.MaxInt32
}

func (r *typeReader) choices() bool {
	r.unknown(r.node, r.path, "id", "values")
	n := r.need(r.node, r.path, "values")
	path := join(r.path, "values")
	if n == nil || !r.is(n, path, "array") {
		return false
	}
	if len(n.Items) == 0 {
		r.form(n, path, "a list of at least one value", "list the values")
		return false
	}
	ok := true
	for i, it := range n.Items {
		if !r.choice(it, fmt.Sprintf("%s[%d]", path, i)) {
			ok = false
			continue
		}
		if slices.Contains(r.t.Choices, it.Text) {
			r.found(ruleChoiceTwice, it.Pos(), "remove one of them", "%s: %s twice", path, quote(it.Text))
			continue
		}
		r.t.Choices = append(r.t.Choices, it.Text)
	}
	return ok
}

// choice tests one value of an enumeration, or a default of one.
func (r *report) choice(n *contract.Node, path string) bool {
	s, ok := r.text(n, path)
	if !ok {
		return false
	}
	if c := utf8.RuneCountInString(s); c > maxChoice || !choiceForm.MatchString(s) {
		r.form(n, path, "1 to 256 characters without a line end", "shorten it to one line")
		return false
	}
	return true
}

func (r *typeReader) times() {
	r.unknown(r.node, r.path, "id", "before", "after")
	for _, name := range []string{"before", "after"} {
		n := r.node.Get(name)
		s, ok := "", false
		if n != nil {
			s, ok = r.text(n, join(r.path, name))
		}
		if !ok {
			continue
		}
		at, ok := isDateTime(s)
		if !ok {
			r.form(n, join(r.path, name), "a date and time with zone, such as 2024-02-23T18:00:00Z", "write date, time and zone")
			continue
		}
		r.portable(n.Pos(), join(r.path, name), "fails to install tasks with bounds of a datetime", "leave the bound out for today's App Engine")
		if name == "before" {
			r.t.Before = &at
		} else {
			r.t.After = &at
		}
	}
	if r.t.Before != nil && r.t.After != nil && r.t.After.After(*r.t.Before) {
		r.noValue("after: "+r.node.Get("after").Text, "before: "+r.node.Get("before").Text)
	}
}

// maxFileSize reads a limit in bytes, or nil.
func (r *typeReader) maxFileSize() *task.Bytes {
	n := r.node.Get("max_file_size")
	if n == nil {
		return nil
	}
	v, ok := r.memory(n, join(r.path, "max_file_size"), true)
	if !ok {
		return nil
	}
	switch {
	case r.t.Kind == task.FileKind:
		r.differs(n.Pos(), join(r.path, "max_file_size"), "does not look at the size of files", "let the task itself look, too")
	case !sizeSuffix.MatchString(n.Text):
		r.portable(n.Pos(), join(r.path, "max_file_size"), "refuses every image under a size without a unit", "write "+n.Text+"B")
	}
	return &v
}

// memory reads an amount; bits are for sizes of files only.
func (r *report) memory(n *contract.Node, path string, bitsAllowed bool) (task.Bytes, bool) {
	const mend = "write a number and a prefix (k M G … Ki Mi Gi …), such as 512Mi"
	if n.Is(contract.NodeNumber) {
		r.found(ruleType, n.Pos(), mend, "%s: must be a string, got %s", path, jsonType(n))
		return 0, false
	}
	s, ok := r.text(n, path)
	if !ok {
		return 0, false
	}
	if !memoryPrefix.MatchString(s) {
		r.form(n, path, "a number with a unit prefix, such as 512Mi or 2GiB", mend)
		return 0, false
	}
	v, bits, ok := parseMemory(s)
	if !ok || bits && !bitsAllowed {
		r.found(ruleMemory, n.Pos(), "leave out what follows the unit", "%s: %s is not a memory amount; write e.g. 512Mi or 2GiB", path, quote(s))
		return 0, false
	}
	return v, true
}

func (r *typeReader) formats(known []string) {
	path := join(r.path, "formats")
	n := r.node.Get("formats")
	if n == nil || !r.is(n, path, "array") {
		return
	}
	if len(n.Items) == 0 {
		r.form(n, path, "a list of at least one format", "list formats, or leave it out for all of them")
	}
	for i, it := range n.Items {
		at := fmt.Sprintf("%s[%d]", path, i)
		s, ok := r.text(it, at)
		switch {
		case !ok:
		case !slices.Contains(known, s):
			mend := "choose one of them"
			if near := contract.Nearest(s, known); near != "" {
				mend = "did you mean " + near + "?"
			}
			r.form(it, at, "one of "+strings.Join(known, ", "), mend)
		case !slices.Contains(r.t.Formats, s):
			r.t.Formats = append(r.t.Formats, s)
		}
	}
}

func (r *typeReader) image() {
	r.formats(imageFormats())
	// The limit counts for each file of a slide, so the value as a whole may be larger.
	if r.x.MaxBytes = r.maxFileSize(); len(r.t.Formats) > 0 && !slices.Contains(r.t.Formats, "wsidicom") {
		r.t.MaxBytes, r.x.MaxBytes = r.x.MaxBytes, nil
	}
	for name, into := range map[string]**int{"max_width": &r.t.MaxWidth, "max_height": &r.t.MaxHeight} {
		if *into = r.count(name); *into != nil && **into < 1 {
			r.noValue(r.written(name), "an image of at least one pixel")
		}
	}
	r.unknown(r.node, r.path, "id", "max_file_size", "max_width", "max_height", "formats")
}

func (r *typeReader) array() bool {
	r.t.MinItems, r.t.MaxItems = r.sizes("min_size", "max_size", "size")
	r.x.AllowMissing = r.flag(r.node, r.path, "allow_missing")
	if n := r.node.Get("allow_missing"); n != nil {
		r.portable(n.Pos(), join(r.path, "allow_missing"), "does not know the option", "write every item")
	}
	if r.t.MinItems == nil || r.t.MaxItems == nil {
		r.portable(r.node.Pos(), r.path, "checks the size of an array only when min_size and max_size are both given", "give both")
	}
	r.unknown(r.node, r.path, "id", "subtype", "min_size", "max_size", "allow_missing")
	n := r.need(r.node, r.path, "subtype")
	if n == nil {
		return false
	}
	t, x, ok := r.typ(n, join(r.path, "subtype"))
	r.t.Item, r.x.Item, r.t.Indexed = &t, x, true
	return ok
}

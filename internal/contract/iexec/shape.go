package iexec

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"longshore/internal/contract"
)

// shape is what a field's value must be. A null is like an absent field.
type shape struct {
	kinds []contract.NodeKind
	// words say what to write.
	words string
	// amount tells that a number is of money or a count.
	amount bool
}

// A field's shapes.
func textShape() shape   { return shape{[]contract.NodeKind{contract.NodeString}, "a string", false} }
func objectShape() shape { return shape{[]contract.NodeKind{contract.NodeObject}, "an object", false} }
func listShape() shape   { return shape{[]contract.NodeKind{contract.NodeList}, "a list", false} }
func numberShape() shape {
	return shape{[]contract.NodeKind{contract.NodeNumber, contract.NodeString}, "a whole number", true}
}

// shapes are the fields of manifests of every generation by their path (iExec reference, sections 2.2 to 2.4); "*" stands for
// each item of a list. Fields that have a rule of their own (type, params, tag, trust, mrenclave) are left to it, and so are
// fields that nobody knows.
func shapes() map[string]shape {
	text, object, list, number := textShape(), objectShape(), listShape(), numberShape()
	all := map[string]shape{
		"categories": list, "categories.*": text, "dapps": list, "dapps.*": object, "dapps.*.name": text, "dapps.*.addresses": object, "dapps.*.buyConf": object,
		"app.price": number, "dataset.price": number, "order.buy.params": object, "category.workClockTimeRef": number,
		"workerPool.subscriptionLockStakePolicy": number, "workerPool.subscriptionMinimumStakePolicy": number, "workerPool.subscriptionMinimumScorePolicy": number,
		"order.sell.category": number, "order.sell.value": number, "order.sell.volume": number,
		"order.requestorder.category": {number.kinds, number.words, false}, // has a rule of its own
	}
	for path, names := range map[string]string{
		"":                      "name description license author logo repo type",
		"social":                "website github",
		"app":                   "name owner multiaddr checksum envvars",
		"data":                  "name envvars",
		"work":                  "cmdline dirinuri envvars",
		"app.params":            "envvars neededpackages",
		"dataset":               "owner name multiaddr checksum",
		"workerpool":            "owner description",
		"workerPool":            "description owner",
		"category":              "name description",
		"buyConf":               "callback app dataset workerpool beneficiary",
		"order":                 "",
		"order.buy":             "app dataset",
		"order.buy.params":      "cmdline dirinuri envvars",
		"order.sell":            "workerPool",
		"order.apporder":        "app datasetrestrict workerpoolrestrict requesterrestrict salt sign",
		"order.datasetorder":    "dataset apprestrict workerpoolrestrict requesterrestrict salt sign",
		"order.workerpoolorder": "workerpool apprestrict datasetrestrict requesterrestrict salt sign",
		"order.requestorder":    "app dataset workerpool requester beneficiary callback salt sign",
	} {
		if path != "" {
			all[path] = object
		}
		for _, name := range strings.Fields(names) {
			all[strings.TrimPrefix(path+"."+name, ".")] = text
		}
	}
	for _, price := range []string{"apporder.appprice", "apporder.volume", "datasetorder.datasetprice", "datasetorder.volume",
		"workerpoolorder.workerpoolprice", "workerpoolorder.volume", "workerpoolorder.category",
		"requestorder.appmaxprice", "requestorder.datasetmaxprice", "requestorder.workerpoolmaxprice", "requestorder.volume"} {
		all["order."+price] = number
	}
	return all
}

// amount is an amount of money or another count as manifests write it: an integer, for money perhaps with a unit; RLC have
// nine decimals.
var amount = regexp.MustCompile(`^\s*([0-9]+(\.0*)?\s*(nRLC|wei)?|[0-9]+(\.[0-9]{1,9})?\s*(RLC|kwei|mwei|gwei|szabo|finney|ether|eth))\s*$`)

// shape reports every known field whose value is of the wrong kind.
func (l *loader) shape() {
	l.shapeOf("", l.root, shapes())
}

func (l *loader) shapeOf(path string, n *contract.Node, all map[string]shape) {
	switch want, known := all[path]; {
	case n.IsNull(), !known && path != "":
		return
	case known && !slices.Contains(want.kinds, n.Kind):
		l.wrongKind(n, path, want.words)
		return
	case want.amount && !amount.MatchString(n.Text):
		l.add(ruleAmount, n.Pos(), "write an integer from 0, in nRLC where it is money", "%s: %s is not a valid amount", path, written(n))
		return
	}
	for i := range n.Members {
		m := &n.Members[i]
		l.shapeOf(strings.TrimPrefix(path+"."+m.Key, "."), m.Value, all)
	}
	for _, it := range n.Items {
		l.shapeOf(path+".*", it, all)
	}
}

// written is a value as a message shows it: blank texts are seen.
func written(n *contract.Node) string {
	if strings.TrimSpace(n.Text) == "" {
		return strconv.Quote(n.Text)
	}
	return shorten(n.Text)
}

// wrongKind reports a value of the wrong kind, once.
func (l *loader) wrongKind(n *contract.Node, path, want string) {
	if l.wrong[n] {
		return
	}
	l.wrong[n] = true
	mend := "write " + want
	if want == "a string" && (n.Kind == contract.NodeNumber || n.Kind == contract.NodeBool) {
		mend = "put it in quotes"
	}
	is := "a " + string(n.Kind)
	if n.Kind == contract.NodeObject {
		is = "an object"
	}
	l.add(ruleFieldType, n.Pos(), mend, "%s is %s, must be %s", path, is, want)
}

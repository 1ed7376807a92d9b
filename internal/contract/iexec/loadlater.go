package iexec

import (
	"fmt"
	"maps"
	"math/big"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// describeLater reads a manifest of v3 and later.
func (l *loader) describeLater(top block) {
	app := top.block("app")
	app.known("owner", "name", "type", "multiaddr", "checksum", "mrenclave")
	l.task.Name = app.text("name")
	if n := app.node.Get("type"); !n.IsNull() && n.Str() != "DOCKER" {
		l.add(ruleType, n.Pos(), `set it to "DOCKER"`, "%q is not a valid type", shorten(n.Text))
	}
	if image := app.text("multiaddr"); image != "" {
		l.image(app.node.Get("multiaddr").Pos(), image)
	} else if n := app.node.Get("multiaddr"); n == nil || n.Is(contract.NodeString) || n.IsNull() {
		l.add(ruleImageForm, app.node.Pos(), `write "multiaddr": "org/image:tag"`, `app.multiaddr is missing: "" is not an image reference`)
	}
	l.plan.Checksum = l.checksum(app, "the image is not pinned", "write 0x and the sha256 digest that `docker pull` shows")
	l.plan.ChecksumAt = app.node.Get("checksum").Pos()
	l.enclave(app)

	conf := top.block("buyConf")
	conf.known("params", "tag", "trust", "callback", "app", "dataset", "workerpool", "category", "beneficiary")
	order := top.block("order")
	order.known("apporder", "datasetorder", "workerpoolorder", "requestorder")
	requested, offered := order.block("requestorder"), order.block("apporder")
	requested.known("app", "appmaxprice", "dataset", "datasetmaxprice", "workerpool", "workerpoolmaxprice", "requester", "volume", "tag",
		"category", "trust", "beneficiary", "callback", "params", "salt", "sign")
	offered.known("app", "appprice", "volume", "tag", "datasetrestrict", "workerpoolrestrict", "requesterrestrict", "salt", "sign")
	tee := l.tags(conf, requested, offered)
	l.othersOrders(order)
	p := l.params(conf, requested, tee)
	l.plan.Enclave = tee
	l.trust(tee, conf, requested)
	l.addresses(conf, requested)
	l.plan.Callback = l.hasAddress("callback", conf, requested)
	l.category(requested)
	l.task.Parameters = append(l.task.Parameters, l.laterArgs(p))
	l.task.Parameters = append(l.task.Parameters, l.laterInputs(p)...)
	l.task.Parameters = append(l.task.Parameters, l.laterDataset(top, l.hasAddress("dataset", conf, requested)))
	l.task.Parameters = append(l.task.Parameters, botParameters()...)
	l.task.Parameters = append(l.task.Parameters, l.secrets(p, tee)...)
	l.outputs(folderOut, "Everything in /iexec_out.", digestLater, "consensus")
}

// othersOrders checks what others than the app's owner and its requester offer.
func (l *loader) othersOrders(order block) {
	data, pool := order.block("datasetorder"), order.block("workerpoolorder")
	data.known("dataset", "datasetprice", "volume", "tag", "apprestrict", "workerpoolrestrict", "requesterrestrict", "salt", "sign")
	pool.known("workerpool", "workerpoolprice", "volume", "tag", "category", "trust", "apprestrict", "datasetrestrict", "requesterrestrict", "salt", "sign")
	for _, b := range []block{data, pool} {
		if n := b.node.Get("tag"); !n.IsNull() {
			l.tag(b, n)
		}
	}
}

var address = regexp.MustCompile(`^0x[0-9a-fA-F]{40}$`)

// addresses looks at those that change a run. Names of the Ethereum name service stand for addresses.
func (l *loader) addresses(blocks ...block) {
	for _, b := range blocks {
		for _, key := range []string{"callback", "dataset"} {
			if a := b.text(key); !isZeroAddress(a) && !address.MatchString(a) && !strings.Contains(a, ".") {
				l.add(ruleAddress, b.node.Get(key).Pos(), "write 0x and 40 hexadecimal digits, or leave it out", "%s %s is not a valid ethereum address", b.name(key), shorten(a))
			}
		}
	}
}

// hasAddress tells whether one of the blocks names something under key.
func (l *loader) hasAddress(key string, blocks ...block) bool {
	for _, b := range blocks {
		if a := b.text(key); a != "" && !isZeroAddress(a) {
			return true
		}
	}
	return false
}

var bytes32 = regexp.MustCompile(`^0x[0-9a-f]{64}$`)

// checksum reads a block's checksum; "" means not pinned.
func (l *loader) checksum(b block, unpinned, mend string) string {
	text, at := b.text("checksum"), b.node.Get("checksum").Pos()
	switch {
	case text == "":
		return ""
	case !bytes32.MatchString(text):
		l.add(ruleChecksumForm, at, "write 0x and 64 lower-case hexadecimal digits", "%q is not a bytes32 hexstring", shorten(text))
		return ""
	case isZeroAddress(text):
		l.add(ruleChecksumZero, at, mend, "checksum is zero: %s", unpinned)
		return ""
	}
	return text
}

// enclave checks mrenclave in its five shapes: absent, empty, the text of v3 and v4, JSON as text, and an object.
func (l *loader) enclave(app block) {
	n := app.node.Get("mrenclave")
	if n.IsNull() || n.Is(contract.NodeString) && n.Text == "" {
		return
	}
	at, object := n.Pos(), n
	switch text := strings.TrimSpace(n.Text); {
	case n.Kind == contract.NodeObject:
	case n.Kind != contract.NodeString:
		l.add(ruleFieldType, at, "write an object", "app.mrenclave is a %s, must be an object", n.Kind)
		return
	case strings.HasPrefix(text, "{"):
		var err error
		if object, err = contract.ParseJSON([]byte(text)); err != nil {
			l.add(ruleEnclaveForm, at, "", "app.mrenclave is not valid JSON: %v", err)
			return
		}
	default:
		if parts := strings.Count(text, "|") + 1; parts != 4 {
			l.add(ruleEnclaveForm, at, "write key|tag|mrenclave|entrypoint, or an object with framework, version, entrypoint, heapSize and fingerprint",
				"app.mrenclave has %d parts separated by |, not 4", parts)
		}
		return
	}
	l.enclaveConfig(at, object)
}

// enclaveConfig checks the form of v5 and later. at is the place of all of it, for when it is a text.
func (l *loader) enclaveConfig(at contract.At, n *contract.Node) {
	wrong := func(key, mend, what string, args ...any) {
		place := at
		if member := l.root.Get("app").Get("mrenclave").Get(key); member != nil {
			place = member.Pos()
		}
		l.add(ruleEnclaveForm, place, mend, what, args...)
	}
	key := "framework"
	if !n.Has(key) {
		key = "provider"
	}
	name := strings.ToUpper(n.Get(key).Str())
	switch name {
	case "SCONE", "GRAMINE", "TDX":
	default:
		wrong(key, "write SCONE, GRAMINE or TDX", "app.mrenclave.framework is %q", shorten(name))
	}
	if name != "GRAMINE" {
		if n.Get("entrypoint").Str() == "" {
			wrong("entrypoint", "name the program to start", "Empty entrypoint")
		}
		size := n.Get("heapSize")
		text := "0"
		if !size.IsNull() {
			text = size.Text
		}
		if bytes, ok := integer(size); !ok || bytes.Sign() <= 0 {
			wrong("heapSize", "write the number of bytes", "Empty or negative heap size: %s", shorten(text))
		}
	}
	if v := n.Get("version"); !v.IsNull() && !v.Is(contract.NodeString) {
		wrong("version", "put it in quotes", "app.mrenclave.version is a %s, must be a string", v.Kind)
	}
	if f := n.Get("fingerprint").Str(); !fingerprint.MatchString(f) {
		wrong("fingerprint", "write 64 hexadecimal digits", "Fingerprint size is not 32: %s", shorten(f))
	}
}

var fingerprint = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// The tag's bits (iExec reference, section 2.7).
const (
	bitTEE     = 0
	bitGPU     = 8
	bitGPUAlso = 16 // used by a published manifest
)

var tagBits = map[string]int{"tee": bitTEE, "scone": 1, "gramine": 2, "tdx": 3, "gpu": bitGPU}

// tags reads the tags of the request and of the app's order, and tells whether they ask for an enclave.
func (l *loader) tags(conf, requested, offered block) (tee bool) {
	all := new(big.Int)
	var at contract.At
	for _, b := range []block{conf, requested, offered} {
		n := b.node.Get("tag")
		if n.IsNull() {
			continue
		}
		bits := l.tag(b, n)
		if bits.Bit(bitTEE) == 1 && bits.Bit(1)+bits.Bit(2)+bits.Bit(3) == 0 && b.path == offered.path {
			l.add(ruleTag, n.Pos(), "add the framework", "'tee' tag must be used with a tee framework ('tdx')")
		}
		if bits.Sign() > 0 {
			all.Or(all, bits)
			at = n.Pos()
		}
	}
	if all.Bit(bitGPUAlso) == 1 {
		l.add(ruleTagGPU, at, "use bit 8", "bit 16 of the tag is taken for a GPU; the iExec SDK uses bit 8")
	}
	if all.Bit(bitGPU)+all.Bit(bitGPUAlso) > 0 {
		l.task.Resources.GPUs = 1
	}
	nibble := new(big.Int).And(all, big.NewInt(15)).Int64()
	if all.Bit(bitTEE) == 0 {
		return false
	}
	framework := map[int64]string{3: "SCONE", 5: "GRAMINE", 9: "TDX"}[nibble]
	if framework == "" {
		framework = "TEE"
	}
	if l.standard {
		l.note("run without its %s enclave, as asked for: nothing is attested, encrypted or signed", framework)
		return true
	}
	l.add(ruleEnclave, at, `ask for the variant "standard" (--template standard) to run it without its enclave`,
		"this app needs a %s enclave; Longshore can check signatures but cannot run enclaves", framework)
	return true
}

var tagHex = regexp.MustCompile(`^0x[0-9a-fA-F]{64}$`)

// tag reads one tag: 32 bytes in hexadecimal, a list of names, or names separated by commas.
func (l *loader) tag(b block, n *contract.Node) *big.Int {
	bits := new(big.Int)
	if n.Is(contract.NodeString) && tagHex.MatchString(n.Text) {
		bits.SetString(n.Text[2:], 16)
		l.unknownBits(n, bits)
	} else {
		for _, name := range l.tagNames(b, n) {
			if bit, ok := tagBits[name.Text]; ok {
				bits.SetBit(bits, bit, 1)
			} else {
				l.add(ruleTag, name.Pos(), "the tags are tee, scone, gramine, tdx and gpu", "Unknown tag %s", shorten(name.Text))
			}
		}
	}
	for _, name := range []string{"scone", "gramine"} {
		if bits.Bit(tagBits[name]) == 1 && b.path != "order.datasetorder" {
			l.add(ruleTagLegacy, n.Pos(), "build the app for tdx", "Unsupported legacy TEE framework tag ('%s')", name).Why = "the iExec SDK of today refuses it"
		}
	}
	frameworks := bits.Bit(1) + bits.Bit(2) + bits.Bit(3)
	if frameworks > 1 {
		l.add(ruleTag, n.Pos(), "keep one", "tee framework tags are exclusive (scone, gramine, tdx)")
	}
	if frameworks > 0 && bits.Bit(bitTEE) == 0 {
		for name, bit := range tagBits {
			if bit >= 1 && bit <= 3 && bits.Bit(bit) == 1 && frameworks == 1 {
				l.add(ruleTag, n.Pos(), "add tee", "'%s' tag must be used with 'tee' tag", name)
			}
		}
	}
	return bits
}

// unknownBits warns of the bits of a tag that mean nothing here, in one finding.
func (l *loader) unknownBits(n *contract.Node, bits *big.Int) {
	var unknown []string
	for i := range bits.BitLen() {
		if bits.Bit(i) == 1 && i > 3 && i != bitGPU && i != bitGPUAlso {
			unknown = append(unknown, strconv.Itoa(i))
		}
	}
	switch len(unknown) {
	case 0:
	case 1:
		l.add(ruleTagBits, n.Pos(), "clear it", "Unknown bit %s in tag", unknown[0])
	default:
		l.add(ruleTagBits, n.Pos(), "clear them", "Unknown bit %s in tag, and %d more: %s", unknown[0], len(unknown)-1, shorten(strings.Join(unknown[1:], ", ")))
	}
}

// tagNames are the names of a tag with their places.
func (l *loader) tagNames(b block, n *contract.Node) []contract.Node {
	var names []contract.Node
	add := func(text string, at *contract.Node) {
		names = append(names, contract.Node{Text: strings.TrimSpace(text), Line: at.Line, Column: at.Column})
	}
	switch n.Kind {
	case contract.NodeList:
		for _, it := range n.Items {
			add(it.Text, it)
		}
	case contract.NodeString:
		for _, name := range strings.Split(n.Text, ",") {
			if strings.TrimSpace(name) != "" {
				add(name, n)
			}
		}
	default:
		l.add(ruleFieldType, n.Pos(), "write a list of names", "%s is a %s, must be a string or a list", b.name("tag"), n.Kind)
	}
	return names
}

// params reads the default request's parameters: buyConf's, else the order template's.
func (l *loader) params(conf, requested block, tee bool) params {
	b := conf
	if conf.node.Get("params").IsNull() {
		b = requested
	}
	n := b.node.Get("params")
	if n.IsNull() {
		return params{}
	}
	var p params
	var why string
	switch n.Kind {
	case contract.NodeString:
		p, why = l.parseParams(n.Text)
	case contract.NodeObject:
		if p, why = l.paramsOf(n, true); why != "" {
			p = params{Args: string(n.JSON())}
		}
	default:
		l.add(ruleFieldType, n.Pos(), "write an object", "%s is a %s, must be an object or a string", b.name("params"), n.Kind)
		return params{}
	}
	if why != "" {
		l.add(ruleParams, n.Pos(), `write {"iexec_args": "…"} with known keys only: `+strings.Join(paramKeys, ", "),
			"%s as a whole is taken for arguments, as workers do: %s", b.name("params"), why)
	} else if n.Is(contract.NodeString) && p.Args == n.Text && p.Args != "" && l.plan.Generation == generationV5 {
		l.add(ruleStorage, n.Pos(), `write {"iexec_args": "…", "iexec_result_storage_provider": "ipfs"}`, "params as plain text names no storage: workers of v9 upload the result and then report RESULT_LINK_MISSING")
	}
	p.written = n
	l.checkParams(p, tee)
	return p
}

// checkParams holds the rules of the CLI for the values.
func (l *loader) checkParams(p params, tee bool) {
	const provider, secrets = "iexec_result_storage_provider", "iexec_secrets"
	if p.Dropped {
		l.add(ruleParams, p.at(droppedParam), "remove it", "%s is dropped here; today's workers would take all of params for arguments", droppedParam)
	}
	if p.BulkCID != "" {
		l.plan.Bulk = true
		l.add(ruleBulk, p.at("bulk_cid"), "give one dataset with -i dataset=@FILE", "bulk_cid is fetched in enclaves only: the app finds IEXEC_BULK_SLICE_SIZE=0 here, as for a bulk that cannot be read")
	}
	if p.Provider == "dropbox" && tee {
		l.note("Dropbox is not offered here: the result stays on this machine")
	}
	if p.Encryption && !tee {
		l.add(ruleEncryption, p.at("iexec_result_encryption"), "remove iexec_result_encryption", "result encryption needs a TEE task (TASK_DESCRIPTION_INVALID)")
	}
	switch {
	case p.Provider == "" || p.Provider == "ipfs":
	case p.Provider != "dropbox":
		l.add(ruleParamValue, p.at(provider), "write ipfs", "%q is not a valid storage provider, use one of the supported providers (dropbox, ipfs)", shorten(p.Provider))
	case !tee:
		l.add(ruleParamValue, p.at(provider), "write ipfs", "iexec_result_storage_provider %q is not supported for non TEE tasks use supported storage provider ipfs", p.Provider)
	}
	if len(p.Secrets) > 0 && !tee {
		l.add(ruleParamValue, p.at(secrets), "remove it, and give values with -e", "iexec_secrets is not supported for non TEE tasks")
	}
	if names := p.written.Get(secrets); names.Is(contract.NodeObject) && len(p.Secrets) > 0 {
		for _, m := range names.Members {
			if !m.Value.Is(contract.NodeString) {
				l.add(ruleParamValue, m.Value.Pos(), "put it in quotes", "iexec_secrets mapping names must be strings")
			}
		}
	}
	for key := range p.Secrets {
		if n, err := strconv.ParseUint(key, 10, 32); err != nil || n == 0 {
			l.add(ruleParamValue, p.at(secrets), "number the secrets from 1", "iexec_secrets mapping keys must be strictly positive integers")
			break
		}
	}
}

var digits = regexp.MustCompile(`^[+-]?[0-9]+$`)

// integer is a number, or a text of digits as workers take it for one.
func integer(n *contract.Node) (*big.Int, bool) {
	if n.Is(contract.NodeNumber) || n.Is(contract.NodeString) && digits.MatchString(n.Text) {
		return task.ParseInteger(n.Text)
	}
	return nil, false
}

// trust checks the wanted confidence, a number or a string.
func (l *loader) trust(tee bool, blocks ...block) {
	for _, b := range blocks {
		n := b.node.Get("trust")
		if n.IsNull() {
			continue
		}
		v, ok := integer(n)
		if !ok || v.Sign() < 0 {
			l.add(ruleTrust, n.Pos(), "write 0 or more", "%s %q is not a number from 0", b.name("trust"), shorten(n.Text))
			continue
		}
		if tee && v.Cmp(big.NewInt(1)) > 0 {
			l.add(ruleEnclaveTrust, n.Pos(), "set it to 1", "TEE tasks accept trust 0 or 1 only")
		}
	}
}

// categories are the maximum durations from v3 on, in seconds.
var categories = [...]struct {
	name    string
	seconds int64
}{{"XS", 300}, {"S", 1200}, {"M", 3600}, {"L", 10800}, {"XL", 36000}}

func (l *loader) category(requested block) {
	n := requested.node.Get("category")
	if n.IsNull() || l.wrong[n] {
		return
	}
	i, err := strconv.Atoi(n.Text)
	if err != nil || i < 0 || i >= len(categories) {
		l.add(ruleCategory, n.Pos(), "write 0 to 4", "category %s is not known: no time limit is taken from it", written(n))
		return
	}
	l.plan.Seconds = categories[i].seconds
	l.note("time limit: %d s, by category %d (%s) of the request", l.plan.Seconds, i, categories[i].name)
}

func (l *loader) laterArgs(given params) task.Parameter {
	p := task.Parameter{Name: paramArgs, Aliases: []string{"iexec_args", "cmdline"}, Direction: task.Input, Optional: true, Title: "arguments",
		Description: "Split on spaces; single and double quotes group. Words after -- replace it and are not split.",
		Type:        task.Type{Kind: task.String}, Place: task.Place{Kind: task.PlaceArgs}}
	if given.Args != "" {
		p.Default = &task.Value{Text: given.Args}
	}
	if _, ok := splitArgs(given.Args); !ok {
		l.add(ruleUnbalanced, given.at("iexec_args"), "close the quote", "unbalanced quotes in %s", shorten(given.Args)).Why = "upstream silently runs with no arguments"
	}
	return p
}

// maxPlaces is how many default input files a description lists.
const maxPlaces = 20

// laterInputs describes the input files: the list, and its first item by the short name.
func (l *loader) laterInputs(given params) []task.Parameter {
	names := map[string]string{}
	var places []string
	for i, u := range given.InputFiles {
		pos := given.at("iexec_input_files")
		if list := given.written.Get("iexec_input_files"); list.Is(contract.NodeList) {
			pos = list.Items[i].Pos()
		}
		in, ok := laterURL(u)
		if !ok {
			l.add(ruleInputURL, pos, "give an http or https URL", "iexec_input_files[%d] %q is not a valid URL", i, shorten(u))
			continue
		}
		if other, ok := names[in.Name]; ok && in.Name != "" {
			l.add(ruleSameName, pos, "", "%s and %s have the same file name; they are stored as 0x<sha256 of url>", other, u)
		}
		names[in.Name] = u
		l.plan.Inputs = append(l.plan.Inputs, in)
		places = append(places, fmt.Sprintf("%s from %s", path.Join(folderIn, in.Name), in.URL))
	}
	file := task.Type{Kind: task.FileKind, URLs: true}
	list := task.Parameter{Name: paramInputs, Aliases: []string{"iexec_input_files"}, Direction: task.Input, Optional: true, Title: "input files",
		Description: "Files placed in /iexec_in; none is unpacked.", Type: task.Type{Kind: task.Array, Item: &file}, Place: task.Place{Kind: task.PlaceFolder, Path: folderIn}}
	first := task.Parameter{Name: paramInput, Aliases: []string{"input", "input_file", "input_files[0]"}, Direction: task.Input, Optional: true, Title: "input file",
		Description: "The first of the input files, in its place in /iexec_in.", Type: file, Place: task.Place{Kind: task.PlaceFolder, Path: folderIn}}
	if len(places) > 0 {
		list.Description += " By default: " + strings.Join(places[:min(len(places), maxPlaces)], ", ")
		if more := len(places) - maxPlaces; more > 0 {
			list.Description += fmt.Sprintf(", and %d more", more)
		}
		list.Description += "."
		first.Description += " It keeps the URL's file name."
	}
	if len(l.plan.Inputs) == 1 {
		l.beside(l.plan.Inputs[0])
	}
	return []task.Parameter{first, list}
}

const mendDatasetChecksum = "write 0x and what `sha256sum` shows for the file"

// laterDataset describes the dataset. It takes part when the request names one, or when a caller gives one.
func (l *loader) laterDataset(top block, named bool) task.Parameter {
	b := top.block("dataset")
	b.known("owner", "name", "multiaddr", "checksum", "price")
	l.plan.Dataset = dataset{Name: b.text("name"), URL: b.text("multiaddr"), Checksum: l.checksum(b, "the dataset is not pinned", mendDatasetChecksum)}
	if zero := b.text("checksum"); l.exact && zero != "" && isZeroAddress(zero) {
		l.plan.Dataset.Checksum = zero
	}
	if named {
		l.plan.Dataset.Address = l.root.Get("buyConf").Get("dataset").Str()
		if isZeroAddress(l.plan.Dataset.Address) {
			l.plan.Dataset.Address = l.root.Get("order").Get("requestorder").Get("dataset").Str()
		}
	}
	if _, ok := laterURL(l.plan.Dataset.URL); ok && named {
		l.plan.Dataset.Fetch = true
		if b.text("checksum") == "" {
			l.add(ruleChecksumZero, b.node.Pos(), mendDatasetChecksum, "dataset.checksum is missing: the dataset is not pinned, and workers run without it")
		}
		l.note("dataset: fetched from %s, unless one is given", l.plan.Dataset.URL)
	}
	p := task.Parameter{Name: paramDataset, Direction: task.Input, Optional: !named || l.plan.Dataset.Fetch, Title: "dataset",
		Description: "The dataset's file, placed in /iexec_in.", Type: task.Type{Kind: task.FileKind, URLs: true}, Place: task.Place{Kind: task.PlaceFolder, Path: folderIn}}
	if named && !l.plan.Dataset.Fetch {
		l.add(ruleDatasetAddress, l.root.Pos(), "give the file with -i dataset=@FILE", "the request names the dataset %s, and the manifest no address that its file could be fetched from", shorten(l.plan.Dataset.Address))
	}
	if l.plan.Dataset.URL != "" {
		p.Description += " The manifest names " + l.plan.Dataset.URL + "."
	}
	if b.node != nil && !named {
		l.add(ruleDatasetUnused, b.node.Pos(), "", "the dataset of this manifest takes part in a run only when it is given: -i dataset=@FILE")
	}
	return p
}

// secrets are the requester's secrets that an enclave app asks for, each an input of the secret's name. On the platform a
// secret that is missing is silently absent; here it is required.
func (l *loader) secrets(p params, tee bool) []task.Parameter {
	if !tee || len(p.Secrets) == 0 {
		return nil
	}
	l.plan.Secrets = map[string]string{}
	taken := map[string]bool{"": true}
	var list []task.Parameter
	for _, number := range slices.Sorted(maps.Keys(p.Secrets)) {
		name := p.Secrets[number]
		if taken[name] || l.task.Parameter(task.Input, name) != nil {
			name = "secret_" + number
		}
		taken[name] = true
		l.plan.Secrets[number] = name
		list = append(list, task.Parameter{Name: name, Aliases: []string{"secret_" + number}, Direction: task.Input, Title: "secret " + number,
			Description: "The requester's secret " + p.Secrets[number] + ".", Type: task.Type{Kind: task.String, Verbatim: true},
			Place: task.Place{Kind: task.PlaceEnv, Name: "IEXEC_REQUESTER_SECRET_" + number}})
	}
	return list
}

// botParameters are the positions within a bag of tasks.
func botParameters() []task.Parameter {
	number := func(name, variable, title, def string, least task.Decimal) task.Parameter {
		return task.Parameter{Name: name, Direction: task.Input, Optional: true, Title: title, Default: &task.Value{Text: def},
			Type: task.Type{Kind: task.Integer, GE: least}, Place: task.Place{Kind: task.PlaceEnv, Name: variable}}
	}
	return []task.Parameter{
		number(paramBotFirst, "IEXEC_BOT_FIRST_INDEX", "first task of the bag", "0", "0"),
		number(paramBotSize, "IEXEC_BOT_SIZE", "tasks in the bag", "1", "1"),
		number(paramBotIndex, "IEXEC_BOT_TASK_INDEX", "this task's index", "0", "0"),
	}
}

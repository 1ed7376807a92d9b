// Package layertest holds the rules of who may import whom and of who may name an adapter, and checks a source tree against
// them. Its own test checks this module; nothing else imports it. It reads Go files only, knows folders and import paths,
// and nothing of what the packages do.
package layertest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the import path of the module whose tree is checked.
const Module = "longshore"

// A Rule says what the packages it matches may import. The first rule of a list that matches a package holds for it.
type Rule struct {
	// Packages is a pattern for folders below the module's root. "<x>" stands for one path element, and means the same
	// one wherever it stands in the rule: an adapter may import its own subfolders, not its neighbours'. "..." at the end
	// stands for the folder and everything below it.
	Packages string

	// May lists patterns of the module's own packages that may be imported. A package may always import what lies in the
	// folder of its own match ("contract/<x>/...": its own subfolders).
	May []string

	// Outside says which packages of other modules may be imported.
	Outside Outside

	// Tests lists what the package's test files may import on top of May.
	Tests []string

	// Reason says why, to somebody whose import was refused.
	Reason string
}

// Outside says which packages that are not of this module may be imported.
type Outside int

const (
	// StandardLibrary allows nothing but the standard library. Test files may use any library.
	StandardLibrary Outside = iota
	// AnyLibrary allows every module that go.mod names.
	AnyLibrary
)

// Rules are the layers of docs/architecture.md, from the inside out.
var Rules = []Rule{
	{
		Packages: "internal/task/...", Outside: StandardLibrary,
		Reason: "the domain is what everybody else agrees on: it may depend on nothing that could change for another reason",
	},
	{
		Packages: "internal/contract", May: []string{"internal/task"}, Outside: AnyLibrary,
		Reason: "the Contract interface is drawn in words of the domain; contracts never meet engines",
	},
	{
		Packages: "internal/contract/contracttest", May: []string{"internal/contract", "internal/task"}, Outside: AnyLibrary,
		Reason: "the conformance suite sees a contract as everybody does, through the interface",
	},
	{
		Packages: "internal/contract/<x>/...", May: []string{"internal/contract", "internal/task"}, Outside: AnyLibrary,
		Tests:  []string{"internal/contract/contracttest"},
		Reason: "an adapter knows its own platform alone: no other contract, no engine, no image store, so adding one touches one folder",
	},
	{
		Packages: "internal/engine", Outside: StandardLibrary,
		Reason: "an engine runs a plain description of a container; it may know nothing of tasks, contracts or images",
	},
	{
		Packages: "internal/engine/enginetest", May: []string{"internal/engine"}, Outside: AnyLibrary,
		Reason: "the conformance suite sees an engine as everybody does, through the interface",
	},
	{
		Packages: "internal/engine/<x>/...", May: []string{"internal/engine", "internal/rmtree"}, Outside: AnyLibrary,
		Tests:  []string{"internal/engine/enginetest"},
		Reason: "an adapter knows its own technology alone: no other engine, no contract, no task, so adding one touches one folder",
	},
	{
		Packages: "internal/rmtree", Outside: AnyLibrary,
		Reason: "it knows files only",
	},
	{
		Packages: "internal/image/...", May: []string{"internal/image/...", "internal/rmtree"}, Outside: AnyLibrary,
		Reason: "images are a subject of their own: a store, archives, builds and registries, of use without tasks and engines",
	},
	{
		Packages: "internal/gitsource", May: []string{"internal/task"}, Outside: AnyLibrary,
		Reason: "fetching a repository needs the domain's errors and nothing else",
	},
	{
		Packages: "internal/outbound", May: []string{"internal/task"}, Outside: StandardLibrary,
		Reason: "which addresses may be dialled has nothing to do with what is fetched from them",
	},
	{
		Packages: "internal/ipfs/...", May: []string{"internal/ipfs", "internal/task"}, Outside: AnyLibrary,
		Reason: "folders, blocks and archives are a subject of their own: it needs the domain's errors and nothing else",
	},
	{
		Packages: "internal/market/...", May: []string{"internal/task", "internal/market/..."}, Outside: StandardLibrary,
		Reason: "consensus rules and the ledger are pure, so that properties can be tested over any sequence of events",
	},
	{
		Packages: "internal/store", May: []string{"internal/task"}, Outside: StandardLibrary,
		Reason: "the store's interfaces are drawn in words of the domain; databases are adapters below",
	},
	{
		Packages: "internal/store/storetest", May: []string{"internal/store", "internal/store/storeload", "internal/task"}, Outside: AnyLibrary,
		Reason: "the conformance suite sees a store as everybody does, through the interface, and has its runs made",
	},
	{
		Packages: "internal/store/<x>/...", May: []string{"internal/store", "internal/task"}, Outside: AnyLibrary,
		Tests:  []string{"internal/store/storetest", "internal/store/storeload"},
		Reason: "an adapter knows its own database alone",
	},
	{
		Packages: "internal/blob", May: []string{"internal/task"}, Outside: StandardLibrary,
		Reason: "the interface of content-addressed storage; disks and object stores are adapters below",
	},
	{
		Packages: "internal/blob/<x>/...", May: []string{"internal/blob", "internal/task"}, Outside: AnyLibrary,
		Tests:  []string{"internal/blob/blobtest"},
		Reason: "an adapter knows its own storage alone",
	},
	{
		Packages: "internal/dispatch/...",
		May: []string{
			"internal/task", "internal/contract", "internal/engine", "internal/image/...", "internal/store", "internal/blob",
			"internal/market/...", "internal/dispatch/...", "internal/outbound",
		},
		Outside: AnyLibrary,
		Tests:   []string{"internal/engine/fake", "internal/store/sqlstore", "internal/store/storetest", "internal/blob/disk"},
		Reason:  "the one path of every run works through interfaces: it may know that there are contracts and engines, not which",
	},
	{
		Packages: "internal/access", May: []string{"internal/store", "internal/task"}, Outside: StandardLibrary,
		Reason: "who may do what is asked by every edge, and told apart from how they speak",
	},
	{
		Packages: "internal/api/v1", May: []string{"internal/task"}, Outside: StandardLibrary,
		Reason: "what goes over the wire is shared by server and client, and knows neither",
	},
	{
		Packages: "internal/api/client", May: []string{"internal/api/v1", "internal/task"}, Outside: AnyLibrary,
		Reason: "a client talks to a server: it may not reach around the API",
	},
	{
		Packages: "internal/api/...",
		May: []string{
			"internal/dispatch/...", "internal/access", "internal/store", "internal/blob", "internal/task", "internal/api/...",
			"internal/contract", // the nearest known name to an unknown one
			"internal/engine",   // the form of logs
		},
		Outside: AnyLibrary,
		Tests:   []string{"internal/store/sqlstore", "internal/blob/disk"},
		Reason:  "an edge translates between HTTP and the use cases of dispatch; what it needs beyond them belongs into dispatch",
	},
	{
		Packages: "internal/gateway/...", May: []string{"internal/dispatch", "internal/task", "internal/gateway/..."}, Outside: AnyLibrary,
		Reason: "an edge translates between HTTP and the use cases of dispatch; what it needs beyond them belongs into dispatch",
	},
	{
		Packages: "internal/web/...",
		May:      []string{"internal/access", "internal/dispatch/...", "internal/store", "internal/task", "internal/web/..."},
		Outside:  StandardLibrary,
		Reason:   "the page shows the use cases of dispatch and what the store has on record; what it changes goes through the API, and it needs no library",
	},
	{
		Packages: "internal/front", May: []string{"internal/contract", "internal/task"}, Outside: StandardLibrary,
		Reason: "values in the forms of a platform are the same for the program in converted images and for the conversion itself",
	},
	{
		Packages: "internal/adapter",
		May:      []string{"internal/contract", "internal/task", "internal/engine", "internal/dispatch", "internal/front"},
		Outside:  StandardLibrary,
		Reason:   "it is linked into every converted image: no image store, no sandbox, no command line, and the contracts are handed to it",
	},
	{
		Packages: "internal/convert", May: []string{"internal/contract", "internal/task", "internal/adapter"}, Outside: AnyLibrary,
		Reason: "it writes packages around any contract's images, and knows none",
	},
	{
		Packages: "internal/app/contracts", May: []string{"internal/contract/..."}, Outside: StandardLibrary,
		Tests:  []string{"internal/task"},
		Reason: "the list of contracts is for two programs, one of which must stay small",
	},
	{
		Packages: "internal/config", May: []string{"internal/task", "internal/contract"}, Outside: AnyLibrary,
		Reason: "settings are read and documented without knowing what is done with them; contract guesses what was meant",
	},
	{
		Packages: "internal/telemetry/...", May: []string{"internal/task", "internal/store", "internal/dispatch/durable"}, Outside: AnyLibrary,
		Reason: "it looks at a server's use cases from outside, and nothing depends on being looked at",
	},
	{
		Packages: "internal/cli/...",
		May: []string{
			"internal/app", "internal/api/client", "internal/api/v1", "internal/config", "internal/cli/...",
			"internal/task", "internal/contract", "internal/engine", "internal/dispatch", "internal/image",
		},
		Outside: AnyLibrary,
		Reason:  "commands get their parts from app, ready made, and use their types; which contracts and engines there are is app's business",
	},
	{
		Packages: "internal/app/...", May: []string{"internal/..."}, Outside: AnyLibrary,
		Reason: "app puts everything together, and is the only importer of every adapter",
	},
	{
		Packages: "internal/layertest", Outside: StandardLibrary,
		Reason: "the rules are about the other packages, not made of them",
	},
	{
		Packages: "cmd/...", May: []string{"internal/cli", "internal/app", "internal/adapter", "internal/app/contracts"}, Outside: StandardLibrary,
		Reason: "a main function is a few lines: app's re-executed helpers, then cli.Main, so that tests can run everything in process",
	},
	{
		Packages: "scripts/...", Outside: StandardLibrary,
		Reason: "tools of the repository must run before anything of Longshore compiles",
	},
	{
		Packages: "test/...", May: []string{"internal/..."}, Outside: AnyLibrary,
		Reason: "end-to-end tests may look everywhere",
	},
}

// A Silence is a place where no adapter may be named: code that asks which adapter it has is a seam in the wrong place.
type Silence struct {
	Packages string // a pattern as in Rule
	Reason   string
}

// Silences hold for files that are not tests. Only a string that is nothing but an adapter's name counts: "docker" does,
// "docker-archive" and "Dockerfile" do not.
var Silences = []Silence{
	{"internal/task/...", "the domain does not know which platforms there are"},
	{"internal/contract", "what differs between contracts is data or an optional interface, not a name to ask for"},
	{"internal/engine", "what differs between engines is data or an optional interface, not a name to ask for"},
	{"internal/image/...", "images are of use to every contract and engine alike"},
	{"internal/dispatch/...", "dispatch may not behave differently for one contract or engine: capabilities are data"},
	{"internal/store", "what is stored does not depend on who packaged it"},
	{"internal/blob", "what is stored does not depend on who packaged it"},
	{"internal/market/...", "the rules of the ledger are the same for every contract"},
	{"internal/gateway/...", "a service is called the same way whoever packaged it"},
	{"internal/ipfs/...", "a folder is published the same way whoever packaged what is in it"},
	{"internal/gitsource", "a repository is fetched the same way whoever packaged what is in it"},
}

// Adapters are the names that Silences forbid, of contracts and engines that there are or will be.
var Adapters = []string{"meca", "cytomine", "kaapana", "iexec", "racetrack", "sandbox", "docker", "kubernetes"}

// A Finding is one breach of a rule.
type Finding struct {
	File string // slash-separated, from the root of the tree
	Line int
	What string
	Why  string // the rule, and its reason
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s\n\t%s", f.File, f.Line, f.What, f.Why)
}

// Check reads every Go file of the tree and returns all breaches, in the order of the files. Folders that the go command
// leaves out (testdata, vendor, and those that start with "." or "_") are left out here. The error is about reading and
// parsing.
func Check(tree fs.FS, rules []Rule, silences []Silence) ([]Finding, error) {
	var findings []Finding
	var failures []error
	err := fs.WalkDir(tree, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if file != "." && (name == "testdata" || name == "vendor" || name == "node_modules" || strings.ContainsAny(name[:1], "._")) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		found, err := checkFile(tree, file, rules, silences)
		if err != nil {
			failures = append(failures, err)
		}
		findings = append(findings, found...)
		return nil
	})
	return findings, errors.Join(append(failures, err)...)
}

func checkFile(tree fs.FS, file string, rules []Rule, silences []Silence) ([]Finding, error) {
	text, err := fs.ReadFile(tree, file)
	if err != nil {
		return nil, err
	}
	folder, isTest := path.Dir(file), strings.HasSuffix(file, "_test.go")
	silence := slices.IndexFunc(silences, func(s Silence) bool { return match(s.Packages, folder, nil) })

	mode := parser.ImportsOnly
	if silence >= 0 && !isTest {
		mode = 0
	}
	positions := token.NewFileSet()
	parsed, err := parser.ParseFile(positions, file, text, mode|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	line := func(p token.Pos) int { return positions.Position(p).Line }

	var findings []Finding
	rule, x := ruleFor(rules, folder)
	if rule == nil {
		findings = append(findings, Finding{
			File: file, Line: line(parsed.Package),
			What: fmt.Sprintf("no rule says what %s may import", folder),
			Why:  "every package has its place: add a rule with a reason to Rules in internal/layertest",
		})
	} else {
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil || rule.allows(imported, folder, x, isTest) {
				continue
			}
			findings = append(findings, Finding{
				File: file, Line: line(spec.Pos()),
				What: fmt.Sprintf("%s must not import %s", folder, imported),
				Why:  rule.String() + ": " + rule.Reason,
			})
		}
	}
	if silence >= 0 && !isTest {
		for _, literal := range names(parsed) {
			findings = append(findings, Finding{
				File: file, Line: line(literal.Pos()),
				What: fmt.Sprintf("%s must not name the adapter %s", folder, literal.Value),
				Why:  silences[silence].Reason + "; no package below app names an adapter outside its own folder",
			})
		}
	}
	return findings, nil
}

// names returns the string literals of a file that are an adapter's name, struct tags and imports apart.
func names(file *ast.File) []*ast.BasicLit {
	var found []*ast.BasicLit
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind != token.STRING {
				return false
			}
			text, err := strconv.Unquote(n.Value)
			if err == nil && slices.Contains(Adapters, strings.ToLower(strings.TrimSpace(text))) {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

func ruleFor(rules []Rule, folder string) (*Rule, map[string]string) {
	for i := range rules {
		x := map[string]string{}
		if match(rules[i].Packages, folder, x) {
			return &rules[i], x
		}
	}
	return nil, nil
}

func (r *Rule) allows(imported, folder string, x map[string]string, isTest bool) bool {
	inModule, own := strings.CutPrefix(imported, Module+"/")
	if !own {
		// The paths of the standard library have no dot in their first element.
		first, _, _ := strings.Cut(imported, "/")
		return !strings.Contains(first, ".") || r.Outside == AnyLibrary || isTest
	}
	if inModule == folder && isTest { // an external test package
		return true
	}
	may := r.May
	if isTest {
		may = slices.Concat(may, r.Tests)
	}
	if strings.HasSuffix(r.Packages, "/...") {
		may = slices.Concat(may, []string{r.Packages})
	}
	return slices.ContainsFunc(may, func(pattern string) bool {
		bound := map[string]string{}
		for name, value := range x {
			bound[name] = value
		}
		return match(pattern, inModule, bound)
	})
}

func (r *Rule) String() string {
	may := slices.Clone(r.May)
	if r.Outside == AnyLibrary {
		may = append(may, "libraries")
	} else {
		may = append(may, "the standard library")
	}
	return r.Packages + " may import " + strings.Join(may, ", ")
}

// match says whether a folder fits a pattern, and records in x what each "<name>" of the pattern stood for. One that x
// already has must stand for the same again.
func match(pattern, folder string, x map[string]string) bool {
	base, open := strings.CutSuffix(pattern, "/...")
	want, have := strings.Split(base, "/"), strings.Split(folder, "/")
	if len(have) < len(want) || len(have) > len(want) && !open {
		return false
	}
	for i, w := range want {
		if !strings.HasPrefix(w, "<") {
			if w != have[i] {
				return false
			}
			continue
		}
		if bound, ok := x[w]; ok && bound != have[i] {
			return false
		}
		if x != nil {
			x[w] = have[i]
		}
	}
	return true
}

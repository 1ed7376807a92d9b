package iexec

import (
	"io/fs"
	"path"
	"strings"

	"longshore/internal/contract"
)

// manifestNames are the manifest's names in order of preference.
var manifestNames = [...]string{"iexec.json", "iexec.js"}

// Recognise looks for the manifest by name; a manifest of another name is recognised by what is in it.
func (Contract) Recognise(src contract.Source) contract.Recognition {
	if src.FS == nil {
		return contract.Recognition{}
	}
	file := src.File
	if file == "" {
		found := manifestsIn(src.FS, ".")
		if len(found) == 0 {
			return contract.Recognition{}
		}
		file = found[0]
	}
	named := path.Base(file) == manifestNames[0] || path.Base(file) == manifestNames[1]
	if !named && path.Ext(file) != ".json" && path.Ext(file) != ".js" {
		return contract.Recognition{}
	}
	g, why := sniffFile(src.FS, file)
	switch {
	case named && g != "":
		return contract.Recognition{Certainty: contract.Certain, Evidence: file + ": " + why, Manifest: file}
	case named:
		return contract.Recognition{Certainty: contract.Likely, Evidence: file + " by its name", Manifest: file}
	case g == generationV2 || g != "" && strings.Contains(why, "multiaddr"):
		return contract.Recognition{Certainty: contract.Likely, Evidence: file + ": " + why, Manifest: file}
	}
	return contract.Recognition{}
}

// manifestsIn lists the manifests of a folder, the preferred one first.
func manifestsIn(fsys fs.FS, dir string) []string {
	var found []string
	for _, name := range manifestNames {
		if st, err := fs.Stat(fsys, path.Join(dir, name)); err == nil && !st.IsDir() {
			found = append(found, path.Join(dir, name))
		}
	}
	return found
}

// sniffFile tells the generation of a manifest, or "" when it cannot be read or shows none.
func sniffFile(fsys fs.FS, name string) (generation, string) {
	data, err := contract.ReadText(fsys, name)
	if err != nil {
		return "", ""
	}
	n, _, _, err := readDocument(data)
	if err != nil {
		return "", ""
	}
	return sniff(n)
}

// sniff tells the generation from the content, first match winning (iExec reference, section 2.1), and by which evidence.
func sniff(n *contract.Node) (generation, string) {
	app := n.Get("app")
	order := n.Get("order")
	switch {
	case app.Has("multiaddr"):
		return laterGeneration(n)
	case app.Has("params"):
		return generationV2, "app.params is present"
	case order.Has("buy"), order.Has("sell"):
		return generationV2, "order.buy or order.sell is present"
	case n.Has("name") && n.Has("work"):
		return generationV1, "name and work stand at the top"
	case n.Has("name") && (n.Get("data").Has("type") || app.Has("type")):
		return generationV1, "name stands at the top beside an app with a type"
	case app.Has("envvars"):
		return generationV1, "app.envvars is present"
	case app.Is(contract.NodeObject) && (app.Has("owner") || app.Has("type") || app.Has("checksum") || app.Has("mrenclave") || n.Has("buyConf")):
		g, why := laterGeneration(n)
		return g, strings.Replace(why, "app.multiaddr is present", "app has fields of v3 and later", 1)
	case !app.IsNull():
		return generationV2, "an app without multiaddr"
	case n.Has("dataset"), n.Has("workerpool"):
		return generationV5, "a dataset or workerpool description"
	case n.Has("workerPool"):
		return generationV2, "a workerPool description"
	case n.Has("name"):
		return generationV1, "only a name"
	}
	return "", ""
}

// laterGeneration divides v3 and v4 from v5 and later, which mostly look the same.
func laterGeneration(n *contract.Node) (generation, string) {
	const base = "app.multiaddr is present"
	enclave := n.Get("app").Get("mrenclave")
	params := n.Get("buyConf").Get("params")
	if params == nil {
		params = n.Get("order").Get("requestorder").Get("params")
	}
	switch {
	case strings.Count(enclave.Str(), "|") >= 3 && !strings.HasPrefix(enclave.Str(), "{"):
		return generationV3, base + ", mrenclave has the form of v3 and v4"
	case params.Is(contract.NodeString) && !strings.HasPrefix(strings.TrimSpace(params.Text), "{"):
		return generationV3, base + ", params is plain text as in v3"
	case params.Is(contract.NodeObject):
		return generationV5, base + ", params is an object"
	case enclave.Is(contract.NodeObject) || strings.HasPrefix(enclave.Str(), "{"):
		return generationV5, base + ", mrenclave has the form of v5 and later"
	}
	return generationV5, base + ", nothing tells which generation from v3 on"
}

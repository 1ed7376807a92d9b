package iexec

import (
	"bytes"
	"image/jpeg"
	"image/png"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"longshore/internal/contract"
)

// registry holds the rules of the public dapp registry. They concern manifests that carry its fields.
func (l *loader) registry(top block) {
	if top.node.Has("description") || top.node.Has("logo") || top.node.Has("social") || top.node.Has("license") {
		l.registryDescription(top)
		l.registryLogo(top)
		l.registryFields(top)
	}
	l.deployed()
}

func (l *loader) registryDescription(top block) {
	n := utf8.RuneCountInString(l.task.Description)
	at := top.node.Get("description").Pos()
	switch {
	case n < 150:
		l.add(ruleDescription, at, "", "description must be at least 150 characters").Why = "the public dapp registry asks for it"
	case n > 2000 && !l.plan.Generation.legacy():
		l.add(ruleDescription, at, "", "description must be at most 2000 characters").Why = "the public dapp registry asks for it"
	}
}

// logoSide is the width and height of a registry logo in pixels.
const logoSide = 180

func (l *loader) registryLogo(top block) {
	name := top.text("logo")
	at := top.node.Get("logo").Pos()
	if name == "" || strings.Contains(name, "://") {
		return
	}
	data, err := contract.ReadText(l.src.FS, path.Join(l.dir, name))
	if err != nil || !fs.ValidPath(path.Join(l.dir, name)) {
		l.add(ruleLogo, at, "", "missing %q logo image file", shorten(name))
		return
	}
	extension := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
	format := "png"
	config, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		format = "jpg"
		if config, err = jpeg.DecodeConfig(bytes.NewReader(data)); err != nil {
			return // SVG and other formats have no size that can be told here
		}
	}
	if extension != format && !(extension == "jpeg" && format == "jpg") {
		l.add(ruleLogo, at, "", "extension mismatch: %s =/= %s", extension, format)
	}
	if config.Width != logoSide || config.Height != logoSide {
		l.add(ruleLogo, at, "", "%s dimensions should be 180px by 180px, NOT %d by %d", name, config.Width, config.Height)
	}
}

// registryFields lists what the registry of SDK 8 demands of an app.
func (l *loader) registryFields(top block) {
	if l.plan.Generation.legacy() || l.plan.Nothing != "" {
		return
	}
	var missing []string
	for _, key := range []string{"description", "license", "author", "logo", "social", "buyConf"} {
		if !top.node.Has(key) {
			missing = append(missing, key)
		}
	}
	app := top.node.Get("app")
	for _, key := range []string{"owner", "name", "type", "multiaddr", "checksum"} {
		if !app.Has(key) {
			missing = append(missing, "app."+key)
		}
	}
	if len(missing) > 0 {
		l.add(ruleRegistry, l.root.Pos(), "", "the dapp registry also demands %s", strings.Join(missing, ", "))
	}
}

// deployed looks into deployed.json beside the manifest, when it is there.
func (l *loader) deployed() {
	file := path.Join(l.dir, "deployed.json")
	data, err := contract.ReadText(l.src.FS, file)
	if err != nil || l.plan.Nothing != "" {
		return
	}
	n, err := contract.ParseJSON(data)
	if err == nil && n.Get("app").Is(contract.NodeObject) {
		return
	}
	l.add(ruleDeployed, contract.At{}, "", `missing app field. You should run "iexec app deploy"`).File = file
}

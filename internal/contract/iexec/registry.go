package iexec

import (
	"bytes"
	"cmp"
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
	at := cmp.Or(top.node.Get("description").Pos(), l.root.Pos())
	switch {
	case l.wrong[top.node.Get("description")]:
	case !top.node.Has("description") && !l.plan.Generation.legacy() && l.plan.Nothing == "": // told as a field that is missing
	case n < 150:
		l.add(ruleDescription, at, "say what the dapp does, how it is called, and what comes out", "description must be at least 150 characters").Why = "the public dapp registry asks for it"
	case n > 2000 && !l.plan.Generation.legacy():
		l.add(ruleDescription, at, "shorten it", "description must be at most 2000 characters").Why = "the public dapp registry asks for it"
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
		l.add(ruleLogo, at, "put it beside the manifest, or name the file that is there", "missing %q logo image file", shorten(name))
		return
	}
	extension := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
	format := "png"
	config, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		format = "jpg"
		config, err = jpeg.DecodeConfig(bytes.NewReader(data))
	}
	raster := extension == "png" || extension == "jpg" || extension == "jpeg"
	switch {
	case err != nil && raster:
		l.add(ruleLogo, at, "save it as "+extension, "extension mismatch: %s =/= %s", extension, formatOf(data))
	case err != nil: // SVG and other formats have no size that can be told here
	case extension != format && !(extension == "jpeg" && format == "jpg"):
		l.add(ruleLogo, at, "rename it", "extension mismatch: %s =/= %s", extension, format)
	}
	if err == nil && (config.Width != logoSide || config.Height != logoSide) {
		l.add(ruleLogo, at, "scale it", "%s dimensions should be 180px by 180px, NOT %d by %d", shorten(name), config.Width, config.Height)
	}
}

// formatOf names what else a logo is than PNG or JPEG, so far as its first bytes tell.
func formatOf(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte("GIF8")):
		return "gif"
	case len(data) > 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return "webp"
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("<")):
		return "svg"
	}
	return "unknown"
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
		l.add(ruleRegistry, l.root.Pos(), "add them before it is published", "the dapp registry also demands %s", strings.Join(missing, ", "))
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
	l.add(ruleDeployed, contract.At{}, `write {"app": {"<chain id>": "0x…"}}`, `missing app field. You should run "iexec app deploy"`).File = file
}

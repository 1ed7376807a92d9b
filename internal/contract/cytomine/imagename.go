package cytomine

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/distribution/reference"
)

// imageTag is the name that the task page asks for: the namespace with slashes for dots, and the version (Cytomine seed, "How
// to bundle the Task image").
func imageTag(namespace, version string) string {
	return strings.ReplaceAll(namespace, ".", "/") + ":" + version
}

// imageName is the local name of a task's image: imageTag where that is a valid reference. Where it is not (upper case, a
// "+" in the version) it is the nearest valid name with a digest, so that no two tasks share one.
func imageName(namespace, version string) string {
	want := imageTag(namespace, version)
	if validReference(want) {
		return want
	}
	sum := sha256.Sum256([]byte(want))
	mark := hex.EncodeToString(sum[:4])
	var parts []string
	for _, p := range strings.Split(strings.ToLower(namespace), ".") {
		if p = squeeze(p); p != "" {
			parts = append(parts, p)
		}
	}
	parts = append(parts, mark)
	path := strings.Join(parts[:len(parts)-1], "/")
	if path != "" {
		path += "-"
	}
	tag := strings.ReplaceAll(version, "+", "_")
	for _, name := range []string{path + mark + ":" + tag, path + mark + ":latest"} {
		if validReference(name) {
			return name
		}
	}
	return "cytomine/task-" + mark + ":latest"
}

// squeeze makes a valid component of an image's path: single separators between letters and digits.
func squeeze(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9') }), "-")
}

func validReference(s string) bool {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return false
	}
	_, tagged := named.(reference.Tagged)
	return tagged
}

package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// standOnImage has the new package start from the finished image where the source's Dockerfile cannot be taken along: a base
// image copies from the build context by itself, which lies elsewhere in the new package.
func (c *conversion) standOnImage(facts task.ImageFacts) {
	base := c.copyingBase()
	if base == "" {
		return
	}
	c.lost(task.SeverityWarning, "onbuild", "", "the base image %s copies from the build context by itself (ONBUILD), which cannot be moved: the new package has no sources, and starts from the finished image", base)
	changed := *c.task
	changed.Image = task.ImageSource{Kind: task.ImageReference, Name: facts.Reference}
	c.task = &changed
}

// copyingBase is a base image of the source's Dockerfile with ONBUILD instructions that take from the build context; "" for none.
func (c *conversion) copyingBase() string {
	src := c.task.Image
	if src.Kind != task.ImageBuild {
		return ""
	}
	data := []byte(src.Recipe)
	if src.Recipe == "" {
		var err error
		if data, err = os.ReadFile(filepath.Join(src.Context, filepath.FromSlash(src.Dockerfile))); err != nil {
			return "" // it was built: writing the package says what is wrong now
		}
	}
	recipe, err := contract.ParseRecipe(data)
	if err != nil {
		return ""
	}
	store, err := c.app.Images()
	if err != nil {
		return ""
	}
	for _, st := range recipe.Stages {
		if img, err := store.Resolve(st.Base); err == nil && !st.FromStage && slices.ContainsFunc(img.Facts().OnBuild, copiesContext) {
			return st.Base
		}
	}
	return ""
}

// copiesContext tells of an instruction that may take files from the build context.
func copiesContext(instruction string) bool {
	word, rest, _ := strings.Cut(strings.TrimSpace(instruction), " ")
	switch strings.ToLower(word) {
	case "copy", "add":
		return !strings.Contains(rest, "--from=")
	case "run":
		return strings.Contains(rest, "--mount=")
	}
	return false
}

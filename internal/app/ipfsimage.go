package app

import (
	"context"
	"strings"

	"longshore/internal/image"
)

// sourceLabel is where an image tells what it was built from (OCI image specification, annotations).
const sourceLabel = "org.opencontainers.image.source"

// PushFolderImage builds the image of a published folder, so that hosts need not, and pushes it to a repository under the tag
// that hosts know it by. It says from which CID it was built, and gets its name among the images of this machine too, unless
// another image has that. The answer is the reference in the registry, with the digest.
func (a *App) PushFolderImage(ctx context.Context, p *Package, addr FolderAddress, repository string) (string, error) {
	name, _, _ := strings.Cut(addr.Image, ":")
	to, err := image.ParseReference(repository + ":" + name)
	if err != nil {
		return "", imageError(err)
	}
	src := p.Task.Image
	src.Name, src.Aliases = addr.Image, nil
	src.Labels = map[string]string{sourceLabel: "ipfs://" + addr.CID}
	img, _, err := a.Build(ctx, src)
	if err != nil {
		return "", err
	}
	store, err := a.Images()
	if err != nil {
		return "", imageError(err)
	}
	digest, err := store.Push(ctx, img, to.String(), image.PushOptions{Insecure: a.cfg.Insecure, Progress: a.cfg.Progress})
	if err != nil {
		return "", imageError(err)
	}
	return to.Familiar() + "@" + string(digest), nil
}

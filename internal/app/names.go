package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"longshore/internal/image"
	"longshore/internal/task"
)

// ownName is a name for the image of a package that no other package can ask for: it derives from where the package lies on this
// machine.
func ownName(src task.ImageSource) string {
	h := sha256.Sum256([]byte(string(src.Kind) + "\x00" + filepath.Clean(src.Context) + "\x00" + src.Dockerfile + "\x00" + src.Archive + "\x00" + src.Entry + "\x00" + src.Name))
	return ownPrefix + hex.EncodeToString(h[:8])
}

// ownPrefix is what the names made by ownName begin with.
const ownPrefix = "longshore-package/"

// claim gives an image the names that its package asks for, and returns the one to show. A name that another image has, which
// is not an earlier one of the same package, stays with that image: a package must not put its image in the place of, say, a
// base image that others build on. The run goes on with the right image either way, and is told.
func (a *App) claim(store *image.Store, src task.ImageSource, img *image.Image) (string, error) {
	own := ownName(src)
	shown := own
	for i, name := range append([]string{src.Name}, src.Aliases...) {
		mine, err := a.mayName(store, own, name, img)
		if err != nil {
			return "", err
		}
		if !mine {
			a.tell(image.Event{Kind: image.EventNote, Text: fmt.Sprintf("the name %s belongs to another image here and stays with it; this package's image is %s (`longshore image rm %s` frees the name)", name, own, name)})
			continue
		}
		if i == 0 {
			shown = name
		}
	}
	return shown, nil
}

// IsOwnName tells whether an image's name is one of those that packages' images have besides the ones they ask for.
func IsOwnName(name string) bool { return strings.HasPrefix(name, ownPrefix) }

// tell passes an event on to who follows the progress.
func (a *App) tell(e image.Event) {
	if a.cfg.Progress != nil {
		a.cfg.Progress(e)
	}
}

// untitled is the progress without the names of finished images: they are told when it is known which ones they may have.
func (a *App) untitled() image.Progress {
	if a.cfg.Progress == nil {
		return nil
	}
	return func(e image.Event) {
		if e.Kind != image.EventImage {
			a.cfg.Progress(e)
		}
	}
}

// mayName names img, and answers false when the name is another's. Who has a name is kept in a second one, made of the name and
// the package's own: it points to the image that the package was last given the name for.
func (a *App) mayName(store *image.Store, own, name string, img *image.Image) (bool, error) {
	receipt := own + ":" + receiptTag(name)
	holder, err := store.Resolve(name)
	switch {
	case image.KindOf(err) == image.KindNotFound:
	case err != nil:
		return false, err
	case holder.Digest() == img.Digest():
		return true, nil // no receipt: a copy of another's image must not make its name ours
	default:
		given, err := store.Resolve(receipt)
		if err != nil && image.KindOf(err) != image.KindNotFound {
			return false, err
		}
		if err != nil || given.Digest() != holder.Digest() {
			return false, nil
		}
	}
	if err := store.Tag(img, name); err != nil {
		return false, err
	}
	return true, store.Tag(img, receipt)
}

func receiptTag(name string) string {
	h := sha256.Sum256([]byte(name))
	return "named-" + hex.EncodeToString(h[:6])
}

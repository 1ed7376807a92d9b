// Command longshore-adapter is the program that `longshore convert` puts into images: it takes what another platform hands
// over, runs the image's own program as its own platform would, and gives back what that left. It is built without cgo, so
// that it runs in every image.
package main

import (
	"os"

	"longshore/internal/adapter"
	"longshore/internal/app/contracts"
)

func main() {
	os.Exit(adapter.Main(contracts.All(), os.Stdout, os.Stderr))
}

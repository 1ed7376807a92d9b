package contract

import (
	"io/fs"

	"longshore/internal/task"
)

// FolderPublisher is the optional ability to distribute packages as folders under the address of their content (IPFS).
type FolderPublisher interface {
	// CheckPublish returns the findings about a package that is to be published: those of Load, with the severity that they
	// have then, and what changes on the way to who fetches the folder.
	CheckPublish(src Source, found []task.Finding) []task.Finding
	// ImageAlias is the name that the platform's hosts give to the image they build of the folder with that CID (version 1,
	// base32).
	ImageAlias(cid string) string
	// Unwrap returns the folder of fetched that is the package, when an upload has put it into another one, and what that
	// means; "." and "" otherwise.
	Unwrap(fetched fs.FS) (dir, note string)
}

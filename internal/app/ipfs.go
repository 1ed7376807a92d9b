package app

import (
	"context"
	"os"

	"longshore/internal/contract"
	"longshore/internal/ipfs"
	"longshore/internal/task"
)

// FolderAddress is how a folder is known on IPFS, in the forms that tools and contracts on a chain ask for.
type FolderAddress struct {
	CID    string `json:"cid"`
	CIDv0  string `json:"cidV0"`
	Digest string `json:"digest"`
	// Image is the name that the platform's hosts give to the image they build of the folder.
	Image string `json:"image"`
}

// publisher returns the contract whose packages are folders on IPFS.
func publisher() contract.FolderPublisher {
	for _, c := range contracts() {
		if p, ok := c.(contract.FolderPublisher); ok {
			return p
		}
	}
	return nil
}

func addressOf(c ipfs.CID, p contract.FolderPublisher) FolderAddress {
	return FolderAddress{CID: c.String(), CIDv0: c.V0(), Digest: c.Hex(), Image: p.ImageAlias(c.String())}
}

// Address reads what names a folder on IPFS, a CID or a digest, unless a file or folder of this machine has that name.
func Address(given string) (FolderAddress, bool) {
	c, err := ipfs.Parse(given)
	if err != nil {
		return FolderAddress{}, false
	}
	if _, err := os.Lstat(given); err == nil {
		return FolderAddress{}, false
	}
	return addressOf(c, publisher()), true
}

// FolderAddress computes how a package's folder is known on IPFS; nil for packages that are not published there, or cannot be.
func (p *Package) FolderAddress(ctx context.Context) *FolderAddress {
	pub, ok := p.Contract.(contract.FolderPublisher)
	if !ok || p.Source.Dir == "" || task.HasErrors(pub.CheckPublish(p.Source, p.Findings)) {
		return nil
	}
	tree, err := ipfs.Layout(ctx, p.Source.FS, nil)
	if err != nil {
		return nil
	}
	a := addressOf(tree.CID, pub)
	return &a
}

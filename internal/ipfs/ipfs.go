// Package ipfs publishes folders under the address of their content, and fetches them back: it makes the blocks and the CID
// of a folder as IPFS does, writes and reads them as CAR archives, and talks to an IPFS node (Kubo) through its RPC. It knows
// neither tasks nor contracts.
//
// A folder has exactly one CID here: the one that MECA's tools get from a node (dag-pb leaves, CID version 1, sha2-256, chunks
// of 256 KiB, balanced, 174 links a node; folders above 256 KiB of names and links are sharded).
package ipfs

// How folders are laid out (the defaults of IPFS nodes for the options that MECA's tools send).
const (
	chunkSize = 256 << 10
	maxLinks  = 174

	// A folder whose names and binary CIDs are longer than this together is sharded, 256 ways, by the murmur3 hash of the names.
	shardAbove  = 256 << 10
	shardFanout = 256
	hashMurmur3 = 0x22
)

// Tree describes a folder that was laid out.
type Tree struct {
	CID CID
	// Total is the size of all blocks in bytes, counting every use of a block ("CumulativeSize").
	Total uint64
	// Content is the size of all files in bytes.
	Content uint64
	// Files counts files, Folders the folders below the root.
	Files, Folders int
}

// BlockWriter takes the blocks of a folder as they are made, children before parents; the root comes last. A block may come
// more than once. The bytes are the caller's again when WriteBlock returns.
type BlockWriter interface {
	WriteBlock(c CID, block []byte) error
}

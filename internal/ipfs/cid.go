package ipfs

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/mr-tron/base58"
	"github.com/multiformats/go-multibase"

	"longshore/internal/task"
)

// The codecs of blocks (multicodec table).
const (
	codecRaw   = 0x55
	codecDagPB = 0x70
)

// The one hash function of folders on IPFS, as multihash writes it: sha2-256 with 32 bytes.
const (
	hashSHA256 = 0x12
	digestSize = sha256.Size
)

// CID is the address of a block: the sha2-256 digest of its bytes, and how to read them. CIDs of both versions and of any
// text form are equal when they name the same block. The zero value names no block.
type CID struct {
	codec  uint64
	Digest [digestSize]byte
}

// FolderCID is the CID of the folder whose root block has this digest.
func FolderCID(digest [digestSize]byte) CID { return CID{codec: codecDagPB, Digest: digest} }

// sum is the CID of a dag-pb block.
func sum(block []byte) CID { return FolderCID(sha256.Sum256(block)) }

// String is the form that the platforms of this package use everywhere: version 1, base32.
func (c CID) String() string {
	text, err := multibase.Encode(multibase.Base32, c.bytes())
	if err != nil {
		return hex.EncodeToString(c.bytes()) // not reached: the encoding is a known one
	}
	return text
}

// V0 is the older form ("Qm…"), which only dag-pb blocks have; "" for others.
func (c CID) V0() string {
	if c.codec != codecDagPB {
		return ""
	}
	return base58.Encode(append([]byte{hashSHA256, digestSize}, c.Digest[:]...))
}

// Hex is the digest as contracts on a chain hold it: bytes32, "0x" and 64 digits.
func (c CID) Hex() string { return "0x" + hex.EncodeToString(c.Digest[:]) }

// bytes is the binary form of version 1.
func (c CID) bytes() []byte {
	return append([]byte{1, byte(c.codec), hashSHA256, digestSize}, c.Digest[:]...)
}

// Parse reads what names a folder: a CID of version 0, one of version 1 in any multibase, or the digest of the root block as
// 64 hexadecimal digits with or without "0x". The error is a *task.Error with code CodeUsage, in the words of MECA's own
// tools where they have any.
func Parse(text string) (CID, error) {
	c, err := parse(text)
	if err != nil {
		return CID{}, (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%q names no folder", text), Cause: err}).
			WithHint("give a CID (bafybei… or Qm…), or its sha2-256 digest: 0x and 64 hexadecimal digits")
	}
	return c, nil
}

func parse(text string) (CID, error) {
	digits, prefixed := strings.CutPrefix(text, "0x")
	switch raw, err := hex.DecodeString(digits); {
	case err == nil && len(raw) == digestSize:
		return FolderCID([digestSize]byte(raw)), nil
	case prefixed && err != nil && len(digits) == 2*digestSize:
		return CID{}, fmt.Errorf("Invalid sha256: %w", err)
	case prefixed:
		return CID{}, fmt.Errorf("Invalid sha256 length: %d digits, want %d", len(digits), 2*digestSize)
	}
	raw, err := decodeText(text)
	if err != nil {
		return CID{}, err
	}
	c, rest, err := readCID(raw)
	switch {
	case err != nil:
		return CID{}, err
	case len(rest) > 0:
		return CID{}, fmt.Errorf("Invalid cid multihash string length: %d bytes too many", len(rest))
	case c.codec != codecDagPB:
		return CID{}, fmt.Errorf("Invalid cid codec: 0x%x, and a folder is dag-pb (0x%x)", c.codec, codecDagPB)
	}
	return c, nil
}

func decodeText(text string) ([]byte, error) {
	if len(text) == 46 && strings.HasPrefix(text, "Qm") {
		return base58.Decode(text)
	}
	_, raw, err := multibase.Decode(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("Invalid cid version: %w", err)
	case len(raw) == 0 || raw[0] != 1:
		return nil, fmt.Errorf("Invalid cid version")
	}
	return raw, nil
}

// readCID reads a binary CID from the front of b, and answers what follows.
func readCID(b []byte) (CID, []byte, error) {
	c := CID{codec: codecDagPB}
	rest := b
	if len(b) < 2 || b[0] != hashSHA256 || b[1] != digestSize { // else version 0: a bare multihash
		var version uint64
		var err error
		if version, rest, err = uvarint(rest); err != nil || version != 1 {
			return CID{}, nil, fmt.Errorf("Invalid cid version")
		}
		if c.codec, rest, err = uvarint(rest); err != nil || c.codec != codecDagPB && c.codec != codecRaw {
			return CID{}, nil, fmt.Errorf("Invalid cid codec: 0x%x, and the blocks of folders are dag-pb (0x%x) or raw (0x%x)", c.codec, codecDagPB, codecRaw)
		}
	}
	hash, rest, err := uvarint(rest)
	if err != nil || hash != hashSHA256 {
		return CID{}, nil, fmt.Errorf("Invalid cid multihash type: 0x%x, want sha2-256 (0x%x)", hash, hashSHA256)
	}
	size, rest, err := uvarint(rest)
	if err != nil || size != digestSize {
		return CID{}, nil, fmt.Errorf("Invalid cid multihash length: %d, want %d", size, digestSize)
	}
	if len(rest) < digestSize {
		return CID{}, nil, fmt.Errorf("Invalid cid multihash string length: %d bytes, want %d", len(rest), digestSize)
	}
	c.Digest = [digestSize]byte(rest)
	return c, rest[digestSize:], nil
}

// uvarint reads an unsigned varint in its shortest form, as multiformats demand.
func uvarint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, nil, fmt.Errorf("not a varint")
	}
	return v, b[n:], nil
}

package image

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"regexp"
)

// Digest is a content address, "sha256:" and 64 lower-case hexadecimal digits. The zero value means unknown.
type Digest string

const digestPrefix = "sha256:"

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Valid tells whether d is a complete sha256 digest.
func (d Digest) Valid() bool { return digestPattern.MatchString(string(d)) }

// Hex returns the digits of a valid digest.
func (d Digest) Hex() string { return string(d)[len(digestPrefix):] }

// Short returns the first 12 digits, for people.
func (d Digest) Short() string {
	if !d.Valid() {
		return string(d)
	}
	return d.Hex()[:12]
}

func digestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(digestPrefix + hex.EncodeToString(sum[:]))
}

func sumDigest(h hash.Hash) Digest {
	return Digest(digestPrefix + hex.EncodeToString(h.Sum(nil)))
}

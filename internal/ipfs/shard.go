package ipfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/spaolacci/murmur3"
)

// hashedLink is an entry of a sharded folder with the hash of its name. Each byte of the hash chooses the slot of one level.
type hashedLink struct {
	link
	hash [8]byte
}

// hashed puts the entries of a folder into the order of their names' hashes.
func hashed(links []link) []hashedLink {
	list := make([]hashedLink, len(links))
	for i, l := range links {
		list[i].link = l
		binary.BigEndian.PutUint64(list[i].hash[:], murmur3.Sum64([]byte(l.name)))
	}
	slices.SortFunc(list, func(a, b hashedLink) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	return list
}

// shard makes the node for entries whose hashes agree up to depth. A slot that one entry falls into holds it; one of several
// holds a shard of the next level.
func (l *layout) shard(entries []hashedLink, depth int) (link, error) {
	if depth == len(entries[0].hash) {
		return link{}, errors.New("names of the folder have the same murmur3 hash, which IPFS cannot hold: " + entries[0].name + ", " + entries[1].name)
	}
	n := &node{kind: kindShard, hash: hashMurmur3, fanout: shardFanout}
	var slots [shardFanout / 8]byte
	for len(entries) > 0 {
		slot := entries[0].hash[depth]
		same := slices.IndexFunc(entries, func(e hashedLink) bool { return e.hash[depth] != slot })
		if same < 0 {
			same = len(entries)
		}
		made := entries[0].link
		if same > 1 {
			var err error
			if made, err = l.shard(entries[:same], depth+1); err != nil {
				return link{}, err
			}
		}
		made.name = fmt.Sprintf("%02X%s", slot, made.name)
		n.links = append(n.links, made)
		slots[len(slots)-1-int(slot)/8] |= 1 << (slot % 8)
		entries = entries[same:]
	}
	n.data = bytes.TrimLeft(slots[:], "\x00")
	return l.put(n)
}

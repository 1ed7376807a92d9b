package iexec

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"

	"longshore/internal/task"
)

// The rules of v1 and v2, as they are told.
const (
	consensusFile    = "consensus.iexec"
	ruleTextOnlyFile = "sha256 of the only result file"
	ruleTextArchive  = "sha256 of the result archive (not reproducible on iExec)"
	onlyFileNote     = "deterministic by result file: it works, but one more output file would break it; write consensus.iexec"
)

// singleResult is the size below which the only file of a v2 result is the result itself.
const singleResult = 256_000

// legacy is the digest of v1 and v2: of consensus.iexec, else of the result file: the only file there is, or an archive of all
// changed ones. There is none when there is nothing to digest. alone tells that nothing but changed files was there.
func (d *digester) legacy(changed []entry, alone bool) error {
	if d.linkInside(consensusFile) {
		d.refuseLink(path.Join(folderV2, consensusFile))
		return nil
	}
	if size, ok := d.regular(consensusFile); ok && size > 0 {
		sum, err := d.fileSum(consensusFile)
		if err != nil {
			return err
		}
		d.foundFile(consensusFile, sum, "sha256 of consensus.iexec")
		d.legacyHash(sum)
		return nil
	}
	sum, err := d.resultFile(changed, alone)
	if err != nil {
		return task.Errorf(task.ReasonEngine, "the result cannot be digested: %w", err)
	}
	if sum != nil {
		d.legacyHash(sum)
	}
	return nil
}

func (d *digester) legacyHash(sum []byte) {
	d.note("resultHash, as a v2 worker sends it: 0x%s (keccak256 of the digest)", hex.EncodeToString(keccak256(sum)))
}

// resultFile digests the file that v2 would hand out, nil when there is none.
func (d *digester) resultFile(changed []entry, alone bool) ([]byte, error) {
	members, skipped := d.members(changed)
	switch {
	case len(members) == 0:
		d.warn("there is no digest: the app left no file and wrote nothing; write a deterministic %s", path.Join(folderV2, consensusFile))
		return nil, nil
	case len(members) == 1 && alone && len(skipped) == 0 && members[0].size < singleResult:
		sum, err := sumOf(members[0].open)
		if err != nil {
			return nil, err
		}
		d.found(sum, []string{members[0].name}, ruleTextOnlyFile+", %s", members[0].name)
		d.note(onlyFileNote)
		return sum, nil
	}
	d.warn("there is no consensus.iexec: iExec v2 would compare archives, which differ between workers; write a deterministic %s", path.Join(folderV2, consensusFile))
	d.warnings = append(d.warnings, skipped...)
	return d.packed(members)
}

// packed digests the archive of the members.
func (d *digester) packed(members []member) ([]byte, error) {
	h := sha256.New()
	if err := pack(h, members); err != nil {
		return nil, task.Errorf(task.ReasonEngine, "the result cannot be digested: %w", err)
	}
	sum := h.Sum(nil)
	d.found(sum, nil, ruleTextArchive)
	return sum, nil
}

// onlyFile tells whether a rule is that of a single result file.
func onlyFile(rule string) bool { return strings.HasPrefix(rule, ruleTextOnlyFile) }

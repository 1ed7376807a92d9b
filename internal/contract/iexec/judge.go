package iexec

import (
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// JudgeRuns implements contract.DeterminismJudge with the verdicts of the iExec reference, section 11.7.
func (Contract) JudgeRuns(a, b *task.Result) contract.Verdict {
	has := func(text string) bool {
		return slices.ContainsFunc(slices.Concat(a.Warnings, b.Warnings), func(w string) bool { return strings.HasPrefix(w, text) })
	}
	switch same := a.Digest == b.Digest; {
	case a.Digest == "" || b.Digest == "":
		return contract.Verdict{Word: "no digest", Detail: "iExec could not contribute"}
	case a.DigestRule == ruleTextArchive || b.DigestRule == ruleTextArchive:
		// The archive here has no times in it; those that v2 workers make practically never agree.
		return contract.Verdict{Pass: true, Word: "not reproducible", Detail: "v2 workers compare archives, so it works with trust 0 or 1 only; write a deterministic " + folderV2 + "/" + consensusFile}
	case !same:
		return contract.Verdict{Word: "not deterministic", Detail: "consensus is possible with trust 0 or 1, or in an enclave, only"}
	case onlyFile(a.DigestRule):
		return contract.Verdict{Pass: true, Word: "deterministic by result file", Detail: "it works, but one more output file would break it"}
	case has("fragile"):
		return contract.Verdict{Pass: true, Word: "fragile", Detail: "the log is part of the digest"}
	}
	return contract.Verdict{Pass: true, Word: "deterministic", Detail: "consensus is possible at any trust"}
}

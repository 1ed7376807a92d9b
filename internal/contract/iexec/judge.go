package iexec

import (
	"slices"
	"strings"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// The words of failed runs that iExec bills all the same, as notes of a run begin with them.
const (
	wordDeterministicFailure = "deterministic failure"
	wordInputFailure         = "input failure"
)

// JudgeRuns implements contract.DeterminismJudge with the verdicts of the iExec reference, section 11.7.
func (Contract) JudgeRuns(a, b *task.Result) contract.Verdict {
	if a.Failure != nil {
		return judgeFailed(a)
	}
	switch same := a.Digest == b.Digest; {
	case a.Digest == "" || b.Digest == "":
		return contract.Verdict{Word: "no digest", Detail: "iExec could not contribute"}
	case a.DigestRule == ruleTextArchive || b.DigestRule == ruleTextArchive:
		// The archive here has no times in it; those that workers make practically never agree.
		workers, wanted := "v2 workers", folderV2+"/"+consensusFile
		if !ofLegacy(a) {
			workers, wanted = "workers of v3 and v4", folderOut+"/"+determinismFile
		}
		return contract.Verdict{Pass: true, Word: "not reproducible", Detail: workers + " compare archives, so it works with trust 0 or 1 only; write a deterministic " + wanted}
	case !same:
		return contract.Verdict{Word: "not deterministic", Detail: "consensus is possible with trust 0 or 1, or in an enclave, only"}
	case onlyFile(a.DigestRule):
		return contract.Verdict{Pass: true, Word: "deterministic by result file", Detail: "it works, but one more output file would break it"}
	case after(slices.Concat(a.Warnings, b.Warnings), "fragile: ") != "":
		return contract.Verdict{Pass: true, Word: "fragile", Detail: "the log is part of the digest"}
	}
	return contract.Verdict{Pass: true, Word: "deterministic", Detail: "consensus is possible at any trust"}
}

// judgeFailed is the verdict on a run that failed: whether iExec would bill it all the same.
func judgeFailed(r *task.Result) contract.Verdict {
	for _, word := range []string{wordDeterministicFailure, wordInputFailure} {
		if detail := after(r.Notes, word+": "); detail != "" {
			return contract.Verdict{Word: word, Detail: detail}
		}
	}
	linked := slices.ContainsFunc(r.Failure.Findings, func(f task.Finding) bool { return f.Rule == ruleLink })
	switch ended := r.Failure.Reason == task.ReasonExit || r.Failure.Reason == task.ReasonTimeout || r.Failure.Reason == task.ReasonOutput; {
	case linked:
		return contract.Verdict{Word: "broken on upload", Detail: "iExec would compute another digest of what a link leads to"}
	case ended && r.Digest == "":
		return contract.Verdict{Word: "no digest", Detail: "iExec could not contribute"}
	}
	return contract.Verdict{}
}

// after is what follows prefix in the first of the texts that begins with it, "" when none does.
func after(texts []string, prefix string) string {
	for _, text := range texts {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			return rest
		}
	}
	return ""
}

package iexec

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"longshore/internal/task"
)

// The errors and causes of error results (iExec reference, section 5.4).
const (
	errorApp  = "APP_DOWNLOAD_FAILED"
	errorData = "DATA_DOWNLOAD_FAILED"

	causeImage           = "APP_IMAGE_DOWNLOAD_FAILED"
	causeDataset         = "DATASET_FILE_DOWNLOAD_FAILED"
	causeDatasetChecksum = "DATASET_FILE_BAD_CHECKSUM"
	causeInputs          = "INPUT_FILES_DOWNLOAD_FAILED"
)

// ExplainFailure implements contract.FailureExplainer: when an image, dataset or input cannot be had, workers from v5 on skip
// the app and contribute an error result, which the requester pays. All workers with one cause agree.
func (Contract) ExplainFailure(t *task.Task, f task.Failure) []string {
	p, err := planOf(t)
	if err != nil || p.Generation != generationV5 {
		return nil
	}
	kind, cause := errorOf(t, p, f)
	if cause == "" {
		return nil
	}
	text := errorText(kind, cause, p.HashNames)
	return []string{fmt.Sprintf(wordInputFailure+": iExec would skip the app, contribute the error result 0x%x and bill it (sha256 of error.txt: %s)", sha256.Sum256([]byte(text)), text)}
}

// errorOf tells which error result a failure would be, cause "" when it would be none.
func errorOf(t *task.Task, p plan, f task.Failure) (kind, cause string) {
	broke := func(rule string) bool {
		return slices.ContainsFunc(f.Findings, func(x task.Finding) bool { return x.Rule == rule })
	}
	ofDataset := slices.ContainsFunc(f.Findings, func(x task.Finding) bool { return x.File != "" && x.File == p.Dataset.URL })
	switch {
	case f.Stage != task.Preparing:
		return "", ""
	case f.Reason == task.ReasonImage && t.Image.Kind == task.ImageReference && !broke(ruleChecksum):
		return errorApp, causeImage
	case broke(ruleDatasetChecksum), broke(task.RuleInputChecksum):
		return errorData, causeDatasetChecksum
	case broke(task.RuleInputDownload) && ofDataset:
		return errorData, causeDataset
	case broke(task.RuleInputDownload):
		return errorData, causeInputs
	}
	return "", ""
}

// errorText is the content of error.txt, without a line end: workers of v9.2 write it differently from those before.
func errorText(kind, cause string, v9 bool) string {
	if v9 {
		return fmt.Sprintf("[IEXEC] Errors occurred while computing the task [error:%s, causes:[WorkflowError[cause=%s, message=]]]", kind, cause)
	}
	return fmt.Sprintf("[IEXEC] Error occurred while computing the task [error:%s, cause:%s]", kind, cause)
}

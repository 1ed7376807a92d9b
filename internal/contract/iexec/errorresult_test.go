package iexec_test

import (
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/iexec"
	"longshore/internal/task"
)

// Worked values of the iExec reference, section 11.1: the digests of both forms of error.txt; and who gets which cause.
func TestErrorResults(t *testing.T) {
	download := func(url string) task.Failure {
		return task.Failure{Reason: task.ReasonInput, Stage: task.Preparing, Findings: []task.Finding{{Rule: task.RuleInputDownload, File: url}}}
	}
	image := task.Failure{Reason: task.ReasonImage, Stage: task.Preparing}
	pkg := files{"iexec.json": `{"app":{"multiaddr":"org/app:1"},"dataset":{"multiaddr":"https://a.example/d.bin"},
"buyConf":{"dataset":"0x2Ad5773db1a705DB568fAd403cd247fee4808Fb8","params":{"iexec_input_files":["https://a.example/x"]}}}`}
	for _, tc := range []struct {
		name, variant string
		pkg           files
		failure       task.Failure
		want          string
	}{
		{"input", "", pkg, download("https://a.example/x"), "0xa0974c89407e891d5143fcb72f98eba226476d54eb86034267d3189a96721de1"},
		{"input, v9", "v9", pkg, download("https://a.example/x"), "0x0667139fc3aade5e376044a41fbf2b37df1f191ee28f04debc01c1d5c64c0a54"},
		{"dataset", "", pkg, download("https://a.example/d.bin"), "cause:DATASET_FILE_DOWNLOAD_FAILED]"},
		{"another dataset", "", pkg, task.Failure{Reason: task.ReasonInput, Stage: task.Preparing, Findings: []task.Finding{{Rule: task.RuleInputChecksum}}}, "cause:DATASET_FILE_BAD_CHECKSUM]"},
		{"image", "", pkg, image, "[error:APP_DOWNLOAD_FAILED, cause:APP_IMAGE_DOWNLOAD_FAILED]"},
		{"a wrong value", "", pkg, task.Failure{Reason: task.ReasonInput, Stage: task.Preparing}, ""},
		{"a failed app", "", pkg, task.Failure{Reason: task.ReasonExit, Stage: task.Running}, ""},
		{"v3", "v3", pkg, image, ""},
		{"v2", "", v2("", ""), image, ""},
	} {
		tk, findings := iexec.New().Load(tc.pkg.source(t), contract.Options{Variant: tc.variant})
		if tk == nil || task.HasErrors(findings) {
			t.Fatal(findings)
		}
		got := strings.Join(iexec.New().(contract.FailureExplainer).ExplainFailure(tk, tc.failure), "\n")
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q", tc.name, got)
		}
	}
}

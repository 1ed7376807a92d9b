package cli

import "longshore/internal/task"

// codeCancelled is the code of a command that was interrupted.
const codeCancelled task.Code = "cancelled"

// codeSkipped is the code of a test that could run none of the package's examples.
const codeSkipped task.Code = "skipped"

// exitCancelled is the exit code after an interrupt, as shells use it.
const exitCancelled = 130

// exitCodes is the table of exit codes. "run" and "call" pass a container's own code through for the reason exit. The codes
// of ours are those of BSD sysexits and of timeout(1) where they fit, so that they rarely meet a program's own.
var exitCodes = []struct {
	Code    int
	Reason  task.Code
	Meaning string
}{
	{1, task.ReasonExit, "a test failed, or results differ; for run and call: the container's own code instead"},
	{2, codeSkipped, "a test had to skip every example, so that nothing was proven"},
	{64, task.CodeUsage, "the command line is wrong"},
	{65, task.CodePackage, "the package is not valid"},
	{66, task.CodeMissing, "something named does not exist"},
	{67, task.ReasonInput, "an input is missing or wrong"},
	{68, task.ReasonImage, "the image cannot be built, loaded, pulled or started"},
	{69, task.ReasonNotReady, "the server never got ready"},
	{70, task.ReasonEngine, "a fault of Longshore or of the machine"},
	{71, task.ReasonBadResponse, "the server answered an error or nothing usable"},
	{72, task.ReasonOutput, "an output is missing or wrong"},
	{73, task.CodeConflict, "it contradicts what the server has already"},
	{75, task.CodeLimit, "too large, too many or too often for the server"},
	{76, task.CodeAccess, "not signed in at the server, or the token's scopes do not allow it"},
	{77, task.ReasonPolicy, "not allowed, or more than the machine has"},
	{124, task.ReasonTimeout, "a stage took too long"},
	{exitCancelled, codeCancelled, "interrupted"},
	{137, task.ReasonOOM, "the memory limit was reached"},
}

// exitCode translates a reason.
func exitCode(c task.Code) int {
	for _, e := range exitCodes {
		if e.Reason == c {
			return e.Code
		}
	}
	return 70
}

// resultCode translates the end of a run.
func resultCode(res *task.Result) int {
	switch {
	case res.State == task.Succeeded:
		return 0
	case res.State == task.Cancelled:
		return exitCancelled
	case res.Failure.Reason == task.ReasonExit && res.ExitCode != nil && *res.ExitCode != 0:
		return *res.ExitCode
	}
	return exitCode(res.Failure.Reason)
}

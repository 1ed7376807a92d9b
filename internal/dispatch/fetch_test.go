package dispatch_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"longshore/internal/dispatch"
	"longshore/internal/engine/fake"
	"longshore/internal/task"
)

// explaining is a contract that tells of failures what its platform would do.
type explaining struct{ *plain }

func (explaining) ExplainFailure(_ *task.Task, f task.Failure) []string {
	return []string{"the platform calls it " + f.Findings[0].Rule}
}

func TestFetch(t *testing.T) {
	served := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served++
		if r.URL.Path != "/empty" {
			fmt.Fprint(w, "hello")
		}
	}))
	defer server.Close()
	const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for _, tc := range []struct {
		name   string
		policy dispatch.Policy
		file   task.File
		rule   string // of the failure; "" when there is none
	}{
		{"fetched", dispatch.Policy{Fetch: true, Network: true}, task.File{URL: server.URL + "/x"}, ""},
		{"the right content", dispatch.Policy{Fetch: true, Network: true}, task.File{URL: server.URL + "/x", SHA256: hello}, ""},
		{"another content", dispatch.Policy{Fetch: true, Network: true}, task.File{URL: server.URL + "/x", SHA256: "00" + hello[2:]}, task.RuleInputChecksum},
		{"empty", dispatch.Policy{Fetch: true, Network: true}, task.File{URL: server.URL + "/empty"}, task.RuleInputDownload},
		{"private", dispatch.Policy{Fetch: true}, task.File{URL: server.URL + "/x"}, task.RuleInputDownload},
		{"forbidden", dispatch.Policy{Network: true}, task.File{URL: server.URL + "/x"}, task.RuleInputDownload},
		{"no such machine", dispatch.Policy{Fetch: true}, task.File{URL: "http://nobody.invalid/x"}, task.RuleInputDownload},
		{"another scheme", dispatch.Policy{Fetch: true, Network: true}, task.File{URL: "file:///etc/passwd"}, task.RuleInputDownload},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, fake.Config{})
			r.Policy = tc.policy
			job, p := r.files()
			job.Network = true // granted where the policy allows it
			p.collect = nil
			tc.file.Path = "in"
			other := tc.file
			other.Path = "again"
			p.exec.Mounts = []task.Mount{{Name: "in", Target: "/in", ReadOnly: true, Files: []task.File{tc.file, other}}}
			job.Contract = explaining{p}
			served = 0
			res := r.run(t.Context(), t, job)
			switch {
			case tc.rule == "":
				if res.State != task.Succeeded || served != 1 {
					t.Errorf("%s, %+v, served %d times", res.State, res.Failure, served)
				}
			case res.Reason != task.ReasonInput || len(res.Failure.Findings) != 1:
				t.Errorf("%+v", res.Failure)
			default:
				if strings.Contains(res.Failure.Hint, "--network") != (tc.name == "private") {
					t.Errorf("hint: %s", res.Failure.Hint)
				}
				if f := res.Failure.Findings[0]; f.Rule != tc.rule || f.File != tc.file.URL {
					t.Errorf("%+v", f)
				}
				if len(res.Notes) != 1 || res.Notes[0] != "the platform calls it "+tc.rule {
					t.Errorf("%v", res.Notes)
				}
			}
		})
	}
}

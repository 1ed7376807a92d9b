package iexec_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"longshore/internal/contract"
	"longshore/internal/contract/iexec"
)

// Hostile manifests cost a bounded amount of time.
func TestHostileManifestsEnd(t *testing.T) {
	long := func(s string, n int) string { return strings.Repeat(s, n/len(s)) }
	numbered := func(format string, n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	const size = 250 << 10
	for name, text := range map[string]string{
		"one line":     "module.exports = {app: [" + long("1,", size) + "]}",
		"not closed":   "module.exports = [" + long("1,", size),
		"calls":        "const f = () => 1; const a = [" + long("f(),", size) + "]; module.exports = {a}",
		"nested calls": "const a = x => x; const b = x => a(a(x)); const c = x => b(b(b(x))); const d = x => c(c(c(c(x)))); const e = x => d(d(d(d(d(x))))); const f = x => e(e(e(e(e(e(x)))))); const g = x => f(f(f(f(f(x))))); const h = x => g(g(g(g(g(x))))); module.exports = {app: h(h(h(1)))}",
		"map":          "const f = x => x; let a = [1,1]; " + strings.Repeat("a = a.concat(a);", 14) + strings.Repeat("a = a.map(f);", 100) + "module.exports = a",
		"not":          long("!", size),
		"open":         long("(", size),
		"template":     long("`${", size),
		"arrows":       long("a=>", size),
		"labels":       long("{a:", size),
		"strings":      long("'a'+", size),
		"spread":       "const a = {" + numbered("k%d:1,", 2000) + "}; module.exports = {" + long("...a,", size) + "}",
		"keys":         "const a = {}; " + numbered("a.k%d=1;", size) + "module.exports = a",
		"strict JSON":  `{"app":{"params":{}},"x":[` + long("1,", 1<<20) + `1]}`,
		"duplicates":   `{"app":{"params":{}},` + long(`"a":1,`, 1<<20) + `"b":1}`,
	} {
		start := processorTime(t)
		iexec.New().Load(contract.Source{FS: oneFile(text)}, contract.Options{})
		if d := processorTime(t) - start; d > 5*time.Second {
			t.Errorf("%s: %v", name, d)
		} else {
			t.Logf("%s: %v", name, d)
		}
	}
}

// So does preparing what they hold as many of as the size of a manifest allows, and describing them stays short.
func TestManyValuesEnd(t *testing.T) {
	many := func(format string, n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(list, ",")
	}
	for name, pkg := range map[string]files{
		"variables":   v2("", ","+many("V%d=1", 100_000)),
		"input files": v5(`{"iexec_input_files":[` + many(`"http://e.com/%d"`, 50_000) + `]}`),
	} {
		start := processorTime(t)
		tk := mustLoad(t, pkg)
		prepare(t, tk, bind(t, tk, nil))
		if d := processorTime(t) - start; d > 20*time.Second { // with -race
			t.Errorf("%s: %v", name, d)
		}
		for _, p := range tk.Parameters {
			if len(p.Description) > 4000 {
				t.Errorf("%s: the description of %s has %d bytes", name, p.Name, len(p.Description))
			}
		}
	}
}

// processorTime is what this process has used so far: other work on the machine does not count.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

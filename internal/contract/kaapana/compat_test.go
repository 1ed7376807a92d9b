package kaapana_test

import (
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/kaapana"
	"longshore/internal/task"
)

// Vectors of Kaapana's own formatter, after the factor of 1.1 where it is given.
func TestKubernetesText(t *testing.T) {
	for mib, want := range map[float64]string{50: "55.0Mi", 100: "110.0Mi", 500: "550.0Mi", 512: "563.2Mi", 700: "770.0Mi", 1000: "1.1Gi", 1024: "1.1Gi", 1536: "1.7Gi", 2000: "2.1Gi", 16384: "17.6Gi"} {
		if got := kaapana.KubernetesText(mib * (1 << 20) * 1.1); got != want {
			t.Errorf("%v Mi: %s, want %s", mib, got, want)
		}
	}
	for n, want := range map[float64]string{
		0: "0.0B", 1023: "1023.0B", 1023.96: "1024.0B", 1024: "1.0Ki", 1048064: "1023.5Ki", 1048575: "1024.0Ki", 1048576: "1.0Mi", 1e12: "931.3Gi", 2342: "2.3Ki",
		2346437: "2.2Mi", 87648: "85.6Ki", 1231: "1.2Ki", 69234006234: "64.5Gi", 23423.4564: "22.9Ki",
	} {
		if got := kaapana.KubernetesText(n); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
}

func TestCompat(t *testing.T) {
	in := masks(t)
	use := func(mode string) *task.Execution {
		tk, findings := kaapana.New().Load(container(example), contract.Options{Variant: "grow", Compat: mode})
		if task.HasErrors(findings) {
			t.Fatal(findings)
		}
		return prepared(t, tk, task.Request{
			Inputs: map[string]task.Given{"masks": {Path: in}, "reference": {Path: in}}, Env: []task.EnvVar{{Name: "SHAPE", Value: "other"}, {Name: "LICENCE", Value: "mine"}, {Name: "RADIUS", Value: "x"}},
		})
	}
	x := use("docker")
	if x.Resources != (task.Resources{Memory: 1677721600}) || x.Process.Entrypoint != nil || len(x.Process.Args) != 2 || !x.Mounts[0].ReadOnly {
		t.Errorf("%+v", x)
	}
	if w := strings.Join(x.Warnings, "\n"); !strings.Contains(w, "`SHAPE` must be one of") || !strings.Contains(w, "`LICENCE` is fixed") || !strings.Contains(w, "`RADIUS` is an int") || !strings.Contains(w, "ignores cpu") {
		t.Error(w)
	}
	x = use("kubernetes")
	if x.Resources != (task.Resources{Memory: 576716800, MinMemory: 115343360, CPU: 2000, Shm: task.HalfOfMemory}) || len(x.Process.Entrypoint) != 2 {
		t.Errorf("%+v", x)
	}
	if m := x.Mounts[0]; m.ReadOnly || !m.Discard || m.Source != "" || m.Files[0].Source != in {
		t.Errorf("%+v", m)
	}
	if n := strings.Join(x.Notes, "\n"); !strings.Contains(n, "memory limit 550.0Mi, which is 576716800 B") || !strings.Contains(n, "memory request 110.0Mi") || !strings.Contains(n, "is ignored") {
		t.Error(n)
	}
}

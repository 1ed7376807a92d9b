package kaapana

import (
	"fmt"
	"math/big"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// The runners of Kaapana's own library whose readings can be asked for (Options.Compat). What they do otherwise than Longshore
// is listed in the Kaapana reference, 9.1; what makes them crash works here all the same.
const (
	compatDocker     = "docker"
	compatK8s        = "k8s"
	compatKubernetes = "kubernetes" // another word for k8s
)

// CompatModes implements contract.CompatModes.
func (Contract) CompatModes() []string { return []string{compatDocker, compatK8s, compatKubernetes} }

func compatOf(opts contract.Options) string {
	if opts.Compat == compatKubernetes {
		return compatK8s
	}
	return opts.Compat
}

// loosen makes every variable a free text: Kaapana enforces neither type nor choices nor adjustable.
func loosen(ps []task.Parameter, u *template) {
	values := map[string]string{}
	for _, v := range u.Env {
		values[v.Name] = v.Value
	}
	for i := range ps {
		p := &ps[i]
		if p.Place.Kind != task.PlaceEnv {
			continue
		}
		p.Type, p.Fixed, p.Optional = task.Type{Kind: task.String, Verbatim: true}, false, true
		if text, ok := values[p.Place.Name]; ok {
			p.Default = &task.Value{Text: text}
		}
	}
}

// compatResources are the limits that a runner of Kaapana's would set.
func (p *preparation) compatResources() {
	ruled, declared := p.x.Resources, contract.ResourcesOf(p.t, p.v)
	p.left.Limit = limitByPackage
	if p.v.Resources.Memory > 0 {
		p.left.Limit = limitByCaller
	}
	if p.compat == compatDocker {
		p.x.Resources = task.Resources{Memory: max(declared.Memory, ruled.Memory), Disk: p.v.Resources.Disk, CPU: p.v.Resources.CPU, GPUs: p.v.Resources.GPUs}
		if ruled.Memory > declared.Memory {
			p.left.Limit = limitByRule
		}
		if declared.CPU|declared.MinCPU != 0 || declared.GPUs != 0 || declared.MinMemory != 0 {
			p.warn("compat docker: Kaapana's local runner ignores cpu, GPUs and requests, and so does this run")
		}
		return
	}
	p.left.Rules = nil
	p.x.Resources = declared
	if p.v.Resources.Memory == 0 {
		p.x.Resources.Memory = p.enlarged("limit", declared.Memory)
	}
	p.x.Resources.MinMemory = p.enlarged("request", declared.MinMemory)
	p.x.Resources.Shm = task.HalfOfMemory
}

// enlarged is an amount of memory as Kaapana's Kubernetes runner writes it: times 1.1, with one decimal.
func (p *preparation) enlarged(side string, b task.Bytes) task.Bytes {
	if b < leastRule {
		return b
	}
	text, unit := kubernetesText(float64(b) * 1.1)
	q, err := task.ParseQuantity(text)
	if err != nil {
		return b // a number with one decimal always parses
	}
	q.Mul(q, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), 10*uint(unit))))
	out := task.Bytes(ceil(q).Int64())
	p.note("compat k8s: memory %s %s%s, which is %d B, instead of %s", side, text, memoryUnits[unit], int64(out), exact(b))
	return out
}

var memoryUnits = [...]string{"B", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"}

// kubernetesText is a number of bytes as Kaapana formats it, and the index of its unit.
func kubernetesText(bytes float64) (text string, unit int) {
	for bytes >= 1024 && unit < len(memoryUnits)-1 {
		bytes /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f", bytes), unit
}

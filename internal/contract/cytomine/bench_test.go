package cytomine_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"longshore/internal/contract"
	"longshore/internal/contract/cytomine"
)

// BenchmarkLoadBundle recognises, loads and checks a bundle of 3 MB, deflated and stored: the plan allows 150 ms.
func BenchmarkLoadBundle(b *testing.B) {
	noise := make([]byte, 3<<20)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	image := tarOf(b, map[string]string{
		"layer.tar": string(noise), "config.json": "{}", "manifest.json": `[{"Config":"config.json","RepoTags":["org/example/cells:1.2.3"],"Layers":["layer.tar"]}]`,
	})
	for _, store := range []bool{false, true} {
		src := bundle(b, member{name: "descriptor.yml", content: base}, member{name: "org.example.cells-1.2.3.tar", content: image, store: store})
		b.Run(fmt.Sprintf("stored=%t", store), func(b *testing.B) { loadOften(b, src) })
	}
}

// BenchmarkValidate recognises and loads a folder whose descriptor has 200 parameters: the plan allows 50 ms.
func BenchmarkValidate(b *testing.B) {
	var params strings.Builder
	for i := range 200 {
		fmt.Fprintf(&params, "n%d: {display_name: N, description: x, type: {id: array, min_size: 0, max_size: 9, subtype: {id: integer, gt: 1, leq: 9}}}\n  ", i)
	}
	loadOften(b, described(b, withInput(b, strings.TrimSpace(params.String()))))
}

func loadOften(b *testing.B, src contract.Source) {
	c := cytomine.New()
	for b.Loop() {
		if r := c.Recognise(src); r.Certainty != contract.Certain {
			b.Fatalf("recognised as %+v", r)
		}
		if tk, findings := c.Load(src, contract.Options{}); tk == nil || len(errorsOf(findings)) > 0 {
			b.Fatal(said(findings))
		}
	}
}

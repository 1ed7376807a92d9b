package contract_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"longshore/internal/contract"
	"longshore/internal/task"
)

func TestSources(t *testing.T) {
	context := fstest.MapFS{
		"app.py": {}, "src/a": {}, "secret/key": {}, "kept/x": {}, ".dockerignore": {Data: []byte("secret\n*.log\n")}, "run.log": {},
	}
	for recipe, want := range map[string]string{
		"FROM a\nCOPY app.py src /x/\nCOPY ./src/a /src/a . /x/\nADD app.py /y": "",
		"FROM a\nCOPY main.py /x":                  "2 COPY main.py: not in the build context",
		"FROM a\nCOPY app.py gone/ /x/":            "2 COPY gone/: not in the build context",
		"FROM a\nADD [\"gone\", \"/x\"]":           "2 ADD gone: not in the build context",
		"FROM a\nCOPY secret/key /x":               "2 COPY secret/key: left out of the build context by .dockerignore",
		"FROM a\nCOPY run.log /x":                  "2 COPY run.log: left out of the build context by .dockerignore",
		"FROM a\nARG F\nCOPY $F *.txt x? [a] /x/":  "",
		"FROM a\nADD https://example.org/f /x":     "",
		"FROM a\nADD git@example.org:a/b.git /x":   "",
		"FROM a\nCOPY --from=b gone /x":            "",
		"FROM a\nCOPY <<EOF /x\ngone\nEOF":         "",
		"FROM a AS unused\nCOPY gone /x\nFROM b\n": "",
		"FROM a AS one\nCOPY gone /x\nFROM one\n":  "2 COPY gone: not in the build context",
		"FROM a\nCOPY gone /x\nFROM b AS two\nCOPY --from=0 /x /x\nFROM c\nCOPY --from=Two /x /x": "2 COPY gone: not in the build context",
	} {
		r, err := contract.ParseRecipe([]byte(recipe))
		if err != nil {
			t.Fatal(err)
		}
		report := contract.Report{File: "Dockerfile"}
		report.Sources("R1", task.SeverityError, r, context, "Dockerfile")
		var got []string
		for _, f := range report.Findings {
			got = append(got, fmt.Sprintf("%d %s", f.Line, f.What))
			if f.Mend == "" || f.File != "Dockerfile" {
				t.Errorf("%+v", f)
			}
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%q: got %q, want %q", recipe, got, want)
		}
	}
}

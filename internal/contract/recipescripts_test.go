package contract_test

import (
	"testing"
	"testing/fstest"

	"longshore/internal/contract"
	"longshore/internal/task"
)

func TestLineEnds(t *testing.T) {
	context := fstest.MapFS{
		"run.sh":       {Data: []byte("#!/bin/sh\r\necho a\r\n")},
		"src/start.sh": {Data: []byte("echo a\r\necho b\r\n")},
		"src/app.py":   {Data: []byte("#!/usr/bin/python3\r\nprint(1)\r\n")},
		"src/good.sh":  {Data: []byte("#!/bin/sh\necho a\n")},
	}
	for _, c := range []struct {
		recipe, want string
		line         int
	}{
		{"COPY run.sh /\nENTRYPOINT [\"/run.sh\"]", "run.sh", 3},
		{"WORKDIR /app\nCOPY run.sh .\nCMD ./run.sh", "run.sh", 4},
		{"COPY src/ /app/\nCMD [\"sh\", \"-e\", \"/app/start.sh\"]", "src/start.sh", 3},
		{"WORKDIR /app\nCOPY . .\nCMD exec bash src/start.sh", "src/start.sh", 4},
		{"COPY src/app.py /\nCMD [\"/app.py\"]", "src/app.py", 3},
		{"COPY src/app.py /\nCMD [\"python3\", \"/app.py\"]", "", 0}, // Python takes both
		{"COPY src /app\nCMD [\"/app/good.sh\"]", "", 0},
		{"COPY run.sh /\nRUN sed -i 's/\\r$//' /run.sh\nCMD [\"/run.sh\"]", "", 0},
		{"COPY --from=x run.sh /\nCMD [\"/run.sh\"]", "", 0},
		{"COPY run.sh /other/\nCMD [\"/run.sh\"]", "", 0},
		{"CMD [\"sh\", \"-c\", \"/run.sh\"]", "", 0},
		{"COPY run.sh /\nCMD []", "", 0},
	} {
		recipe, err := contract.ParseRecipe([]byte("FROM a\n" + c.recipe + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		r := contract.Report{File: "Dockerfile"}
		r.LineEnds("X1", task.SeverityWarning, recipe, context)
		var want string
		if c.want != "" {
			want = c.want + " ends its lines with CR LF; it cannot be started in the container"
		}
		switch {
		case want == "" && len(r.Findings) > 0, want != "" && len(r.Findings) != 1:
			t.Errorf("%s: %+v, want %q", c.recipe, r.Findings, want)
		case want != "" && (r.Findings[0].What != want || r.Findings[0].Line != c.line):
			t.Errorf("%s: %+v, want %q in line %d", c.recipe, r.Findings[0], want, c.line)
		}
	}
}

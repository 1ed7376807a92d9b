package convert

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMoveContext: what comes from the build context comes from its new place; nothing else changes.
func TestMoveContext(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"copy":         {"COPY a.py /app/", `COPY ["new/a.py","/app/"]`},
		"all":          {"COPY . .", `COPY ["new/","."]`},
		"lower case":   {"copy ./x/ /", `COPY ["new/x/","/"]`},
		"absolute":     {"COPY /x /y", `COPY ["new/x","/y"]`},
		"never above":  {"COPY ../../x /y", `COPY ["new/x","/y"]`},
		"list":         {`COPY ["a b", "c", "/d/"]`, `COPY ["new/a b","new/c","/d/"]`},
		"flags":        {"COPY --chown=1:2 --chmod=755 a b /c/", `COPY --chown=1:2 --chmod=755 ["new/a","new/b","/c/"]`},
		"parents":      {"COPY --parents a/b /c/", `COPY --parents ["new/./a/b","/c/"]`},
		"variable":     {"COPY ${DIR}/x /y", `COPY ["new/${DIR}/x","/y"]`},
		"pattern":      {"COPY *.txt /y/", `COPY ["new/*.txt","/y/"]`},
		"continued":    {"COPY a \\\n  # why\n  b \\\n  /c/", `COPY ["new/a","new/b","/c/"]`},
		"other stage":  {"COPY --from=build /a /b", "COPY --from=build /a /b"},
		"url":          {"ADD https://example.org/x /y", "ADD https://example.org/x /y"},
		"url and file": {"ADD https://example.org/x a /y/", `ADD ["https://example.org/x","new/a","/y/"]`},
		"heredoc":      {"COPY <<EOF /x\nCOPY a b\nEOF", "COPY <<EOF /x\nCOPY a b\nEOF"},
		"run heredoc":  {"RUN <<EOF\nCOPY a b\nEOF", "RUN <<EOF\nCOPY a b\nEOF"},
		"bind":         {"RUN --mount=type=bind,source=d,target=/m cat /m/x", "RUN --mount=type=bind,source=new/d,target=/m cat /m/x"},
		"bind all":     {"RUN --mount=target=/m cat /m/x", "RUN --mount=target=/m,source=new cat /m/x"},
		"bind stage":   {"RUN --mount=type=bind,from=build,source=d,target=/m ls", "RUN --mount=type=bind,from=build,source=d,target=/m ls"},
		"trigger":      {"ONBUILD COPY a.py /app/", `ONBUILD COPY ["new/a.py","/app/"]`},
		"triggers":     {"ONBUILD RUN a\nONBUILD COPY --from=build /a /b", "ONBUILD RUN a\nONBUILD COPY --from=build /a /b"},
		"cache":        {"RUN --mount=type=cache,target=/m ls", "RUN --mount=type=cache,target=/m ls"},
		"argument":     {"ARG SET=1\nARG OTHER=2", "ARG SET=\"a \\\"b\\\" \\$c\"\nARG OTHER=2"},
		"comments":     {"# one\n\nRUN a \\\n && b\n# two", "# one\n\nRUN a \\\n && b\n# two"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := moveContext([]byte("FROM x AS build\r\n"+c.in+"\n"), "new", map[string]string{"SET": `a "b" $c`})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("FROM x AS build\n"+c.want+"\n", strings.ReplaceAll(string(got), "\r", "")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMoveContextRefuses(t *testing.T) {
	_, err := moveContext([]byte("FROM x\nCOPY a <<EOF /x/\ntext\nEOF\n"), "new", nil)
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v, want an error that names line 2", err)
	}
}

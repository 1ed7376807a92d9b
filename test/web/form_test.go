package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"longshore/internal/access"
)

// TestForms: what a form asks for is what was written into it, whatever that is; and the commands beside it, executed as they stand,
// ask for the same.
func TestForms(t *testing.T) {
	s := startServer(t)
	browser := startBrowser(t)
	b := openTab(browser, t, s)
	b.do(chromedp.Navigate(s.edge.LoginLink()))
	b.at("/")
	files := oddFiles(t)
	for _, f := range []struct {
		name, folder, page string
		fill               func(b *tab)
		// want are the inputs of the request, with files by their content; and what else it has.
		want string
	}{
		{"every kind", "testdata/kinds", "/tasks/every-kind-of-value", func(b *tab) {
			b.write("[data-field=text] textarea", "\n -it's\t\"ö\" 😀\n$HOME `id` \\n @x\n")
			b.choose("[data-field=choice] select", " edge ")
			b.fill("[data-field=big] input", "9223372036854775807")
			b.fill("[data-field=ratio] input", "-0.10")
			b.fill("[data-field=when] [data-control]", "2026-05-01T12:00:00.123456789+02:00")
			b.write("[data-field=area] textarea", `{"type": "Point", "coordinates": [1.10, 12345678901234567890]}`)
			b.click("[data-field=flag] input")
			for i, word := range []string{"@first", "", "two\nlines", "12"} {
				b.click("[data-field=words] [data-add]")
				b.write(fmt.Sprintf("[data-field=words] .row:nth-child(%d) textarea", i+1), word)
			}
			b.click("[data-field=times] [data-add]")
			b.click("[data-field=times] [data-add]")
			b.write("[data-field=times] .row:nth-child(1) [data-control]", "2026-05-01T12:00:00Z")
			b.choose("[data-field=times] .row:nth-child(2) [data-clock]", "2026-05-01T12:00:00") // each row has its calendar
			b.until(`document.querySelector("[data-field=times] .row:nth-child(2) [data-control]").value.endsWith("Z")`)
			b.write("[data-field=times] .row:nth-child(2) [data-control]", "2026-05-02T12:00:00Z")
			b.click("[data-field=grid] [data-add]")
			b.write("[data-field=grid] textarea", "[1, 9007199254740993]")
			b.files("[data-field=papers] input", files.odd, files.plain)
			b.files("[data-field=paper] input", files.odd)
			b.files("#in-12-folder", files.folder)
			b.until(`document.querySelectorAll("[data-field=slide] [data-chosen] li").length === 2`)
			b.unfold("#run details")
			b.write("#labels", "who=O'Brien & \"co\"\nempty=")
			b.write("#priority", "-5")
			b.write("#args", "[]") // none at all, which is not the image's own
		}, `{"args": [], "labels": {"who": "O'Brien & \"co\"", "empty": ""}, "priority": -5, "inputs": {
			"text": "\n -it's\t\"ö\" 😀\n$HOME ` + "`id`" + ` \\n @x\n", "choice": " edge ", "big": 9223372036854775807, "ratio": -0.10,
			"when": "2026-05-01T12:00:00.123456789+02:00", "area": {"type": "Point", "coordinates": [1.10, 12345678901234567890]}, "flag": false,
			"words": ["@first", "", "two\nlines", "12"], "times": ["2026-05-01T12:00:00Z", "2026-05-02T12:00:00Z"], "grid": [[1, 9007199254740993]],
			"papers": ["odd", "plain"], "paper": "odd", "slide": {"a.txt": "a", "sub/b;c.txt": "b"}}}`},
		{"free inputs", "../../examples/racetrack/sum_numbers", "/tasks/supersmart", func(b *tab) {
			b.write("#more-inputs", "{\n\"numbers\": [9007199254740993, 0.10, {\"a,b\": [1, \"}\"]}], \"text\": \"5\", \"at\" : \"@@x\", \"no\": null, \"__proto__\": 1e300}")
		}, `{"inputs": {"numbers": [9007199254740993, 0.10, {"a,b": [1, "}"]}], "text": "5", "at": "@@x", "no": null, "__proto__": 1e300}}`},
		{"a body", "", "/tasks/supersmart", func(b *tab) {
			b.write("#body", "@it's\n{\"a\": \"\\u00e9 %s\"}\n")
		}, `{"body": "@it's\n{\"a\": \"\\u00e9 %s\"}\n"}`},
		{"a body from a file", "", "/tasks/supersmart", func(b *tab) {
			b.files("#body-file", files.odd)
		}, `{"bodyFile": "odd"}`},
		{"a JSON body", "../../examples/meca/echo", "/tasks/echo", func(b *tab) {
			b.write("[data-field=input] textarea", `{"a": [1.10, "it's"]}`)
		}, `{"inputs": {"input": {"a": [1.10, "it's"]}}}`},
		{"arguments", "../../examples/iexec/word-count", "/tasks/word-count", func(b *tab) {
			b.write("[data-field=args] textarea", "-n 'a b' \"é\" --x=@y")
		}, `{"inputs": {"args": "-n 'a b' \"é\" --x=@y"}}`},
		{"a use with variables and folders", "../../examples/kaapana/mask-tools", "/tasks/mask-tools?variant=grow", func(b *tab) {
			b.files("[data-field=masks] input", absolute(t, "../../examples/kaapana/mask-tools/data/masks"))
			b.until(`document.querySelectorAll("[data-field=masks] [data-chosen] li").length === 2`)
			b.write("[data-field=RADIUS] [data-control]", "02")
		}, `{"variant": "grow", "inputs": {"RADIUS": "02", "SHAPE": "cross", "masks": {
			"p1/m.mask": "00000\n00000\n00100\n00000\n00000\n", "p2/m.mask": "0000\n0110\n0110\n0000\n"}}}`},
	} {
		t.Run(f.name, func(t *testing.T) {
			b.t = t
			if f.folder != "" {
				b.importFolder(absolute(t, f.folder))
			}
			b.open(f.page)
			f.fill(b)
			b.accessible("form-" + strings.ReplaceAll(f.name, " ", "-"))
			curl, command := b.content("#curl"), b.content("#cli")
			b.click("#submit")
			b.at("/runs/0")
			form := asked(t, s, js[string](b, `location.pathname.split("/")[2]`))
			if diff := cmp.Diff(document(t, f.want), form); diff != "" {
				t.Errorf("the form asks for something else (-want +got):\n%s", diff)
			}
			for name, c := range map[string]string{"curl": curl, "longshore": command} {
				if diff := cmp.Diff(form, asked(t, s, execute(t, s, c, files.dir))); diff != "" {
					t.Errorf("%s asks for something else than the form (-form +%s):\n%s\n%s", name, name, diff, c)
				}
			}
			// The form that starts from that run asks for the same again.
			b.click(`a[href*="?from="]`)
			b.until(`location.search.startsWith("?from=") && document.readyState === "complete" && document.getElementById("cli")?.textContent`)
			b.click("#submit")
			b.at("/runs/0")
			if diff := cmp.Diff(form, asked(t, s, js[string](b, `location.pathname.split("/")[2]`))); diff != "" {
				t.Errorf("changing nothing asks for something else (-first +again):\n%s", diff)
			}
		})
	}
	b.t = t
}

// importFolder brings a package.
func (b *tab) importFolder(folder string) {
	b.t.Helper()
	b.open("/import")
	b.files("#folder", folder)
	b.until(`!document.getElementById("import-actions").hidden`)
	b.click("#keep")
	b.at("/tasks/t")
	b.until(`document.querySelector("form#run, #variant") !== null`)
}

// write sets the text of a field at once, also one of several lines.
func (b *tab) write(selector, text string) {
	b.t.Helper()
	b.do(chromedp.WaitReady(chromedp.CSS(selector)))
	b.choose(selector, text)
}

// content is a text as it is copied.
func (b *tab) content(selector string) string {
	b.t.Helper()
	return js[string](b, fmt.Sprintf(`document.querySelector(%q).textContent`, selector))
}

// unfold opens what is folded.
func (b *tab) unfold(selector string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`document.querySelectorAll(%q).forEach((e) => { e.open = true; })`, selector)))
}

// oddlyNamed are files for forms, in the folder where the commands are executed.
type oddlyNamed struct{ dir, odd, plain, folder string }

func oddFiles(t *testing.T) oddlyNamed {
	t.Helper()
	dir := t.TempDir()
	f := oddlyNamed{dir: dir, odd: filepath.Join(dir, "it's; a,b é.bin"), plain: filepath.Join(dir, "plain.txt"), folder: filepath.Join(dir, "slide")}
	for name, text := range map[string]string{f.odd: "odd", f.plain: "plain", f.folder + "/a.txt": "a", f.folder + "/sub/b;c.txt": "b"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "masks"), os.DirFS("../../examples/kaapana/mask-tools/data/masks")); err != nil {
		t.Fatal(err)
	}
	return f
}

// execute does what the page shows, in a folder, as a caller. It answers the run that there is since then.
func execute(t *testing.T, s *server, command, dir string) string {
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "longshore"), []byte("#!/bin/sh\nexec '"+self+"' command \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	secret := s.token(t, "admin", access.Admin)
	before := newest(t, s, secret)
	c := exec.CommandContext(t.Context(), "sh", "-c", command)
	c.Dir, c.Env = dir, append(os.Environ(), "LONGSHORE_TOKEN="+secret, "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+bin)
	out, err := c.CombinedOutput()
	after := newest(t, s, secret)
	if after == before {
		t.Fatalf("%s\nmade no run: %v\n%s", command, err, out)
	}
	if err := os.RemoveAll(filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	return after
}

// newest is the ID of the run that was submitted last.
func newest(t *testing.T, s *server, secret string) string {
	t.Helper()
	var list struct{ Items []struct{ ID string } }
	if err := json.NewDecoder(s.get(t, secret, "/v1/runs?limit=1").Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) == 0 {
		return ""
	}
	return list.Items[0].ID
}

// asked is what a run was asked for, with files by their content, whatever they were called on the way.
func asked(t *testing.T, s *server, run string) map[string]any {
	t.Helper()
	secret := s.token(t, "admin", access.Admin)
	body := s.get(t, secret, "/v1/runs/"+run+"/request").Body
	var b bytes.Buffer
	if _, err := b.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	request := document(t, b.String())
	files, _ := request["files"].(map[string]any)
	var named func(v any) any
	named = func(v any) any {
		switch v := v.(type) {
		case string:
			if f, ok := files[strings.TrimPrefix(v, "@")].(map[string]any); ok && strings.HasPrefix(v, "@") {
				return contentOf(t, s, f)
			}
		case []any:
			for i := range v {
				v[i] = named(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = named(v[k])
			}
		}
		return v
	}
	named(request["inputs"])
	if name, ok := request["bodyFile"].(string); ok {
		request["bodyFile"] = named("@" + name)
	}
	delete(request, "files")
	delete(request, "task")
	return request
}

// contentOf is what an uploaded file holds, or the files of a folder.
func contentOf(t *testing.T, s *server, ref map[string]any) any {
	t.Helper()
	read := func(digest any) string {
		r, _, err := s.Blobs.Open(t.Context(), fmt.Sprint(digest))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	entries, folder := ref["entries"].([]any)
	if !folder {
		return read(ref["digest"])
	}
	all := map[string]any{}
	for _, e := range entries {
		if e := e.(map[string]any); e["digest"] != nil {
			all[fmt.Sprint(e["path"])] = read(e["digest"])
		}
	}
	return all
}

// document reads a JSON object, numbers as they were written.
func document(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

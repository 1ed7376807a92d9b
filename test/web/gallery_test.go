package web_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"longshore/internal/access"
)

// hostile is what is put wherever a stranger may write.
const hostile = `"><img src=x onerror="stolen=1"><script>stolen=1</script>{{7*7}}`

// galleryPackage is testdata/gallery with files that are made here.
func galleryPackage(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "gallery")
	if err := os.CopyFS(dir, os.DirFS("testdata/gallery")); err != nil {
		t.Fatal(err)
	}
	rows := "name,value\n\"quoted, \"\"so\"\"\",1\n<b>x</b>,2\n" + strings.Repeat("r,3\n", 100_000)
	big := `{"exact":12345678901234567890,"deep":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `,"rows":[` + strings.Repeat(`{"a":1},`, 400_000) + `0]}`
	var wave bytes.Buffer
	samples := make([]byte, 8000)
	wave.WriteString("RIFF")
	_ = binary.Write(&wave, binary.LittleEndian, uint32(36+len(samples))) // a buffer takes everything
	wave.WriteString("WAVEfmt ")
	_ = binary.Write(&wave, binary.LittleEndian, []uint16{16, 0, 1, 1, 8000, 0, 8000, 0, 1, 8})
	wave.WriteString("data")
	_ = binary.Write(&wave, binary.LittleEndian, uint32(len(samples)))
	wave.Write(samples)
	script := `<script xmlns="http://www.w3.org/1999/xhtml">stolen=1</script>`
	for name, text := range map[string]string{
		"01.csv": rows, "02.tsv": "a\tb\n1\t<i>2</i>\n", "03.json": big, "04.wav": wave.String(), "05.tif": "II*\x00\x08\x00\x00\x00" + string(make([]byte, 64)),
		"06.geojson": `{"type":"Feature","properties":{"name":"</title><script>stolen=1</script>"},"geometry":{"type":"Point","coordinates":[1,2]}}`,
		"07.svg":     `<svg xmlns="http://www.w3.org/2000/svg" onload="stolen=1">` + script + `</svg>`,
		"08.html":    `<!doctype html>` + script, "09.xml": `<?xml version="1.0"?><x>` + script + `</x>`, "10.pdf": "%PDF-1.4\n\xff\x00", "11.csv": "BMI;age\n21,5;40\n",
		"99<img src=x onerror='stolen=1'>.txt": "named", "quoted.csv": "a,b\n1,2\n",
	} {
		file := filepath.Join(dir, "files", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGallery: every form of output, logs of every kind, a server that is started again while somebody looks, and what strangers could
// try to make of it.
func TestGallery(t *testing.T) {
	s := startServer(t)
	browser := startBrowser(t)
	b := openTab(browser, t, s)
	b.do(chromedp.Navigate(s.edge.LoginLink()))
	b.at("/")
	b.importFolder(galleryPackage(t))
	story := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			b.t = t
			f(t)
			if js[bool](b, `typeof stolen !== "undefined" || document.title === "stolen"`) {
				t.Error("a stranger's script was executed")
			}
		})
		b.t = t
	}
	run := func(argument string) {
		b.open("/tasks/gallery")
		b.write("[data-field=args] textarea", argument)
		b.unfold("#run details")
		b.write("#labels", "note="+hostile)
		b.click("#submit")
		b.at("/runs/0")
	}
	ended := `document.getElementById("run-head").dataset.state === "succeeded" && "whole" in document.getElementById("log").dataset`
	var page string
	story("outputs", func(t *testing.T) {
		run(hostile)
		b.until(ended)
		page = js[string](b, `location.pathname`)
		b.has("#run-outputs", "quoted, \"so\"", "<b>x</b>", "<i>2</i>", "12345678901234567890", "This is a TIFF image", "deep", "21,5", "Only the beginning is shown.")
		b.has("main", hostile)
		if got := js[string](b, `document.querySelector(".shapes title").textContent`); !strings.Contains(got, "</title><script>") {
			t.Errorf("the properties of a shape are %s", got)
		}
		b.until(`document.querySelector("#run-outputs audio").duration === 1`)
		b.accessible("gallery")
		for _, file := range []string{"08.html", "09.xml", "10.pdf", "clip.webm", "99<img src=x onerror='stolen=1'>.txt"} {
			link := fmt.Sprintf(`[...document.querySelectorAll("#run-outputs a")].find((a) => decodeURIComponent(a.pathname).endsWith(%q))`, file)
			address := js[string](b, link+`.pathname.replace("/file/", "/view/")`)
			b.open(address)
			if file == "clip.webm" {
				b.until(`document.querySelector("video").videoWidth === 32`)
			}
			b.open(page)
		}
	})
	story("files are never pages", func(t *testing.T) {
		secret := s.token(t, "admin", access.Admin)
		names := js[[]string](b, `[...document.querySelectorAll("#run-outputs a")].map((a) => decodeURIComponent(a.pathname.replace(/^.*\/outputs\/(file|view)\//, "")))`)
		if len(names) < 10 {
			t.Fatalf("only %q are linked", names)
		}
		for _, name := range names {
			for _, way := range []string{page + "/outputs/file/", "/v1" + page + "/outputs/"} {
				h := s.get(t, secret, way+strings.ReplaceAll(url.PathEscape(name), "%2F", "/")).Header
				kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
				for _, active := range []string{"html", "svg", "xml", "pdf", "javascript"} {
					if strings.Contains(kind, active) {
						t.Errorf("%s%s is served as %s", way, name, kind)
					}
				}
				if !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || h.Get("X-Content-Type-Options") != "nosniff" ||
					h.Get("Cross-Origin-Resource-Policy") != "same-origin" {
					t.Errorf("%s%s is served without its sandbox: %v", way, name, h)
				}
			}
		}
	})
	story("log", func(t *testing.T) {
		b.open(page)
		b.until(ended)
		b.has("#log", "red bold plain blue", "still blue", "split é and green", "100%", "bytes ␀␁� end", `<img src=x onerror="stolen=1">`)
		for selector, text := range map[string]string{
			".ansi-1": "red ", ".ansi-1.bold": "bold", ".ansi-4": "blue", ".ansi-2": "green",
		} {
			if got := js[string](b, fmt.Sprintf(`[...document.querySelectorAll("#log %s")].map((e) => e.textContent).join("|")`, selector)); !strings.Contains(got, text) {
				t.Errorf("%s is %q, want %q", selector, got, text)
			}
		}
		if strings.Contains(b.text("#log"), "10%\r") || strings.Contains(b.text("#log"), "20%") {
			t.Error("what was overwritten is shown")
		}
		b.fill("#log-search", "red bold") // over a change of colour
		b.until(`document.getElementById("log-hits").textContent === "1 of 1"`)
	})
	story("a log of 64 MB", func(t *testing.T) {
		run("much")
		b.until(ended)
		b.has("#log", "earlier lines are in the download", "all work and no play", "this line goes on in the download")
		b.fill("#log-search", "no play")
		b.until(`/^1 of \d+\+/.test(document.getElementById("log-hits").textContent)`)
	})
	story("the server is started again", func(t *testing.T) {
		for _, part := range []string{"ERR_", "503", "502"} {
			b.expect(part) // connections that are lost
		}
		run("slow")
		b.until(`document.getElementById("log").innerText.includes("tick 5")`)
		address := strings.TrimPrefix(s.URL, "http://")
		s.stop(t)
		s.start(t, address)
		b.until(ended)
		got := js[string](b, `document.getElementById("log").innerText`)
		at := 0
		for n := 1; n <= 40; n++ {
			tick := fmt.Sprintf("tick %d\n", n)
			if strings.Count("\n"+got, "\n"+tick) != 1 || strings.Index(got, tick) < at {
				t.Errorf("%q is not there once, in its place:\n%s", tick, got)
			}
			at = strings.Index(got, tick)
		}
		b.has("#run-outputs", "quoted")
	})
	story("a session that ended", func(t *testing.T) {
		b.expect("401")
		b.open("/runs")
		b.do(chromedp.Evaluate[chromedp.Void](`fetch("/logout", { method: "POST" })`))
		b.until(`document.querySelector("h1")?.textContent === "Sign in"`) // the list notices by itself
	})
}

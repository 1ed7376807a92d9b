package web_test

import (
	"archive/zip"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestImport: packages are dropped in every form; uploads can be given up; and who follows a link from elsewhere need not sign in again.
func TestImport(t *testing.T) {
	s := startServer(t)
	browser := startBrowser(t)
	b := openTab(browser, t, s)
	b.do(chromedp.Navigate(s.edge.LoginLink()))
	b.at("/")
	story := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			b.t = t
			f(t)
		})
		b.t = t
	}
	survey := absolute(t, "testdata/survey")
	for name, paths := range map[string][]string{
		"a folder":      {survey},
		"an archive":    {zipped(t, survey)},
		"several files": {filepath.Join(survey, "descriptor.yml"), filepath.Join(survey, "Dockerfile"), filepath.Join(survey, "survey.sh")},
	} {
		story(name, func(t *testing.T) {
			b.open("/import")
			b.drop("#drop", paths...)
			b.until(`!document.getElementById("import-actions").hidden`)
			b.has("#import-result", "It can be imported", "cytomine", "threshold")
			if js[bool](b, `document.querySelector(".over") !== null`) {
				t.Error("the place still looks as if something were held over it")
			}
		})
	}
	story("beside the place", func(t *testing.T) {
		b.open("/import")
		b.drop("h1", filepath.Join(survey, "descriptor.yml"))
		b.has("h1", "Import a task") // the browser does not leave for the file
	})
	story("an upload is given up", func(t *testing.T) {
		b.expect("ERR_ABORTED")
		b.open("/import")
		b.slow(200_000)
		b.files("#file", huge(t))
		b.until(`/^Uploading huge.zip: .* of 3 GiB$/.test(document.getElementById("import-progress").textContent)`)
		b.click("#import-cancel")
		b.until(`document.getElementById("import-progress").textContent === "The upload was cancelled; nothing was kept."`)
		b.until(`document.getElementById("import-cancel").hidden`)
		b.files("#file", zipped(t, survey)) // another begins at once
		b.slow(0)
		b.until(`!document.getElementById("import-actions").hidden`)
		b.click("#keep")
		b.at("/tasks/t")
	})
	story("the files of a run are given up", func(t *testing.T) {
		b.open("/tasks/harbour-survey")
		b.slow(200_000)
		b.files("[data-field=picture] input", huge(t))
		b.click("#submit")
		b.until(`/^Uploading: .* of 3 GiB$/.test(document.getElementById("submit-progress").textContent)`)
		b.click("#submit-cancel")
		b.until(`document.getElementById("submit-progress").textContent.startsWith("The upload was cancelled")`)
		b.slow(0)
		b.until(`!document.getElementById("submit").disabled`)
	})
	story("a link from another site", func(t *testing.T) {
		for _, part := range []string{"a request left the server", "401", "404"} {
			b.expect(part)
		}
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`<!doctype html><main><h1>Elsewhere</h1><a id="go" href="` + s.URL + `/runs?state=failed">a run</a></main>`))
		}))
		defer other.Close()
		b.do(chromedp.Navigate(strings.Replace(other.URL, "127.0.0.1", "localhost", 1)))
		b.click("#go")
		b.until(`document.querySelector("h1")?.textContent === "Runs" && location.search === "?state=failed"`)
	})
}

// drop drops files and folders of this machine onto an element.
func (b *tab) drop(selector string, paths ...string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS(selector)))
	at := js[[]float64](b, `(() => { const r = document.querySelector("`+selector+`").getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()`)
	data := &input.DragData{Items: []*input.DragDataItem{}, Files: paths, DragOperationsMask: 1}
	for _, kind := range []input.DispatchDragEventType{"dragEnter", "dragOver", "drop"} {
		b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, input.DispatchDragEvent, input.DispatchDragEventParams{Type: kind, X: at[0], Y: at[1], Data: data})
			return err
		}))
	}
}

// slow bounds how fast the tab sends, in bytes per second; 0 takes the bound away.
func (b *tab) slow(rate float64) {
	b.t.Helper()
	if rate == 0 {
		rate = -1
	}
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
			MatchedNetworkConditions: []*network.Conditions{{DownloadThroughput: -1, UploadThroughput: rate}},
		})
		return err
	}))
}

// zipped is an archive of a folder.
func zipped(t *testing.T, folder string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "survey.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	if err := w.AddFS(os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// huge is a file of 3 GiB that takes no room.
func huge(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "huge.zip")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 3<<30); err != nil {
		t.Fatal(err)
	}
	return name
}

package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"longshore/internal/access"
)

// TestPage is one server and one browser, through which the stories go in order: each finds what those before it left.
func TestPage(t *testing.T) {
	s := startServer(t)
	browser := startBrowser(t)
	story := func(name string, f func(t *testing.T, b *tab)) {
		t.Run(name, func(t *testing.T) { f(t, openTab(browser, t, s)) })
		if t.Failed() {
			t.FailNow()
		}
	}
	picture := drawPicture(t)
	story("sign in", func(t *testing.T, b *tab) {
		b.expect("401")
		b.open("/")
		b.has("main", "Sign in", "longshore serve")
		b.accessible("sign-in")
		b.expect("lsk_") // refused tokens are answered with an error
		b.fill("#token", "lsk_wrong")
		b.click("main button")
		b.until(`!document.getElementById("signin-problem").hidden`)
		b.has("#signin-problem", "token")
		b.do(chromedp.Navigate(s.edge.LoginLink()))
		b.at("/")
		b.has("main", "There are no tasks yet", "Import the first task")
		b.has("header", "admin")
		b.accessible("tasks-empty")
		b.open("/runs")
		b.has("main", "There are no runs yet")
		b.open("/usage")
		b.has("main", "Nothing was used yet")
	})
	story("import", func(t *testing.T, b *tab) {
		b.expect("422") // the answer for a package that cannot be used
		b.open("/import")
		b.accessible("import")
		b.click("#look")
		b.until(`!document.getElementById("import-result").hidden`)
		b.has("#import-result", "Nothing is chosen yet")

		b.files("#folder", absolute(t, "testdata/broken"))
		b.until(`document.querySelectorAll(".finding").length > 0`)
		b.has("#import-result", "cannot be imported", "descriptor.yml:", "integr", "Mend:")
		b.accessible("import-findings")

		b.files("#folder", absolute(t, "testdata/survey"))
		b.until(`!document.getElementById("import-actions").hidden`)
		b.has("#import-result", "It can be imported", "cytomine", "threshold")
		b.click("#keep")
		b.at("/tasks/t")
		b.has("main", "harbour-survey", "aerial picture", "1.2.0")
	})
	story("import a file by dropping it", func(t *testing.T, b *tab) {
		b.open("/import")
		b.do(chromedp.Evaluate[chromedp.Void](`{
			const t = new DataTransfer();
			t.items.add(new File(["not a package"], "notes.txt"));
			document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: t, bubbles: true, cancelable: true }));
		}`))
		b.expect("422")
		b.expect("404")
		b.until(`!document.getElementById("import-result").hidden`)
		b.has("#import-result", "cannot be imported")
	})
	story("import by name", func(t *testing.T, b *tab) {
		for _, example := range []string{"meca/echo", "kaapana/mask-tools", "iexec/word-count", "racetrack/sum_numbers"} {
			b.open("/import")
			b.files("#folder", absolute(t, "../../examples/"+example))
			b.until(`!document.getElementById("import-actions").hidden`)
			b.click("#keep")
			b.at("/tasks/t")
			b.until(`document.querySelector("form#run, #variant") !== null`)
		}
	})
	story("catalogue", func(t *testing.T, b *tab) {
		b.open("/")
		b.has("#tasks", "survey", "cytomine", "picture", "image", "outline", "meca", "kaapana", "iexec", "racetrack")
		b.accessible("tasks")
		b.fill("#search", "aerial")
		b.keys(kb.Enter)
		b.until(`location.search === "?search=aerial" && document.readyState === "complete"`)
		b.has("#tasks", "survey")
		b.open("/?search=nothing-like-it")
		b.has("main", "No task is like that")
	})
	story("run", func(t *testing.T, b *tab) {
		b.open("/tasks/harbour-survey")
		b.accessible("task")
		b.has("[data-field=threshold]", "Threshold", "at least 0, at most 255", "128")
		b.has("#cli", "longshore run harbour-survey:1.2.0", "-i threshold=128", "--server "+s.URL)
		// What is missing is said at its field, which gets the focus.
		b.click("#submit")
		b.until(`document.activeElement.matches("[data-field=picture] input")`)
		b.has("[data-field=picture] .problem", "Choose or drop a file.")

		b.files("[data-field=picture] input", picture)
		b.fill("[data-field=threshold] input", "300")
		b.click("#submit")
		b.until(`document.activeElement.matches("[data-field=threshold] input")`)
		b.has("[data-field=threshold] .problem", "255")
		b.fill("[data-field=threshold] input", "99")
		b.choose("[data-field=mode] select", "cranes")
		b.fill("[data-field=heading] textarea", "@harbour it's")
		b.fill("[data-field=taken] input", "2026-05-01T12:00:00Z")
		b.fill("[data-field=region] textarea", `{"type":"Point","coordinates":[1,2]}`)
		b.click("[data-field=invert] input")
		b.click("[data-field=berths] [data-add]")
		b.keys("3")
		b.click("[data-field=berths] [data-add]")
		b.keys("4")
		b.fill("[data-field=seconds] input", "3")
		b.has("#cli", "-i threshold=99", "-i mode=cranes", `'heading=@@harbour it'\''s'`, "-i 'berths=[3, 4]'", "-i picture=@harbour.png")
		b.has("#curl", `"berths": [3, 4]`, "-F picture=@harbour.png", `"invert": true`)
		b.size(1280, 900)
		b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("run-heading").scrollIntoView()`))
		b.screenshot("form")
		shell(t, s, b.text("#curl"), filepath.Dir(picture)) // the command does what it says
		b.click("#submit")
		b.at("/runs/0")
		b.has("#run-head", "harbour-survey")
		b.until(`document.getElementById("run-head").dataset.state === "running"`)
		b.until(`document.getElementById("log").innerText.includes("berth 2: 2 found")`)
		b.until(`document.getElementById("run-head").dataset.state === "succeeded"`)
		b.until(`document.getElementById("announce").textContent === "The run is succeeded."`)
		b.until(`document.querySelectorAll(".chart").length === 2`)
		b.has("#run-course", "preparing", "running", "CPU", "Memory")

		// Outputs, each in its form.
		b.until(`document.querySelector("#run-outputs .picture img").naturalWidth === 320`)
		b.has("#run-outputs", "copy", "7 found", "berth", "14.5", "Doe^Jane", "Patient's Name", "12345678901234567890", "Ørsted", "<b>61</b>")
		b.until(`document.querySelector(".drawing svg image") !== null && document.querySelectorAll(".shapes path").length === 1`)
		b.click("[data-flip]")
		b.until(`document.querySelector(".shapes").getAttribute("transform").startsWith("matrix(1 0 0 -1")`)
		b.has("#run-outputs", "<script>document.title") // shown, not executed
		b.until(`document.title !== "stolen"`)
		b.has("main", "@harbour it's", "cranes")
		b.accessible("run")
		b.size(1280, 1150)
		b.do(chromedp.Evaluate[chromedp.Void](`scrollTo(0, 0)`))
		b.screenshot("run-whole")
	})
	story("folders and variants", func(t *testing.T, b *tab) {
		b.open("/tasks/mask-tools")
		b.has("main", "This package has several uses")
		b.choose("#variant", "grow")
		b.until(`document.querySelector("[data-field=LICENCE] input")?.readOnly`) // fixed by the author
		b.has("[data-field=LICENCE]", "fixed", "variable")
		b.until(`document.querySelector("[data-field=RADIUS] input[data-control]").value === "1"`)
		b.has("#cli", "--template grow", "-i RADIUS=1")
		b.accessible("variant")
		b.choose("#variant", "count")
		b.until(`document.querySelector("[data-field=LABEL] select") !== null && document.readyState === "complete"`)
		b.files("[data-field=masks] input", absolute(t, "../../examples/kaapana/mask-tools/data/masks"))
		b.until(`document.querySelectorAll("[data-field=masks] [data-chosen] li").length === 2`)
		b.has("#curl", "-F masks/p1/m.mask=@masks/p1/m.mask")
		b.click("#submit")
		b.at("/runs/0")
		b.until(`document.getElementById("run-head").dataset.state === "succeeded"`)
		b.until(`document.querySelectorAll("#run-outputs .preview").length === 2`)
		b.has("#run-outputs", "p1/count.txt", "p2/count.txt")
		b.has("main", "p1/m.mask")
	})
	story("log", func(t *testing.T, b *tab) {
		b.open("/runs?task=harbour-survey")
		b.click("#runs tbody a")
		b.until(`"whole" in (document.getElementById("log")?.dataset || {})`)
		b.fill("#log-search", "FOUND")
		b.until(`document.getElementById("log-hits").textContent === "1 of 3"`)
		b.keys(kb.Enter)
		b.until(`document.getElementById("log-hits").textContent === "2 of 3"`)
		b.click("#log-previous")
		b.until(`document.querySelector("#log mark.current").closest(".line").innerText.includes("berth 1")`)
		b.fill("#log-search", "georeferenced")
		b.until(`document.getElementById("log-hits").textContent === "1 of 1" && document.querySelector("#log .stderr mark") !== null`)
		b.click("#log-stderr")
		b.until(`document.getElementById("log-hits").textContent === "nothing found"`)
		b.click("#log-times")
		b.until(`/\d\d:\d\d:\d\d\.\d\d\d/.test(document.getElementById("log").innerText)`)
	})
	story("cancel", func(t *testing.T, b *tab) {
		b.open("/runs?task=harbour-survey")
		b.click("#runs tbody a")
		b.at("/runs/0")
		b.click(`a[href*="?from="]`)
		b.until(`location.search.startsWith("?from=") && document.readyState === "complete"`)
		b.has("[data-field=picture]", "used again")
		b.until(`document.querySelector("[data-field=heading] textarea").value === "@harbour it's"`)
		b.until(`document.querySelector("[data-field=invert] input").checked && document.querySelectorAll("[data-field=berths] .row").length === 2`)
		b.fill("[data-field=seconds] input", "600")
		b.click("#submit")
		b.at("/runs/0")
		b.until(`document.getElementById("log").innerText.includes("berth 1: 2 found")`)
		b.click("#log-pause")
		b.until(`document.getElementById("log-pause").getAttribute("aria-pressed") === "true"`)
		b.screenshot("run-live")
		b.click("#cancel")
		b.until(`document.getElementById("run-head").dataset.state === "cancelled"`)
		b.click("#again") // a new run, with the same files
		b.until(`document.getElementById("run-head").dataset.state !== "cancelled" && document.getElementById("cancel") !== null`)
		b.click("#cancel")
		b.until(`document.getElementById("run-head").dataset.state === "cancelled"`)
	})
	story("failure", func(t *testing.T, b *tab) {
		b.open("/tasks/harbour-survey")
		b.files("[data-field=picture] input", picture)
		b.fill("[data-field=threshold] input", "255")
		b.click("#submit")
		b.at("/runs/0")
		b.until(`document.getElementById("run-head").dataset.state === "failed"`)
		b.has("#run-why", "Why it failed: exit", "What to do:", "nothing can be brighter than 255")
		b.accessible("run-failed")
	})
	story("list", func(t *testing.T, b *tab) {
		b.open("/runs")
		b.has("#runs", "succeeded", "failed", "exit", "cancelled", "admin")
		b.accessible("runs")
		b.choose("#state", "failed")
		b.until(`location.search === "?state=failed" && document.readyState === "complete"`)
		b.until(`document.querySelectorAll("#runs tbody tr").length === 1`)
		b.open("/runs?label=nothing%3Dlike")
		b.has("main", "No run is like that")
		// A run that is submitted meanwhile appears by itself.
		b.open("/runs")
		n := js[int](b, `document.querySelectorAll("#runs tbody tr").length`)
		retry(t, s, s.token(t, "admin", access.Admin))
		b.until(fmt.Sprintf(`document.querySelectorAll("#runs tbody tr").length === %d`, n+1))
	})
	story("usage and system", func(t *testing.T, b *tab) {
		b.open("/usage")
		b.has("main", "harbour-survey", "Together", "admin")
		b.accessible("usage")
		b.open("/system")
		b.has("main", "Capacity", "Memory claimed", "Servers", "test", "Disk for files", "left nothing on this machine")
		b.accessible("system")
		b.open("/audit")
		b.has("main", "run.submit", "task.import")
		b.accessible("audit")
	})
	story("tokens", func(t *testing.T, b *tab) {
		b.open("/access")
		b.fill("#token-account", "ada")
		b.fill("#token-name", "laptop")
		b.click("#token-form button")
		b.until(`document.getElementById("secret").textContent.startsWith("lsk_")`)
		b.accessible("access")
		b.has("#tokens", "ada", "laptop", "caller")
		b.click(`[aria-label="Revoke the token laptop of ada"]`)
		b.until(`/laptop[^]*revoked/.test(document.getElementById("tokens").innerText)`)
	})
	story("keyboard", func(t *testing.T, b *tab) { walk(t, b, picture) })
	story("errors", func(t *testing.T, b *tab) {
		b.expect("404")
		b.expect("400")
		b.open("/runs/00000000000000000000")
		b.has("main", "There is no run 00000000000000000000", "What to do:")
		b.accessible("error")
		b.open("/tasks/nothing")
		b.has("main", "There is no task")
		b.open("/no/such/page")
		b.has("main", "There is no such page")
		b.open("/usage?since=yesterday")
		b.has("main", "is no day")
	})
	t.Run("others", func(t *testing.T) { others(t, s) })
	story("sign out", func(t *testing.T, b *tab) {
		b.expect("401")
		b.open("/")
		b.click(`form[action="/logout"] button`)
		b.until(`document.querySelector("h1")?.textContent === "Sign in"`)
		b.fill("#token", s.token(t, "ada", access.Reader))
		b.keys(kb.Enter)
		b.until(`document.querySelector("h1")?.textContent === "Tasks"`)
		b.has("header", "ada")
		b.open("/runs")
		b.has("main", "There are no runs yet") // they are others'
		b.expect("403")
		b.open("/system")
		b.has("main", "for operators")
	})
}

// walk goes the main way with nothing but a keyboard: from the catalogue to a task, through its form, to the end of the run.
func walk(t *testing.T, b *tab, picture string) {
	b.open("/")
	b.keys(kb.Tab)
	b.until(`document.activeElement.textContent === "Skip to the content"`)
	b.keys(kb.Enter)
	b.tabTo(`document.activeElement.matches("#tasks h2 a[href$=harbour-survey]")`)
	b.keys(kb.Enter)
	b.at("/tasks/harbour-survey")
	b.tabTo(`document.activeElement.matches("[data-field=picture] input")`)
	b.files("[data-field=picture] input", picture) // the dialog is the system's
	b.tabTo(`document.activeElement.matches("[data-field=threshold] input")`)
	b.keys("7")
	b.tabTo(`document.activeElement.matches("[data-field=invert] input")`)
	b.keys(" ")
	b.tabTo(`document.activeElement.id === "submit"`)
	b.keys(kb.Enter)
	b.at("/runs/0")
	b.until(`document.getElementById("run-head").dataset.state === "succeeded"`)
	b.tabTo(`document.activeElement.id === "log"`)
}

// tabTo presses the tabulator until a condition holds.
func (b *tab) tabTo(condition string) {
	b.t.Helper()
	for range 80 {
		b.keys(kb.Tab)
		if js[bool](b, condition) {
			return
		}
	}
	b.t.Fatalf("the keyboard does not get where %s", condition)
}

// others checks what there is for those who did not submit a run, and that its files can do no harm.
func others(t *testing.T, s *server) {
	admin, ada := s.token(t, "admin", access.Admin), s.token(t, "ada", access.Caller)
	run := latest(t, s, admin, "succeeded")
	for _, path := range []string{"/runs/" + run, "/runs/" + run + "/outputs/file/summary", "/runs/" + run + "/inputs/view/picture", "/tasks/harbour-survey?from=" + run} {
		if got := s.get(t, ada, path).StatusCode; got != http.StatusNotFound {
			t.Errorf("GET %s for another account: %d, want 404", path, got)
		}
		if got := s.get(t, "", path).StatusCode; got != http.StatusUnauthorized {
			t.Errorf("GET %s for nobody: %d, want 401", path, got)
		}
		if got := s.get(t, admin, path).StatusCode; got != http.StatusOK {
			t.Errorf("GET %s for the owner: %d, want 200", path, got)
		}
	}
	for _, path := range []string{"/system", "/access", "/audit"} {
		if got := s.get(t, ada, path).StatusCode; got != http.StatusForbidden {
			t.Errorf("GET %s for a caller: %d, want 403", path, got)
		}
	}
	page := s.get(t, admin, "/runs/"+run+"/outputs/file/page")
	h := page.Header
	if h.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") ||
		!strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("a page that a container wrote is served as one: %v", h)
	}
	part, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/runs/"+run+"/outputs/file/copy", nil)
	if err != nil {
		t.Fatal(err)
	}
	part.Header.Set("Authorization", "Bearer "+admin)
	part.Header.Set("Range", "bytes=1-3")
	answer, err := http.DefaultTransport.RoundTrip(part)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if data, err := io.ReadAll(answer.Body); err != nil || string(data) != "PNG" || answer.StatusCode != http.StatusPartialContent {
		t.Errorf("bytes 1-3 of a picture: %q, %d, %v", data, answer.StatusCode, err)
	}
	policy := s.get(t, admin, "/").Header.Get("Content-Security-Policy")
	for _, loose := range []string{"unsafe", "http:", "https:", "*", "data:"} {
		if strings.Contains(policy, loose) {
			t.Errorf("the policy of pages allows %s: %s", loose, policy)
		}
	}
}

// latest is the ID of the last run in that state.
func latest(t *testing.T, s *server, secret, state string) string {
	t.Helper()
	var list struct {
		Items []struct{ ID string }
		Runs  []struct{ ID string }
	}
	if err := json.NewDecoder(s.get(t, secret, "/v1/runs?state="+state).Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	all := append(list.Items, list.Runs...)
	if len(all) == 0 {
		t.Fatalf("there is no run that is %s", state)
	}
	return all[0].ID
}

// retry submits the last run that succeeded again.
func retry(t *testing.T, s *server, secret string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/runs/"+latest(t, s, secret, "succeeded")+"/retry", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		data, _ := io.ReadAll(answer.Body)
		t.Fatalf("a run cannot be submitted again: %d %s", answer.StatusCode, data)
	}
}

// shell does in a folder what the page shows, as a caller.
func shell(t *testing.T, s *server, command, dir string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(command, "curl ", "curl -sS --fail-with-body ", 1))
	c.Dir, c.Env = dir, append(os.Environ(), "LONGSHORE_TOKEN="+s.token(t, "admin", access.Caller))
	out, err := c.CombinedOutput()
	var run struct{ ID string }
	if err != nil || json.Unmarshal(out, &run) != nil || run.ID == "" {
		t.Fatalf("%s\n%v: %s", command, err, out)
	}
}

// absolute is a path for the browser.
func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// drawPicture makes a picture of a harbour, more or less.
func drawPicture(t *testing.T) string {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 320, 200))
	for y := range 200 {
		for x := range 320 {
			c := color.RGBA{uint8(30 + y/8), uint8(80 + y/4), uint8(120 + x/8), 255}
			if x > 60 && x < 200 && y > 40 && y < 150 && (x/24+y/18)%2 == 0 {
				c = color.RGBA{uint8(160 + x/4), uint8(90 + y/3), 60, 255}
			}
			m.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "harbour.png")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

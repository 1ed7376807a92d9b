package web

import (
	"fmt"
	"hash/crc32"
	"html/template"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"longshore/internal/task"
)

// parse reads the templates: each page fills the layout's "content".
func (s *site) parse() map[string]*template.Template {
	shared := template.New("").Funcs(s.funcs())
	template.Must(shared.ParseFS(templateFiles, "templates/layout.html", "templates/parts.html", "templates/preview.html", "templates/form.html"))
	names, err := fs.Glob(templateFiles, "templates/page_*.html")
	if err != nil {
		panic("web: " + err.Error()) // a fault in the pattern
	}
	pages := map[string]*template.Template{}
	for _, file := range names {
		t := template.Must(template.Must(shared.Clone()).ParseFS(templateFiles, file))
		pages[strings.TrimSuffix(strings.TrimPrefix(path.Base(file), "page_"), ".html")] = t
	}
	return pages
}

func (s *site) funcs() template.FuncMap {
	return template.FuncMap{
		"bytes":    func(n any) string { return amount(n).String() },
		"ago":      func(t time.Time) string { return ago(s.cfg.Now().Sub(t)) },
		"stamp":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"when":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"span":     span,
		"seconds":  func(f float64) string { return span(time.Duration(f * float64(time.Second))) },
		"hue":      hue,
		"short":    func(s string) string { return clip(s, 12) },
		"clip":     func(n int, s string) string { return clip(s, n) },
		"segments": segments,
		"sentence": sentence,
		"item":     item,
		"list":     func(names []string) string { return written(names) },
	}
}

// amount is any whole number of bytes.
func amount(n any) task.Bytes {
	switch n := n.(type) {
	case task.Bytes:
		return n
	case int64:
		return task.Bytes(n)
	case int:
		return task.Bytes(n)
	}
	return 0
}

// ago tells people how long something is past.
func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// span tells people how long something takes.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// hues is how many colours of badges the style has.
const hues = 8

// hue is the colour of a badge, the same for the same word everywhere.
func hue(word string) int { return int(crc32.ChecksumIEEE([]byte(word)) % hues) }

// clip shortens a text for a line.
func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}

// segments escapes a path for an address, element by element.
func segments(p string) string {
	parts := strings.Split(p, "/")
	for i, e := range parts {
		parts[i] = url.PathEscape(e)
	}
	return strings.Join(parts, "/")
}

// plainWord is a first word that may be written large: no identifier, no quotation.
var plainWord = regexp.MustCompile(`^[a-z]+[ ,]`)

// sentence makes a message of an error a sentence.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	if plainWord.MatchString(s) {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "\n") {
		s += "."
	}
	return s
}

// item is the field of one item of an array: without a name of its own, and with its place in its ID.
func item(f field, i int, value string) field {
	one := *f.Item
	one.ID, one.Title, one.Value, one.Given, one.Fixed, one.Required = fmt.Sprintf("%s-%d", f.ID, i), f.Title, value, true, f.Fixed, true
	one.Of = f.ID
	if i < 0 {
		one.ID, one.Required = f.ID, f.Required
	}
	return one
}

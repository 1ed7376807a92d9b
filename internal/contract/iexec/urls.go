package iexec

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"

	"longshore/internal/contract"
)

// fileNameOf is the last segment of the URL's decoded path, "" when it cannot be a file's name. Query and fragment do not
// enter it.
func fileNameOf(u *url.URL) string {
	name := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	if name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "\x00\\") {
		return ""
	}
	return name
}

// hashName is the name that workers from 8.6 on give an input file.
func hashName(url string) string {
	sum := sha256.Sum256([]byte(url))
	return "0x" + hex.EncodeToString(sum[:])
}

// legacyURL checks a dirinuri.
func (l *loader) legacyURL(at contract.At, text string) (remote, bool) {
	u, err := url.Parse(text)
	scheme := ""
	if err == nil {
		scheme = strings.ToLower(u.Scheme)
	}
	switch {
	case err != nil, scheme == "", u.Host == "" && scheme != "file":
		l.add(ruleURLForm, at, "write an absolute URL such as https://example.com/small.mp4, or leave it out",
			"dirinuri %q has no scheme or host (upstream drops the whole order)", shorten(text))
		return remote{}, false
	}
	name := fileNameOf(u)
	switch {
	case name == "":
		l.add(ruleURLName, at, "write the URL of one file", "dirinuri %q has no file name", shorten(text))
		return remote{}, false
	case name == "Dockerfile":
		l.add(ruleDockerfile, at, "give the file another name", "Dockerfile is not supported in the input directory")
		return remote{}, false
	}
	if problem := schemeProblem(scheme, l.opts.Own); problem != "" {
		l.add(ruleURLScheme, at, "give a http(s) URL, or a local file with -i in=@FILE", "%s", problem)
	}
	return remote{URL: text, Name: name}, true
}

// schemeProblem says why a URL of that scheme is not fetched, "" when it can be. own tells that the manifest is the
// caller's own.
func schemeProblem(scheme string, own bool) string {
	switch strings.ToLower(scheme) {
	case "http", "https":
		return ""
	case "xw":
		return "xw:// names a file on an XtremWeb scheduler that no longer exists; give a http(s) URL or a local file"
	case "file":
		if own {
			return ""
		}
		return "file: URLs of a manifest are read on the author's own machine only; give a http(s) URL or a local file"
	}
	return scheme + ": URLs are not fetched; give a http(s) URL or a local file"
}

// laterURL checks a URL of an input file from v3 on.
func laterURL(text string) (remote, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Scheme, "http") && !strings.EqualFold(u.Scheme, "https") {
		return remote{}, false
	}
	return remote{URL: text, Name: fileNameOf(u)}, true
}

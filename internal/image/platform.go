package image

import (
	"runtime"
	"strings"
)

// Platform is an operating system and processor. The zero value means this machine's.
type Platform struct {
	OS, Architecture, Variant string
}

// ThisPlatform returns the platform of this machine.
func ThisPlatform() Platform { return Platform{OS: "linux", Architecture: runtime.GOARCH} }

// ParsePlatform reads "os/arch[/variant]"; the empty string is the zero Platform.
func ParsePlatform(s string) (Platform, error) {
	if s == "" {
		return Platform{}, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	if len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return Platform{}, &Error{Kind: KindInvalid, What: "platform " + s, Why: "not of the form os/architecture[/variant]", Hint: "for example linux/amd64"}
	}
	p := Platform{OS: strings.ToLower(parts[0]), Architecture: normalArch(parts[1])}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

func (p Platform) orThis() Platform {
	if p == (Platform{}) {
		return ThisPlatform()
	}
	if p.OS == "" {
		p.OS = "linux"
	}
	return p
}

// runs tells whether an image made for p can serve where want is wanted. Old images name no platform at all; they are
// taken to fit, as Docker does.
func (p Platform) runs(want Platform) bool {
	want = want.orThis()
	if p.OS != "" && p.OS != want.OS {
		return false
	}
	if p.Architecture != "" && normalArch(p.Architecture) != want.Architecture {
		return false
	}
	return want.Variant == "" || p.Variant == "" || p.Variant == want.Variant
}

// normalArch maps the names uname gives to those images use.
func normalArch(a string) string {
	switch strings.ToLower(a) {
	case "x86_64", "x86-64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "armhf", "armel":
		return "arm"
	case "i386":
		return "386"
	}
	return strings.ToLower(a)
}

func wrongArchitecture(what string, has, want Platform) *Error {
	want = want.orThis()
	why := "the image is for " + has.String() + ", " + want.String() + " was asked for"
	if want == ThisPlatform() {
		why = "the image is for " + has.String() + ", this machine runs " + want.String()
	}
	return &Error{Kind: KindArchitecture, What: what, Why: why, Hint: "build or fetch it for " + want.String()}
}

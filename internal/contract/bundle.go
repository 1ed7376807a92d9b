package contract

import (
	"io"

	"longshore/internal/task"
)

// Bundler is the optional ability to write a package as the one file in which the platform's users hand it on.
type Bundler interface {
	// BundleLayouts lists the layouts that such a file can have, by name.
	BundleLayouts() []string
	// Bundle plans the bundle of a task that Load returned without an error; layout is one of BundleLayouts, or "" for the one
	// that the package's documents ask for. It reads those documents and nothing else. The error is a *task.Error.
	Bundle(src Source, t *task.Task, layout string) (*Bundle, error)
}

// Bundle is a planned bundle.
type Bundle struct {
	// File is the customary name of the file.
	File string
	// Entries are the names of what it will hold, in order; Image is the one that is the image's archive, and ImageName what
	// the image is called in that archive.
	Entries          []string
	Image, ImageName string
	// Notes say which of several legal forms was taken; Warnings, what somebody who opens the bundle may stumble over.
	Notes, Warnings []string
	// Write writes the bundle to w, streaming; archive is called once to write the image's archive. The same documents and
	// the same archive always give the same bytes.
	Write func(w io.Writer, archive func(io.Writer) error) error
}

package image

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress receives events in the order they happen. It may be called from several goroutines and must not block for
// long. A nil Progress is silent.
type Progress func(Event)

// EventKind says what an Event tells.
type EventKind string

// The events.
const (
	// EventStep: a build step begins, or is answered by the cache (Cached). Step, Total, Stage, Text, Why, Line are set.
	EventStep EventKind = "step"
	// EventOutput: one line that a RUN command wrote. Step and Text are set.
	EventOutput EventKind = "output"
	// EventDone: the step that began last with the same Step and Stage has ended. Took is set.
	EventDone EventKind = "done"
	// EventBytes: bytes of a layer moved. Text names the layer; Bytes and TotalBytes (0 when unknown) are set.
	EventBytes EventKind = "bytes"
	// EventNote: something worth knowing, in Text.
	EventNote EventKind = "note"
	// EventImage: an image is complete. Text is its name or digest.
	EventImage EventKind = "image"
)

// Event is one thing that happened during a build, load, pull or push.
type Event struct {
	Kind EventKind
	// Step counts from 1 to Total within a build.
	Step, Total int
	// Stage is the build stage's name or number.
	Stage string
	// Line is the line of the Dockerfile, 1-based.
	Line int
	Text string
	// Cached tells that a step was answered by the layer cache; Why says why it was not.
	Cached bool
	Why    string
	Took   time.Duration
	// Bytes and TotalBytes count what has been moved so far.
	Bytes, TotalBytes int64
}

func (p Progress) send(e Event) {
	if p != nil {
		p(e)
	}
}

func (p Progress) note(format string, args ...any) {
	if p != nil {
		p(Event{Kind: EventNote, Text: fmt.Sprintf(format, args...)})
	}
}

// PlainProgress writes events to w as plain lines, one per event but for EventBytes, of which only the end is shown.
// It is safe for concurrent use.
func PlainProgress(w io.Writer) Progress {
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		switch e.Kind {
		case EventStep:
			note := ""
			if e.Cached {
				note = "  CACHED"
			} else if e.Why != "" {
				note = "  (" + e.Why + ")"
			}
			fmt.Fprintf(w, "[%s %d/%d] %s%s\n", e.Stage, e.Step, e.Total, e.Text, note)
		case EventOutput:
			fmt.Fprintf(w, "  | %s\n", e.Text)
		case EventDone:
			fmt.Fprintf(w, "  done in %s\n", e.Took.Round(time.Millisecond))
		case EventBytes:
			if e.TotalBytes > 0 && e.Bytes == e.TotalBytes {
				fmt.Fprintf(w, "%s: %s\n", e.Text, sizeText(e.Bytes))
			}
		case EventImage:
			fmt.Fprintf(w, "image %s\n", e.Text)
		default:
			fmt.Fprintln(w, e.Text)
		}
	}
}

// sizeText writes a number of bytes for people.
func sizeText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for f >= unit && i < len(units)-1 {
		f, i = f/unit, i+1
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

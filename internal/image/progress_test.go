package image_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/image"
)

func TestPlainProgress(t *testing.T) {
	var buf bytes.Buffer
	p := image.PlainProgress(&buf)
	for _, e := range []image.Event{
		{Kind: image.EventStep, Stage: "stage-0", Step: 1, Total: 3, Text: "FROM x", Cached: true},
		{Kind: image.EventStep, Stage: "stage-0", Step: 2, Total: 3, Text: "COPY a /b", Why: "a changed"},
		{Kind: image.EventDone, Took: 1234567 * time.Nanosecond},
		{Kind: image.EventOutput, Text: "hello"},
		{Kind: image.EventBytes, Text: "layer", Bytes: 5, TotalBytes: 2048},
		{Kind: image.EventBytes, Text: "layer", Bytes: 2048, TotalBytes: 2048},
		{Kind: image.EventNote, Text: "mind this"},
		{Kind: image.EventImage, Text: "x:1"},
	} {
		p(e)
	}
	want := "[stage-0 1/3] FROM x  CACHED\n[stage-0 2/3] COPY a /b  (a changed)\n  done in 1ms\n  | hello\nlayer: 2.0 KiB\nmind this\nimage x:1\n"
	if d := cmp.Diff(want, buf.String()); d != "" {
		t.Error(d)
	}
}

package engine_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"longshore/internal/engine"
)

func TestLog(t *testing.T) {
	now := time.Unix(1234567890, 987654321)
	big := bytes.Repeat([]byte("x"), 2<<20+1) // Three frames.
	var buf []byte
	for _, f := range []engine.Frame{
		{Stream: engine.Stdout, Time: now, Data: []byte("one")},
		{Stream: engine.Stderr, Time: now.Add(time.Second), Attempt: 2, Data: nil},
		{Stream: engine.Stdout, Time: now, Attempt: 1 << 20, Data: big},
	} {
		buf = engine.AppendFrame(buf, f)
	}
	var got []engine.Frame
	l := engine.NewLogReader(bytes.NewReader(buf))
	for {
		f, err := l.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Data = bytes.Clone(f.Data)
		got = append(got, f)
	}
	want := []engine.Frame{
		{Stream: engine.Stdout, Time: now, Data: []byte("one")},
		{Stream: engine.Stderr, Time: now.Add(time.Second), Attempt: 2, Data: []byte{}},
		{Stream: engine.Stdout, Time: now, Attempt: 65535, Data: big[:1<<20]},
		{Stream: engine.Stdout, Time: now, Attempt: 65535, Data: big[:1<<20]},
		{Stream: engine.Stdout, Time: now, Attempt: 65535, Data: big[:1]},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); d != "" {
		t.Error(d)
	}
}

func TestLogDamaged(t *testing.T) {
	whole := engine.AppendFrame(nil, engine.Frame{Stream: engine.Stdout, Time: time.Now(), Data: []byte("data")})
	for n := 1; n < len(whole); n++ {
		if _, err := engine.NewLogReader(bytes.NewReader(whole[:n])).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a frame cut after %d bytes: %v", n, err)
		}
		if got := engine.WholeFrames(bytes.NewReader(append(bytes.Clone(whole), whole[:n]...))); got != int64(len(whole)) {
			t.Errorf("%d bytes are whole frames, of %d and a part", got, len(whole))
		}
	}
	for name, at := range map[string]int{"stream": 0, "length": 4} {
		bad := bytes.Clone(whole)
		bad[at] = 0xff
		if _, err := engine.NewLogReader(bytes.NewReader(bad)).Next(); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a wrong %s: %v", name, err)
		}
	}
}

// FuzzLogReader: no input makes the reader fail other than by an error, or take more memory than the input has.
func FuzzLogReader(f *testing.F) {
	f.Add(engine.AppendFrame(nil, engine.Frame{Stream: engine.Stderr, Data: []byte("seed")}))
	f.Add([]byte{1, 0, 0, 0, 0, 15, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		l := engine.NewLogReader(bytes.NewReader(data))
		sum := 0
		for {
			frame, err := l.Next()
			if err != nil {
				break
			}
			sum += 16 + len(frame.Data)
		}
		if sum > len(data) {
			t.Errorf("%d bytes of frames out of %d", sum, len(data))
		}
	})
}

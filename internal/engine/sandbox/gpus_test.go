package sandbox_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"longshore/internal/engine"
	"longshore/internal/engine/enginetest"
	"longshore/internal/engine/sandbox"
)

// twoGPUs are played by two harmless devices.
const twoGPUs = `{"cdiVersion": "0.6.0", "kind": "vendor.example/gpu", "devices": [
	{"name": "0", "containerEdits": {"env": ["GPU=zero"], "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/zero", "permissions": "r"}]}},
	{"name": "1", "containerEdits": {"env": ["GPU=full"], "deviceNodes": [{"path": "/dev/gpu1", "hostPath": "/dev/full"}]}}
]}`

func TestGPUsAreExclusive(t *testing.T) {
	specs := t.TempDir()
	if err := os.WriteFile(filepath.Join(specs, "a.json"), []byte(twoGPUs), 0o644); err != nil {
		t.Fatal(err)
	}
	e, err := sandbox.New(sandbox.Config{Dir: filepath.Join(t.TempDir(), "run"), CDIDirs: []string{specs}})
	if err != nil {
		t.Fatal(err)
	}
	if names, err := e.GPUs(); err != nil || !slices.Equal(names, []string{"vendor.example/gpu=0", "vendor.example/gpu=1"}) {
		t.Fatalf("%v, %v", names, err)
	}
	layer := enginetest.BusyboxLayer(t)
	spec := func(id string, gpus int) engine.Spec {
		return engine.Spec{
			ID: id, GPUs: gpus, Image: engine.Image{Layers: []string{layer}},
			Process: engine.Process{Args: []string{"sh", "-c", "exec sleep 1000"}},
		}
	}
	ctx := context.WithoutCancel(t.Context())
	start := func(id string) engine.Handle {
		t.Helper()
		h, err := e.Start(ctx, spec(id, 1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Remove(ctx, h) })
		return h
	}
	first := start("first")
	if !slices.ContainsFunc(first.Notes, func(n string) bool { return strings.Contains(n, `spec says "r"`) }) {
		t.Errorf("notes %q", first.Notes)
	}
	start("second")
	_, err = e.Start(ctx, spec("third", 1))
	if se, ok := errors.AsType[*engine.StartError](err); !ok || se.Kind != "limit" || !strings.Contains(err.Error(), "other containers have vendor.example/gpu=0, vendor.example/gpu=1") {
		t.Errorf("error %v", err)
	}
	if err := e.Stop(ctx, first, 0); err != nil {
		t.Fatal(err)
	}
	start("fourth") // what has ended has no GPU any more
}

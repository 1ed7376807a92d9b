package cli

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/engine"
	"longshore/internal/image"
	"longshore/internal/task"
)

func newBench(g *globals) *cobra.Command {
	o := &benchOptions{}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine, beside Docker when it is here",
		Long: `Measure on this machine, in one run and interleaved: a cold run of a program that does nothing, in
process and as a whole command, beside "docker run --network none" when a Docker engine answers and
beside bare unshare(1); runs back to back; and loading a docker save archive. docs/benchmarks.md says
how to read the figures.`,
		Example: "  longshore bench\n  longshore bench --runs 50 --archive-mb 0 --json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return g.bench(c.Context(), o) },
	}
	c.Flags().IntVar(&o.runs, "runs", 100, "how many times each thing is measured")
	c.Flags().IntVar(&o.series, "series", 200, "how many runs the back-to-back series has")
	c.Flags().IntVar(&o.archive, "archive-mb", 500, "size of the archive that is loaded, in MB; 0 leaves it out")
	c.Flags().StringVar(&o.docker, "docker", "docker", "the docker command line, such as \"docker -H unix:///run/other.sock\"")
	c.AddCommand(newBenchValidate(g), newBenchServer(g))
	return c
}

type benchOptions struct {
	runs, series, archive int
	docker                string
}

// figure is one measured thing. Times are in milliseconds.
type figure struct {
	Name string  `json:"name"`
	N    int     `json:"n"`
	Min  float64 `json:"minMs"`
	P50  float64 `json:"p50Ms"`
	P95  float64 `json:"p95Ms"`
}

// benchReport is what "bench --json" prints.
type benchReport struct {
	Machine string             `json:"machine"`
	Figures []figure           `json:"figures"`
	Stages  []task.StepTime    `json:"stages"`
	Ratios  map[string]float64 `json:"ratios"`
	Series  *seriesReport      `json:"series,omitempty"`
	Missing []string           `json:"missing,omitempty"`
}

type seriesReport struct {
	Runs      int     `json:"runs"`
	PerSecond float64 `json:"runsPerSecond"`
	RSSBefore int64   `json:"rssBeforeBytes"`
	RSSAfter  int64   `json:"rssAfterBytes"`
}

// bencher holds what the measurements share.
type bencher struct {
	g      *globals
	o      *benchOptions
	app    *app.App
	pkg    *app.Package
	dir    string
	docker []string // nil when no engine answers
	report benchReport
	stages map[string][]float64
	order  []string
}

// benchImage is the name of the image with the program that does nothing.
const benchImage = "longshore-bench/true:latest"

func (g *globals) bench(ctx context.Context, o *benchOptions) error {
	if o.runs < 1 || o.series < 0 || o.archive < 0 {
		return &task.Error{Code: task.CodeUsage, Message: "the numbers must be positive"}
	}
	quiet := *g
	quiet.quiet = true
	a, err := quiet.open(nil)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "longshore-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bencher{g: g, o: o, app: a, dir: dir, stages: map[string][]float64{}, report: benchReport{Machine: machineName(), Ratios: map[string]float64{}}}
	if err := b.setUp(ctx); err != nil {
		return app.ImageError(err)
	}
	defer b.tearDown(ctx)
	for _, step := range []func(context.Context) error{b.coldRuns, b.commands, b.backToBack, b.loads} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	b.sumStages()
	if g.json {
		return g.printJSON(b.report)
	}
	b.print()
	return nil
}

// sumStages fills in the medians of the stages, in the order of a run.
func (b *bencher) sumStages() {
	for _, name := range b.order {
		v := b.stages[name]
		slices.Sort(v)
		b.report.Stages = append(b.report.Stages, task.StepTime{Name: name, Millis: v[len(v)/2]})
	}
}

func machineName() string {
	var kernel string
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(data))
	}
	return fmt.Sprintf("%s/%s, %d CPUs, Linux %s, longshore %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), kernel, Version)
}

// setUp makes the image, a package around it, and gives it to Docker when that is here.
func (b *bencher) setUp(ctx context.Context) error {
	program, err := trueProgram(runtime.GOARCH)
	if err != nil {
		return err
	}
	rootfs := filepath.Join(b.dir, "rootfs.tar")
	if err := writeTar(rootfs, func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Name: "true", Mode: 0o755, Size: int64(len(program))}); err != nil {
			return err
		}
		_, err := w.Write(program)
		return err
	}); err != nil {
		return err
	}
	store, err := b.app.Images()
	if err != nil {
		return err
	}
	if _, err := store.Import(ctx, rootfs, image.ImportOptions{Names: []string{benchImage}, Cmd: []string{"/true"}}); err != nil {
		return err
	}
	pkg := filepath.Join(b.dir, "package")
	manifest := fmt.Sprintf(`{"app": {"name": "bench", "price": 0, "params": {"type": "DOCKER", "envvars": "XWDOCKERIMAGE=%s"}}}`, benchImage)
	if err := os.Mkdir(pkg, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(pkg, "iexec.json"), []byte(manifest), 0o644); err != nil {
		return err
	}
	if b.pkg, err = b.app.Open(ctx, pkg, app.OpenOptions{}); err != nil {
		return err
	}
	if err := b.pkg.Valid(); err != nil {
		return err
	}
	return b.setUpDocker(ctx, store)
}

func (b *bencher) setUpDocker(ctx context.Context, store *image.Store) error {
	words := strings.Fields(b.o.docker)
	if len(words) == 0 || exec.CommandContext(ctx, words[0], append(words[1:], "info")...).Run() != nil {
		b.report.Missing = append(b.report.Missing, "docker run, docker load: no Docker engine answers to `"+b.o.docker+"`")
		return nil
	}
	archive := filepath.Join(b.dir, "true.tar")
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	err = saveTo(ctx, store, f, []string{benchImage}, image.DockerArchive)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, words[0], append(words[1:], "load", "-i", archive)...).CombinedOutput(); err != nil {
		b.report.Missing = append(b.report.Missing, "docker run: docker load failed: "+firstOf(string(out)))
		return nil
	}
	b.docker = words
	return nil
}

func firstOf(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

func (b *bencher) tearDown(ctx context.Context) {
	if b.pkg != nil {
		b.pkg.Close()
	}
	clean := context.WithoutCancel(ctx)
	if b.docker != nil {
		_ = b.dockerCommand(clean, "image", "rm", "-f", benchImage).Run() // best effort: another engine's store
	}
	store, err := b.app.Images()
	if err == nil {
		if err = store.Remove(benchImage); err == nil {
			_, err = store.Prune(clean, image.PruneOptions{})
		}
	}
	if err != nil {
		b.g.info("the benchmark's image could not be removed: %v", err)
	}
}

func (b *bencher) dockerCommand(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, b.docker[0], append(append([]string{}, b.docker[1:]...), args...)...)
}

// oneRun is a whole run in process: package checked, container made, outputs collected, everything removed.
func (b *bencher) oneRun(ctx context.Context) (*task.Result, error) {
	f := jobFlags{network: "none", capabilities: "default"}
	res, err := b.app.Dispatcher().Run(ctx, f.job(b.pkg, task.Request{}))
	if err != nil {
		return nil, err
	}
	if res.State != task.Succeeded {
		return nil, fmt.Errorf("the benchmark's run did not succeed: %s", failureText(res))
	}
	return res, nil
}

// coldRuns measures one run of true in every way, in turns, so that a noisy moment meets all of them.
func (b *bencher) coldRuns(ctx context.Context) error {
	ways := []struct {
		name string
		run  func() error
	}{
		{"run in process, hardened", func() error {
			res, err := b.oneRun(ctx)
			if err == nil {
				b.addStages(res)
			}
			return err
		}},
		{"engine alone", func() error { return b.engineRun(ctx) }},
	}
	if path, err := exec.LookPath("unshare"); err == nil {
		ways = append(ways, struct {
			name string
			run  func() error
		}{"unshare (bare namespaces)", func() error {
			return exec.CommandContext(ctx, path, "--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork", "true").Run()
		}})
	} else {
		b.report.Missing = append(b.report.Missing, "unshare: not installed")
	}
	if b.docker != nil {
		ways = append(ways, struct {
			name string
			run  func() error
		}{"docker run --network none", func() error {
			return b.dockerCommand(ctx, "run", "--rm", "--network", "none", benchImage).Run()
		}})
	}
	times := make([][]time.Duration, len(ways))
	for n := range b.o.runs + 3 {
		for i, w := range ways {
			start := time.Now()
			if err := w.run(); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			if n >= 3 { // the first rounds warm caches up
				times[i] = append(times[i], time.Since(start))
			}
		}
	}
	for i, w := range ways {
		b.add(w.name, times[i])
	}
	b.ratio("docker run / run in process", "docker run --network none", "run in process, hardened")
	b.ratio("run in process / unshare", "run in process, hardened", "unshare (bare namespaces)")
	return nil
}

func (b *bencher) engineRun(ctx context.Context) error {
	store, err := b.app.Images()
	if err != nil {
		return err
	}
	img, err := store.Resolve(benchImage)
	if err != nil {
		return err
	}
	layers, err := img.Layers(ctx)
	if err != nil {
		return err
	}
	e := b.app.Engine()
	h, err := e.Start(ctx, engine.Spec{ID: fmt.Sprintf("bench-%d", time.Now().UnixNano()), Image: engine.Image{Layers: layers}, Process: engine.Process{Args: []string{"/true"}}, Limits: engine.Limits{Memory: 64 << 20, MilliCPU: 1000}})
	if err != nil {
		return err
	}
	if _, err := e.Wait(ctx, h); err != nil {
		return err
	}
	return e.Remove(ctx, h)
}

func (b *bencher) addStages(res *task.Result) {
	add := func(name string, ms float64) {
		if _, ok := b.stages[name]; !ok {
			b.order = append(b.order, name)
		}
		b.stages[name] = append(b.stages[name], ms)
	}
	for _, s := range res.Stages {
		add(string(s.Stage), s.Seconds*1000)
		for _, st := range s.Steps {
			add("  "+st.Name, st.Millis)
		}
	}
}

func (b *bencher) add(name string, times []time.Duration) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.report.Figures = append(b.report.Figures, figure{name, len(times), ms(times[0]), ms(times[len(times)/2]), ms(times[len(times)*95/100])})
}

func (b *bencher) ratio(name, over, under string) {
	p50 := func(n string) float64 {
		for _, f := range b.report.Figures {
			if f.Name == n {
				return f.P50
			}
		}
		return 0
	}
	if x, y := p50(over), p50(under); x > 0 && y > 0 {
		b.report.Ratios[name] = x / y
	}
}

// commands measures whole commands: process start, flags, the work, and the end.
func (b *bencher) commands(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out := filepath.Join(b.dir, "out")
	for _, c := range []struct {
		name string
		args []string
	}{
		{"command: longshore run", []string{"run", "--home", b.app.Home(), "-q", "-o", out, filepath.Join(b.dir, "package")}},
		{"command: longshore version", []string{"version"}},
		{"command: longshore --help", []string{"--help"}},
	} {
		var times []time.Duration
		for n := range b.o.runs + 3 {
			start := time.Now()
			if msg, err := exec.CommandContext(ctx, self, c.args...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", c.name, err, firstOf(string(msg)))
			}
			if n >= 3 {
				times = append(times, time.Since(start))
			}
		}
		b.add(c.name, times)
	}
	return nil
}

// backToBack keeps two runs going until the series is done.
func (b *bencher) backToBack(ctx context.Context) error {
	if b.o.series == 0 {
		return nil
	}
	before := residentBytes()
	var left atomic.Int64
	left.Store(int64(b.o.series))
	errs := make(chan error, 2)
	start := time.Now()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := b.oneRun(ctx); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	select {
	case err := <-errs:
		return err
	default:
	}
	b.report.Series = &seriesReport{b.o.series, float64(b.o.series) / took.Seconds(), before, residentBytes()}
	return nil
}

// residentBytes is the memory this process has in use, after a garbage collection.
func residentBytes() int64 {
	runtime.GC()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// loads measures loading a docker save archive, in turns with docker load. Each load is of other content, so that nothing is
// there already.
func (b *bencher) loads(ctx context.Context) error {
	if b.o.archive == 0 {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	const rounds = 3
	var ours, theirs []time.Duration
	for n := range rounds {
		archive := filepath.Join(b.dir, "load.tar")
		name := fmt.Sprintf("longshore-bench/load:%d", n)
		if err := writeSaved(archive, name, b.o.archive, uint64(n)+uint64(time.Now().UnixNano())); err != nil {
			return err
		}
		start := time.Now()
		if msg, err := exec.CommandContext(ctx, self, "image", "load", "-q", "--home", b.app.Home(), archive).CombinedOutput(); err != nil {
			return fmt.Errorf("image load: %w: %s", err, firstOf(string(msg)))
		}
		ours = append(ours, time.Since(start))
		store, err := b.app.Images()
		if err != nil {
			return err
		}
		if err := store.Remove(name); err != nil {
			return err
		}
		if b.docker != nil {
			start = time.Now()
			if msg, err := b.dockerCommand(ctx, "load", "-i", archive).CombinedOutput(); err != nil {
				return fmt.Errorf("docker load: %w: %s", err, firstOf(string(msg)))
			}
			theirs = append(theirs, time.Since(start))
			_ = b.dockerCommand(ctx, "image", "rm", "-f", name).Run() // best effort: another engine's store
		}
		if err := os.Remove(archive); err != nil {
			return err
		}
		if _, err := store.Prune(ctx, image.PruneOptions{}); err != nil {
			return err
		}
	}
	b.add(fmt.Sprintf("load a %d MB archive", b.o.archive), ours)
	b.add(fmt.Sprintf("docker load, %d MB", b.o.archive), theirs)
	b.ratio("docker load / load", fmt.Sprintf("docker load, %d MB", b.o.archive), fmt.Sprintf("load a %d MB archive", b.o.archive))
	return nil
}

func (b *bencher) printFigures() {
	fmt.Fprintf(b.g.Out, "%s\n\n%-32s %6s %9s %9s %9s\n", b.report.Machine, "", "n", "min ms", "p50 ms", "p95 ms")
	for _, f := range b.report.Figures {
		fmt.Fprintf(b.g.Out, "%-32s %6d %9.1f %9.1f %9.1f\n", f.Name, f.N, f.Min, f.P50, f.P95)
	}
}

func (b *bencher) print() {
	w := b.g.Out
	b.printFigures()
	fmt.Fprintf(w, "\nwhere a run in process spends its time (p50, ms)\n")
	for _, s := range b.report.Stages {
		fmt.Fprintf(w, "  %-30s %9.2f\n", s.Name, s.Millis)
	}
	if s := b.report.Series; s != nil {
		fmt.Fprintf(w, "\n%d runs back to back, two at a time: %.1f runs/s; memory of the process %s before, %s after\n", s.Runs, s.PerSecond, task.Bytes(s.RSSBefore), task.Bytes(s.RSSAfter))
	}
	for _, name := range slices.Sorted(maps.Keys(b.report.Ratios)) {
		fmt.Fprintf(w, "%s: %.1f times\n", name, b.report.Ratios[name])
	}
	for _, m := range b.report.Missing {
		fmt.Fprintf(w, "not measured: %s\n", m)
	}
}

// trueProgram is a static ELF program that exits with 0, so that the benchmark needs nothing from the machine.
func trueProgram(arch string) ([]byte, error) {
	return elfProgram(arch, map[string][]byte{
		"amd64": {0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05},                              // mov eax,60; xor edi,edi; syscall
		"arm64": {0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4}, // mov x0,0; mov x8,93; svc 0
	})
}

// elfProgram is the static ELF program that has nothing but the code for a processor.
func elfProgram(arch string, codes map[string][]byte) ([]byte, error) {
	machine, ok := map[string]uint16{"amd64": 62, "arm64": 183}[arch]
	if !ok {
		return nil, &task.Error{Code: task.ReasonPolicy, Message: "bench does not know the architecture " + arch}
	}
	code := codes[arch]
	const base, header = 0x400000, 64 + 56
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	size := uint64(header + len(code))
	for _, v := range []any{
		uint16(2), machine, uint32(1), uint64(base + header), uint64(64), uint64(0), uint32(0), // type … flags
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0), // header sizes and counts
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000), // one loadable, executable segment
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			return nil, err
		}
	}
	b.Write(code)
	return b.Bytes(), nil
}

func writeTar(name string, fill func(*tar.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(f, 1<<20)
	w := tar.NewWriter(buffered)
	err = fill(w)
	for _, end := range []func() error{w.Close, buffered.Flush, f.Close} {
		if eerr := end(); err == nil {
			err = eerr
		}
	}
	return err
}

// writeSaved writes a docker save archive of about size MB: three layers of files of random content, from 16 KB to 4 MB.
func writeSaved(name, reference string, size int, seed uint64) error {
	return writeTar(name, func(w *tar.Writer) error {
		var layers, diffs []string
		for n := range 3 {
			path, diff, err := writeLayer(w, filepath.Dir(name), n, size*1e6/3, seed+uint64(n))
			if err != nil {
				return err
			}
			layers, diffs = append(layers, path), append(diffs, diff)
		}
		config, err := json.Marshal(map[string]any{
			"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Cmd": []string{"/true"}},
			"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
		})
		if err != nil {
			return err
		}
		manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{reference}, "Layers": layers}})
		if err != nil {
			return err
		}
		for _, f := range []struct {
			name string
			data []byte
		}{{"config.json", config}, {"manifest.json", manifest}} {
			if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data))}); err != nil {
				return err
			}
			if _, err := w.Write(f.data); err != nil {
				return err
			}
		}
		return nil
	})
}

// random is a fast source of bytes that do not compress.
type random struct{ *rand.ChaCha8 }

func newRandom(seed uint64) random {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return random{rand.NewChaCha8(key)}
}

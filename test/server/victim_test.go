package server_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"

	"longshore/internal/dispatch/durable"
	"longshore/internal/store"
)

// victim is a server with callers of its own, in a process that is to be killed. It reports, one line each:
//
//	ready
//	accepted ID N        a submission was answered
//	ended ID STATE       somebody who waited was told so
//
// It submits as long as its standard input is open, and ends when what it has accepted has ended.
func victim(args []string) int {
	var cfg = config("")
	fs := flag.NewFlagSet("victim", flag.ContinueOnError)
	dir := fs.String("home", "", "")
	fs.StringVar(&cfg.Database, "db", "", "")
	fs.StringVar(&cfg.Blobs, "blobs", "", "")
	fs.StringVar(&cfg.Name, "name", "", "")
	fs.DurationVar(&cfg.Lease, "lease", cfg.Lease, "")
	version := fs.String("task", "", "the version to submit")
	callers := fs.Int("callers", 0, "how many submit")
	if fs.Parse(args) != nil {
		return 2
	}
	cfg.WorkerArgs = []string{"worker", "--home", *dir}
	cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := open(context.Background(), *dir, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	told := &lines{}
	told.tell("ready")
	load(s.Service, *version, *callers, told)
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// lines writes whole lines.
type lines struct{ mu sync.Mutex }

func (l *lines) tell(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Printf(format+"\n", args...)
}

// load submits runs until standard input ends.
func load(s *durable.Service, version string, callers int, told *lines) {
	ctx, stop := context.WithCancel(context.Background())
	var g sync.WaitGroup
	for range callers {
		g.Go(func() {
			for ctx.Err() == nil {
				n := rand.IntN(1000)
				sub := submission(store.Version{ID: version}, n)
				run, _, err := s.Submit(ctx, "ada", sub)
				if err != nil {
					continue // not accepted: nothing is owed
				}
				told.tell("accepted %s %d", run.ID, n)
				if run, err = s.Wait(context.Background(), run.ID); err == nil && run.State.Terminal() {
					told.tell("ended %s %s", run.ID, run.State)
				}
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
	g.Wait()
}

// tortured is a script whose output is known: see wanted. It takes a moment, so that it is often killed in its middle.
func tortured() map[string]string {
	return script("tortured", `echo "begin $n"
yes "line $n" | head -c 100000 >/outputs/data
sleep 0.0$((n % 10))
echo "end $n"`)
}

// wanted is the output of tortured, and its log.
func wanted(n int) (data, log string) {
	line := fmt.Sprintf("line %d\n", n)
	return strings.Repeat(line, 100000/len(line)+1)[:100000], fmt.Sprintf("begin %d\nend %d\n", n, n)
}

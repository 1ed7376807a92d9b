package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/task"
)

func newPull(g *globals) *cobra.Command {
	c := &cobra.Command{
		Use:     "pull",
		Short:   "Fetch a package from where its platform distributes it",
		Long:    "Fetch a package from where its platform distributes it: MECA folders from IPFS. Images are pulled with `longshore image pull`.",
		Example: "  longshore pull ipfs my-task.car -o my-task",
	}
	c.AddCommand(pullIPFS(g))
	return c
}

func pullIPFS(g *globals) *cobra.Command {
	f := pullFlags{}
	c := &cobra.Command{
		Use:   "ipfs CID|0xDIGEST|FILE.car -o DIR",
		Short: "Fetch a MECA folder from IPFS or from a CAR archive",
		Long: `Bring a folder back by its CID (either version), by the digest that contracts on chain hold, or out of
a CAR archive. It comes from the IPFS node of --api, from the archive of --car, or else from
Longshore's own store. Every block is checked against its CID, whoever sent it. DIR appears with
everything in it, or not at all; it must not exist yet, or be empty.`,
		Example: `  longshore pull ipfs my-task.car -o my-task
  longshore pull ipfs bafybeiht5xubmrzhsqgd5mq4aopzjohzf42upmpczmqbs2qlucwo2cehwm --api 127.0.0.1:5001 -o knn
  longshore pull ipfs 0xf3ede8164727940c3eb21c039f94b8f92f3547b1e2cb20196a0ba0aced0887b3 --car all.car -o knn`,
		Args: exactly("a CID, a digest or a CAR archive"),
		RunE: func(c *cobra.Command, args []string) error { return g.pullIPFS(c.Context(), args[0], f) },
	}
	c.Flags().StringVarP(&f.out, "output", "o", "", "the folder to make")
	c.Flags().StringVar(&f.from.Node, "api", "", "fetch from the IPFS node with this RPC address")
	c.Flags().StringVar(&f.from.CAR, "car", "", "take the folder from this CAR archive")
	c.Flags().StringVar(&f.size, "max-size", "4Gi", "refuse more bytes of files than this")
	c.Flags().IntVar(&f.from.Limits.Entries, "max-entries", 200_000, "refuse more files and folders than this")
	c.Flags().IntVar(&f.from.Limits.Depth, "max-depth", 64, "refuse folders nested deeper than this")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long all of it may take")
	return c
}

type pullFlags struct {
	from      app.FetchOptions
	out, size string
	timeout   time.Duration
}

func (g *globals) pullIPFS(ctx context.Context, what string, f pullFlags) error {
	size, err := task.ParseBytes(f.size)
	if err != nil {
		return task.Errorf(task.CodeUsage, "--max-size: %w", err)
	}
	if size <= 0 || f.from.Limits.Entries <= 0 || f.from.Limits.Depth <= 0 {
		return &task.Error{Code: task.CodeUsage, Message: "--max-size, --max-entries and --max-depth must be more than 0"}
	}
	if f.from.Node != "" && f.from.CAR != "" {
		return &task.Error{Code: task.CodeUsage, Message: "--api and --car name two places: give one of them"}
	}
	f.from.Limits.Bytes = int64(size)
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	a, err := g.open(nil)
	if err != nil {
		return err
	}
	done, err := a.PullFolder(ctx, what, f.out, f.from)
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(done)
	}
	if done.Note != "" {
		g.info("warning: %s", done.Note)
	}
	g.printAddress("", done.FolderAddress)
	g.line("folder", "%s: %d files, %d bytes", done.Dir, done.Files, done.Bytes)
	return nil
}

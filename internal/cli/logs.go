package cli

import (
	"context"
	"encoding/json"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"longshore/internal/api/client"
)

func newLogs(g *globals) *cobra.Command {
	var server serverFlags
	var q client.LogQuery
	c := &cobra.Command{
		Use:   "logs ID",
		Short: "Print the log of a run",
		Long: `Print what the container of a run wrote, from its first byte: its stdout on stdout, its stderr on
stderr. With -f from before it exists until it has ended, also when the server is started again
meanwhile. With --json, each piece is a line with its time and stream.`,
		Example: `  longshore logs -f 0199d3c2a1f04e5b8c77
  longshore logs --stream stderr 0199d3c2a1f04e5b8c77 > errors.txt`,
		Args: exactly("an ID"),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := g.dialPatiently(&server)
			if err != nil {
				return err
			}
			return g.logs(c.Context(), cl, args[0], q)
		},
	}
	server.register(c.Flags())
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "until the run has ended")
	c.Flags().StringVar(&q.Stream, "stream", "", "only stdout, or only stderr; both go to stdout then")
	return c
}

func (g *globals) logs(ctx context.Context, c *client.Client, id string, q client.LogQuery) error {
	if g.json {
		enc := json.NewEncoder(g.Out)
		for l, err := range c.Log(ctx, id, q) {
			if err == nil {
				err = enc.Encode(l)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	second := g.Err
	if q.Stream != "" {
		second = g.Out // the one that was asked for
	}
	return c.CopyLog(ctx, id, q, forPeople(g.Out), forPeople(second))
}

// forPeople passes a container's output on as it is to files and pipes, and without what could steer it to a terminal.
func forPeople(w io.Writer) io.Writer {
	if isTerminal(w) {
		return harmless{w}
	}
	return w
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// harmless replaces control characters.
type harmless struct{ w io.Writer }

func (h harmless) Write(p []byte) (int, error) {
	if _, err := io.WriteString(h.w, printable(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

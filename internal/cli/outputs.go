package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"longshore/internal/api/client"
	v1 "longshore/internal/api/v1"
	"longshore/internal/dispatch"
	"longshore/internal/task"
)

func newOutputs(g *globals) *cobra.Command {
	var server serverFlags
	out := ""
	c := &cobra.Command{
		Use:   "outputs ID [-o DIR]",
		Short: "Fetch the outputs of a run, or list them",
		Long: `Fetch the outputs of a run that has ended: DIR is then as "run" leaves it, with each output, the
container's log and result.json, all at once or not at all. Without -o, the files are listed.`,
		Example: "  longshore outputs 0199d3c2a1f04e5b8c77 -o out",
		Args:    exactly("an ID"),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := g.dialPatiently(&server)
			if err != nil {
				return err
			}
			if out == "" {
				return g.listOutputs(c.Context(), cl, args[0])
			}
			r, err := cl.Run(c.Context(), args[0])
			if err != nil {
				return err
			}
			if !r.State.Terminal() {
				return (&task.Error{Code: task.CodeMissing, Message: fmt.Sprintf("run %s has not ended: it is %s", r.ID, r.State)}).WithHint("longshore wait %s", r.ID)
			}
			return g.fetchOutputs(c.Context(), cl, r, out)
		},
	}
	server.register(c.Flags())
	c.Flags().StringVarP(&out, "output", "o", "", "the folder that receives everything")
	return c
}

func (g *globals) listOutputs(ctx context.Context, c *client.Client, id string) error {
	files, err := c.Outputs(ctx, id)
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(append([]v1.File{}, files...))
	}
	var rows [][]string
	for _, f := range files {
		rows = append(rows, []string{f.Path, task.Bytes(f.Size).String(), f.Digest})
	}
	g.table([]string{"PATH", "SIZE", "DIGEST"}, rows)
	return nil
}

// fetchOutputs makes the output folder of a run that has ended.
func (g *globals) fetchOutputs(ctx context.Context, c *client.Client, r v1.Run, out string) error {
	return dispatch.PublishFolder(out, func(tmp string) error { return fetchInto(ctx, c, r, tmp) })
}

func fetchInto(ctx context.Context, c *client.Client, r v1.Run, dir string) error {
	if _, err := c.Download(ctx, r.ID, dir); err != nil {
		return err
	}
	log, err := createNew(dir, dispatch.LogFile)
	if err != nil {
		return err
	}
	err = c.CopyLog(ctx, r.ID, client.LogQuery{}, log, log)
	if task.CodeOf(err) == task.CodeMissing && err != nil {
		err = nil // it never had a container
	}
	if cerr := log.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(resultOf(r), "", "  ")
	if err != nil {
		return err
	}
	f, err := createNew(dir, dispatch.ResultFile)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Close())
}

// createNew makes a file of ours beside the outputs. One that is there is the server's, or a link of its making, and not followed.
func createNew(dir, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, task.Errorf(task.ReasonOutput, "the server names an output %q, which is what longshore's own file is called", name)
	}
	return f, err
}

// resultOf is a run's result; one that never got so far has hardly any.
func resultOf(r v1.Run) *task.Result {
	if r.Result != nil {
		return r.Result
	}
	return &task.Result{ID: r.ID, Contract: r.Contract, Task: r.TaskName, Version: r.TaskVersion, State: r.State, Reason: r.Reason, StartedAt: r.StartedAt, EndedAt: r.EndedAt}
}

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/contract"
	"longshore/internal/task"
)

func newSchema(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [CONTRACT [DOCUMENT]]",
		Short: "Print the JSON Schema of a contract's documents, for editors",
		Long: `Print the JSON Schema (draft 2020-12) of a document that packages of a contract hold. Editors check
and complete with it while one types; validate knows more rules. Without DOCUMENT it is the one of the
package's manifest; without CONTRACT all documents are listed.`,
		Example: `  longshore schema
  longshore schema meca > config.schema.json
  longshore schema kaapana task > task.schema.json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 2 {
				return exactly("a CONTRACT", "a DOCUMENT")(c, args)
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return schemaWords(args), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return g.listSchemas()
			}
			schema, err := schemaOf(args[0], args[1:])
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(g.Out, schema.JSON)
			return err
		},
	}
}

// schemas lists a contract's schemas.
func schemas(name string) ([]contract.Schema, error) {
	c, err := app.Contract(name)
	if err != nil {
		return nil, err
	}
	if p, ok := c.(contract.SchemaProvider); ok {
		return p.Schemas(), nil
	}
	return nil, nil
}

// schemaWords are the words that can follow args.
func schemaWords(args []string) []string {
	if len(args) == 0 {
		return app.ContractNames()
	}
	list, err := schemas(args[0])
	if err != nil || len(args) > 1 {
		return nil
	}
	return documents(list)
}

func documents(list []contract.Schema) []string {
	var names []string
	for _, s := range list {
		names = append(names, s.Document)
	}
	return names
}

// schemaOf finds a contract's schema by the document's word, or the first one when there is none.
func schemaOf(name string, document []string) (contract.Schema, error) {
	list, err := schemas(name)
	if err != nil {
		return contract.Schema{}, err
	}
	for _, s := range list {
		if len(document) == 0 || s.Document == document[0] {
			return s, nil
		}
	}
	if len(list) == 0 {
		return contract.Schema{}, &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s has no schema", name)}
	}
	e := &task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s has no document %q", name, document[0])}
	return contract.Schema{}, e.WithHint("the documents of %s are: %s", name, strings.Join(documents(list), ", "))
}

// schemaLine is one document in the list of schemas.
type schemaLine struct {
	Contract string   `json:"contract"`
	Document string   `json:"document"`
	Files    []string `json:"files"`
}

func (g *globals) listSchemas() error {
	lines := []schemaLine{}
	for _, name := range app.ContractNames() {
		list, err := schemas(name)
		if err != nil {
			return err
		}
		for _, s := range list {
			lines = append(lines, schemaLine{name, s.Document, s.Files})
		}
	}
	if g.json {
		return g.printJSON(lines)
	}
	for _, l := range lines {
		fmt.Fprintf(g.Out, "%-10s %-11s %s\n", l.Contract, l.Document, strings.Join(l.Files, ", "))
	}
	return nil
}

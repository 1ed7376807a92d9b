package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"longshore/internal/app"
	"longshore/internal/task"
)

// openFlags say how a package is opened; every command that reads one has them.
type openFlags struct {
	app.OpenOptions
	over    overrideFlags
	vars    []string
	varFile string
}

func (f *openFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.Contract, "contract", "", "take the package for this contract: "+strings.Join(app.ContractNames(), ", "))
	fs.StringVar(&f.Variant, "template", "", "which of several uses the package offers (Kaapana: a template's identifier)")
	fs.BoolVar(&f.Legacy, "legacy", false, "use the layout of older releases of the platform; "+app.LegacyLayouts())
	fs.StringVar(&f.Compat, "compat", "", "do as the platform's own runner does, defects included; "+app.CompatModes())
	fs.StringArrayVar(&f.vars, "var", nil, "a variable for documents that are templates: NAME=value (Kaapana: env.NAME, or custom.NAME as custom.NAME=value)")
	f.over.register(fs)
	fs.StringVar(&f.varFile, "var-file", "", "a file of such variables, one NAME=value per line")
}

// options reads everything the flags name.
func (f *openFlags) options() (opts app.OpenOptions, err error) {
	opts = f.OpenOptions
	if opts.Overrides, err = overrides("--extra-vars", f.over.vars); err != nil {
		return opts, err
	}
	if opts.SoftOverrides, err = overrides("-e", f.over.either); err != nil {
		return opts, err
	}
	opts.Variables = map[string]string{}
	if f.varFile != "" {
		if err := readVariables(f.varFile, opts.Variables); err != nil {
			return opts, err
		}
	}
	for _, s := range f.vars {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return opts, (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("--var %s is not NAME=value", s)}).WithHint("see the Examples in --help")
		}
		opts.Variables[name] = value
	}
	return opts, nil
}

// readVariables reads a file in the form of ".env" files: NAME=value lines, comments, and quotes around values.
func readVariables(name string, into map[string]string) error {
	data, err := readDocument(name)
	if err != nil {
		return task.Errorf(task.CodeMissing, "cannot read the variables: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimPrefix(strings.TrimSpace(lines.Text()), "export ")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return task.Errorf(task.CodeUsage, "%s:%d: %q is not NAME=value", name, n, line)
		}
		into[key] = unquoted(strings.TrimSpace(value))
	}
	if err := lines.Err(); err != nil {
		return task.Errorf(task.CodeUsage, "cannot read the variables in %s: %w", name, err)
	}
	return nil
}

func unquoted(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

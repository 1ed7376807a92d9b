package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"longshore/internal/contract"
	"longshore/internal/task"
)

// overrideFlags are settings over a package's own manifest.
type overrideFlags struct {
	vars []string // --extra-vars
	// either is -e beside --env: an override for contracts that take them, as in the platform's own client, and an
	// environment variable for the others.
	either []string
}

// register adds the flags. Where environment variables can be given, their flag is registered before.
func (f *overrideFlags) register(fs *pflag.FlagSet) {
	const usage = "a field of the manifest to override: key=value, with key.key=value for inner ones (Racetrack)"
	if fs.Lookup("env") == nil {
		fs.StringArrayVarP(&f.vars, "extra-vars", "e", nil, usage)
		return
	}
	fs.StringArrayVar(&f.vars, "extra-vars", nil, usage)
	fs.StringArrayVarP(&f.either, "e", "e", nil, "--extra-vars for contracts that take overrides (Racetrack), --env for the others")
}

// overrides reads flags of key=value. A value may hold further equals signs.
func overrides(flag string, list []string) ([]contract.Override, error) {
	var out []contract.Override
	for _, s := range list {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("%s %s: cannot unpack key-value", flag, s)}).WithHint("write %s NAME=value", flag)
		}
		out = append(out, contract.Override{Key: key, Value: value})
	}
	return out, nil
}

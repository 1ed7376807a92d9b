package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"longshore/internal/app"
	"longshore/internal/image"
	"longshore/internal/task"
)

// imageBuildFlags are the flags of `image build`, with the names that docker build has for them.
type imageBuildFlags struct {
	name, dockerfile, target string
	args, labels, secrets    []string
	noCache, pull            bool
}

// imageBuild builds a Dockerfile that belongs to no package.
func imageBuild(g *globals) *cobra.Command {
	var f imageBuildFlags
	c := &cobra.Command{
		Use: "build FOLDER --name NAME", Short: "Build an image from a folder with a Dockerfile", Args: exactly("a FOLDER"),
		Example: "  longshore image build ./base --name my-base:1.0\n  longshore image build . -t my-base:1.0 --target runtime --build-arg VERSION=2 --secret id=token,src=token.txt",
		RunE: func(c *cobra.Command, args []string) error {
			opts, err := f.options(args[0])
			if err != nil {
				return err
			}
			a, err := g.open(func(c *app.Config) { c.NoCache = f.noCache })
			if err != nil {
				return err
			}
			img, err := a.BuildDockerfile(c.Context(), opts)
			if err != nil {
				return err
			}
			return g.printImages([]*image.Image{img})
		},
	}
	c.Flags().StringVarP(&f.name, "name", "t", "", "the image's name in the store; another image that has it loses it")
	c.Flags().StringVarP(&f.dockerfile, "file", "f", "Dockerfile", "the Dockerfile, relative to the folder")
	c.Flags().StringVar(&f.target, "target", "", "the stage to build, by name or number; the last one without")
	c.Flags().StringArrayVar(&f.args, "build-arg", nil, "the value of an ARG: NAME=value, or NAME for this shell's own value")
	c.Flags().StringArrayVar(&f.labels, "label", nil, "a label to set on the image: NAME=value")
	c.Flags().StringArrayVar(&f.secrets, "secret", nil, "what RUN --mount=type=secret gives out: id=NAME,src=FILE or id=NAME,env=VARIABLE")
	c.Flags().BoolVar(&f.noCache, "no-cache", false, "build every step anew")
	c.Flags().BoolVar(&f.pull, "pull", false, "ask registries for newer base images")
	return c
}

func (f *imageBuildFlags) options(folder string) (image.BuildOptions, error) {
	opts := image.BuildOptions{Dockerfile: f.dockerfile, Target: f.target, Tags: []string{f.name}, Pull: f.pull, Args: map[string]string{}, Labels: map[string]string{}, Secrets: map[string][]byte{}}
	if f.name == "" {
		return opts, (&task.Error{Code: task.CodeUsage, Message: "the image has no name"}).WithHint("add --name NAME")
	}
	var err error
	if opts.Context, err = filepath.Abs(folder); err != nil {
		return opts, err
	}
	for _, word := range f.args {
		name, value, given := strings.Cut(word, "=")
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue // as with Docker: the Dockerfile's own default holds
			}
		}
		opts.Args[name] = value
	}
	for _, word := range f.labels {
		name, value, _ := strings.Cut(word, "=")
		opts.Labels[name] = value
	}
	for _, word := range f.secrets {
		id, value, err := readSecret(word)
		if err != nil {
			return opts, err
		}
		opts.Secrets[id] = value
	}
	return opts, nil
}

// readSecret reads what --secret names. A secret without a source is the file, else the variable, of its id's name.
func readSecret(word string) (string, []byte, error) {
	fields := map[string]string{}
	for _, part := range strings.Split(word, ",") {
		key, value, ok := strings.Cut(part, "=")
		switch {
		case ok && (key == "id" || key == "env"):
			fields[key] = value
		case ok && (key == "src" || key == "source"):
			fields["src"] = value
		case ok && key == "type" && (value == "file" || value == "env"):
			fields["type"] = value
		default:
			return "", nil, secretUsage(word, fmt.Sprintf("%q is none of id=, src= and env=", part))
		}
	}
	id := fields["id"]
	if id == "" {
		return "", nil, secretUsage(word, "it has no id")
	}
	variable := fields["env"]
	if variable == "" && fields["src"] == "" {
		if value, ok := os.LookupEnv(id); ok && fields["type"] != "file" {
			return id, []byte(value), nil
		}
	}
	if fields["type"] == "env" && variable == "" {
		variable = fields["src"]
	}
	if variable != "" {
		value, ok := os.LookupEnv(variable)
		if !ok {
			return "", nil, secretUsage(word, "the variable "+variable+" is not set")
		}
		return id, []byte(value), nil
	}
	file := fields["src"]
	if file == "" {
		file = id
	}
	value, err := os.ReadFile(file)
	if err != nil {
		return "", nil, secretUsage(word, err.Error())
	}
	return id, value, nil
}

func secretUsage(word, why string) error {
	return (&task.Error{Code: task.CodeUsage, Message: fmt.Sprintf("--secret %s: %s", word, why)}).WithHint("write --secret id=NAME,src=FILE or --secret id=NAME,env=VARIABLE")
}

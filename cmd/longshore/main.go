// Command longshore runs task containers of five platforms on this machine.
package main

import (
	"os"

	"longshore/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

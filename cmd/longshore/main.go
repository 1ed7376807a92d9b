// Command longshore runs task containers of five platforms on this machine.
package main

import (
	"os"

	"longshore/internal/app"
	"longshore/internal/cli"
)

func main() {
	app.MaybeInit()
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

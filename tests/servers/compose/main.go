// Command compose-config is what `docker compose config` does, without an engine: load, check against the Compose schema, resolve, print JSON.
//
//	compose-config compose.yaml [.env]
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	environ := []string{}
	if len(os.Args) > 2 {
		environ = append(environ, os.Args[2:]...)
	}
	options, err := cli.NewProjectOptions([]string{os.Args[1]}, cli.WithOsEnv, cli.WithEnvFiles(environ...), cli.WithDotEnv, cli.WithProfiles([]string{"*"}))
	fatal(err)
	project, err := options.LoadProject(context.Background())
	fatal(err)
	text, err := project.MarshalJSON()
	fatal(err)
	fmt.Println(string(text))
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Command helmread answers what Helm itself reads, from Helm's own packages: the reference that hookhost's reading of
// release records and YAML is held against.
package main

import (
	"fmt"
	"os"
	"strconv"
)

const usage = `usage:
  helmread bench FILE N   decode the release Secret in FILE N times as Helm does; prints {"n", "min_ns", "median_ns"}
  helmread hooks FILE     the hooks of the release Secret in FILE as a JSON list
  helmread yaml           texts of YAML or JSON from stdin, each ended by NUL; a line {"json": […]} or {"error": …} for each
  helmread yaml FILE...   the same for files, which may hold any byte`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "helmread:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "bench":
		n, err := strconv.Atoi(args[2])
		if err != nil || n < 1 {
			return fmt.Errorf("N must be a number from 1, not %q", args[2])
		}
		return bench(args[1], n, os.Stdout)
	case len(args) == 2 && args[0] == "hooks":
		return hooks(args[1], os.Stdout)
	case len(args) == 1 && args[0] == "yaml":
		return readDocuments(os.Stdin, os.Stdout)
	case len(args) > 1 && args[0] == "yaml":
		return readFiles(args[1:], os.Stdout)
	}
	fmt.Fprintln(os.Stderr, usage)
	os.Exit(2)
	return nil
}

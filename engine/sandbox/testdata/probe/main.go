// Probe is the program that the tests run inside a sandbox. Each subcommand tries one thing and prints what came of it.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	cmd, args := os.Args[1], os.Args[2:]
	switch cmd {
	case "true":
	case "hello":
		fmt.Println("hello")
		fmt.Fprintln(os.Stderr, "hello, too")
	case "exit":
		n, _ := strconv.Atoi(args[0])
		os.Exit(n)
	}
}

package main

import (
	"flag"
	"fmt"
	"os"

	"vfsb/engine/bench"
)

func main() {
	var g bench.Graph
	flag.StringVar(&g.Shape, "shape", "dag", "")
	flag.IntVar(&g.N, "n", 1000, "")
	flag.StringVar(&g.Salt, "salt", "0", "")
	flag.StringVar(&g.Leaf, "leaf", "", "")
	flag.StringVar(&g.Comment, "comment", "", "")
	flag.Parse()
	if err := g.Write(flag.Arg(0), "/bin/bash-static"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vfsb/engine"
	"vfsb/engine/load"
	"vfsb/engine/source"
)

// TestOtherMachine: a native stage has an emulator where the machine cannot run the platform's programs, and nowhere else.
// What an arm64 machine would build for itself is a golden file, a line a node with what it needs.
func TestOtherMachine(t *testing.T) {
	for _, exec := range []load.Exec{{Arch: "amd64", Triplet: "x86_64-pc-linux-gnu"}, {Arch: "arm64", Triplet: "aarch64-pc-linux-gnu"}} {
		var graph strings.Builder
		emulated := map[string]bool{}
		a := &app{directory: "../..", store: filepath.Join(t.TempDir(), "store"), origin: source.Auto, offline: true}
		err := a.with(func(e *engine.Engine) error {
			e.Exec = exec
			g, err := a.graph(e, []string{"//zlib@mchroot:{amd64,arm64,armv7,i686,riscv64}"})
			if err != nil {
				return err
			}
			for _, n := range g.Nodes {
				if n.Stage.Native && len(n.Emulator) > 0 {
					emulated[n.Platform.Name] = true
				}
				if n.Platform.Name != "arm64" {
					continue
				}
				fmt.Fprint(&graph, n.Label)
				for _, id := range n.Inputs {
					fmt.Fprint(&graph, " ", strings.TrimSuffix(g.Nodes[id].Label, ":arm64"))
				}
				fmt.Fprintln(&graph)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, platform := range []string{"amd64", "arm64", "armv7", "i686", "riscv64"} {
			if emulated[platform] == exec.Runs(platform) {
				t.Errorf("on %s the emulator of %s: %t", exec.Arch, platform, emulated[platform])
			}
		}
		if exec.Arch != "arm64" {
			continue
		}
		golden := filepath.Join("testdata", "arm64-machine.golden")
		if *update {
			if err := os.WriteFile(golden, []byte(graph.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if graph.String() != string(want) {
			t.Errorf("the graph is not that of %s; -update writes it:\n%s", golden, graph.String())
		}
	}
}

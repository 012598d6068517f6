package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"vfsb/engine/load"
)

// Texts of new files. What is in capitals is replaced.
const (
	newWorkspace = `# What this workspace builds upon.
workspace {
  # Folders whose packages/, profiles/, templates/ and lock file count here, too. Where two
  # have the same, this workspace's own counts, then the first of the list. "shipped" is
  # what the command vfsb carries; a path such as "../team" is another workspace.
  import = ["shipped"]

  # With this, only a vfsb that carries exactly these packages builds here.
  # pin = "DIGEST"
}
`
	newIgnore  = "/out/\n/edit/\n"
	newPackage = `# Build it with: vfsb build //NAME:PLATFORM
package "NAME" {
  summary = "Says hello"
  version = "1.0"

  # A source lies beside this file, or it comes from elsewhere and is pinned:
  #   source {
  #     url    = "https://example.org/NAME-${version}.tar.gz"
  #     sha256 = "…"
  #   }
  source {
    file = "NAME.c"
  }

  # How to build it. Most packages need no more than "autotools {}" or "make {}" here.
  script {
    # deps = ["//zlib"]   # headers and libraries of other packages
    script = <<-SH
      $CC $CFLAGS -o NAME NAME.c $LDFLAGS
      mkdir -p "$OUT/usr/bin"
      cp NAME "$OUT/usr/bin/"
    SH
  }
}
`
	newSource = `#include <stdio.h>

int main(void) {
	puts("hello");
	return 0;
}
`
)

func initVerb(app *app) *cobra.Command {
	var pkg string
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a workspace of your own, or a package in it",
		Long: `init writes vfsb.hcl, which imports the packages, profiles and templates that vfsb
carries, an empty packages/ and a .gitignore, into DIR or the current folder. It
changes nothing that is there. With --package it writes a small package, too, to
start from: into the new workspace, or into the one that it is called in.`,
		Example: `  vfsb init my-system
  vfsb init --package hello`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if l, err := load.ParseLabel("//" + pkg); pkg != "" && (err != nil || l.Package != pkg) {
				return usageError{fmt.Errorf("--package: %q is not a package's name (letters, digits, . + - and _)", pkg)}
			}
			if len(args) == 1 && filepath.IsAbs(args[0]) {
				app.directory = args[0]
			} else if len(args) == 1 {
				app.directory = filepath.Join(app.directory, args[0])
			}
			dir, err := filepath.Abs(app.directory)
			if err != nil {
				return err
			}
			root, err := load.FindRoot(dir)
			switch {
			case err != nil || root == dir && exists(filepath.Join(dir, load.FileName)):
				if err := initWorkspace(dir, err != nil); err != nil {
					return err
				}
			case pkg == "" || len(args) == 1:
				return usageError{fmt.Errorf("%s lies in the workspace %s; vfsb init --package NAME there adds a package, and vfsb init in a folder elsewhere makes a workspace", dir, root)}
			}
			if pkg != "" {
				return app.initPackage(pkg)
			}
			if err == nil {
				fmt.Fprintf(stdout, "%s is a workspace already\n", dir)
			}
			fmt.Fprintln(stdout, "next, there:")
			fmt.Fprintf(stdout, "  vfsb query //...:%s    what there is to build\n", seedPlatform)
			fmt.Fprintln(stdout, "  vfsb init --package hello      a package of your own")
			fmt.Fprintln(stdout, "  vfsb override //bash           your copy of an imported package")
			return nil
		},
	}
	cmd.Flags().StringVar(&pkg, "package", "", "also write a package of that `NAME`")
	return cmd
}

// seedPlatform is this machine's platform of the profile in which trying things is quick.
const seedPlatform = runtime.GOARCH + "-seed"

// initWorkspace writes what the workspace in dir lacks.
func initWorkspace(dir string, isNew bool) error {
	packages := filepath.Join(dir, "packages")
	if exists(packages) && isNew {
		// What is somebody's must not become a package.
		entries, err := os.ReadDir(packages)
		for _, e := range entries {
			if err == nil && e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !exists(filepath.Join(packages, e.Name(), "package.hcl")) {
				err = fmt.Errorf("%s has no package.hcl", filepath.Join(packages, e.Name()))
			}
		}
		if err != nil {
			return usageError{fmt.Errorf("%w; packages/ is to hold the packages of the workspace: choose another folder, or move what is there", err)}
		}
	} else if !exists(packages) {
		if err := os.MkdirAll(packages, 0o777); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "wrote %s/\n", packages)
	}
	if isNew {
		text := strings.ReplaceAll(newWorkspace, "DIGEST", carriedDigest())
		if err := writeNew(filepath.Join(dir, load.FileName), text); err != nil {
			return err
		}
	}
	ignore := filepath.Join(dir, ".gitignore")
	if !exists(ignore) {
		return writeNew(ignore, newIgnore)
	}
	if text, err := os.ReadFile(ignore); err != nil || !ignoresOut.Match(text) {
		fmt.Fprintf(stdout, "%s is there already; add to it: %s", ignore, newIgnore)
	}
	return nil
}

var ignoresOut = regexp.MustCompile(`(?m)^/?out/?$`)

// initPackage writes a package to start from.
func (a *app) initPackage(name string) error {
	store, err := a.openStore()
	if err != nil {
		return err
	}
	ws, err := a.workspace(store)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	if p := ws.Packages[name]; p != nil {
		remedy := "choose another name"
		if p.Folder.Import != "" {
			remedy += ", or copy that one with vfsb override //" + name
		}
		return usageError{fmt.Errorf("there is a package %q: %s; %s", name, load.Pos(p.Range), remedy)}
	}
	dir := filepath.Join(ws.Root, "packages", name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	fill := strings.NewReplacer("NAME", name, "PLATFORM", seedPlatform)
	err = errors.Join(
		writeNew(filepath.Join(dir, name+".c"), newSource),
		writeNew(filepath.Join(dir, "package.hcl"), fill.Replace(newPackage)),
	)
	if err == nil {
		fmt.Fprintf(stdout, "next: vfsb build //%s:%s\n", name, seedPlatform)
	}
	return err
}

// writeNew writes a file that is not there yet, and says so.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "wrote %s\n", path)
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

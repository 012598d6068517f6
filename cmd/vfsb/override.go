package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"vfsb/engine"
	"vfsb/engine/load"
)

func overrideVerb(app *app) *cobra.Command {
	var list bool
	cmd := &cobra.Command{
		Use:   "override LABEL|FILE…",
		Short: "Copy an imported package, profile or template into the workspace, to change it",
		Long: `override copies the folders of imported packages, and files of the imported
profiles/ or templates/, to the same paths in the workspace. From then on the copy
counts. It is built from the same bytes: nothing is built again until it is changed.

For a patch or two no copy is needed: packages/NAME/patches/*.patch in the workspace,
without a package.hcl, are applied after the imported package's own.`,
		Example: `  vfsb override //bash
  vfsb override profiles/musl/platforms.hcl
  vfsb override --list`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, args []string) error {
			if list == (len(args) > 0) {
				return usageError{fmt.Errorf("override wants labels, files, or --list; see vfsb help override")}
			}
			return app.with(func(e *engine.Engine) error {
				if list {
					return listOverrides(e.Workspace)
				}
				for _, what := range args {
					var disk *fs.PathError
					if err := override(e.Workspace, what); errors.As(err, &disk) {
						return err
					} else if err != nil {
						return usageError{err}
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "list what the workspace overrides, and whether the imported ones have changed since")
	return cmd
}

func override(ws *load.Workspace, what string) error {
	file := path.Clean(what)
	if strings.HasPrefix(what, "//") || !strings.Contains(what, "/") {
		l, err := load.ParseLabel(what)
		if err != nil {
			return err
		}
		file = "packages/" + l.Package
	}
	o, err := ws.Override(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s is now this workspace's own, a copy of %s\nto go back: rm -r %s\n", o.Path, o.Imported, path.Join(ws.Root, o.Path))
	return nil
}

func listOverrides(ws *load.Workspace) error {
	overrides, err := ws.Overrides()
	if err != nil {
		return err
	}
	for _, o := range overrides {
		state := ""
		switch {
		case o.Patches > 0:
			state = fmt.Sprintf("patches on that of %q: %d", o.Import, o.Patches)
		case o.Same:
			state = fmt.Sprintf("the same as that of %q", o.Import)
		case !o.Copied:
			state = fmt.Sprintf("instead of that of %q", o.Import)
		case o.Changed:
			state = fmt.Sprintf("changed; that of %q has changed, too, since it was copied: diff -ru %s %s", o.Import, o.Imported, path.Join(ws.Root, o.Path))
		default:
			state = fmt.Sprintf("changed; that of %q is still what was copied", o.Import)
		}
		fmt.Fprintf(stdout, "%s  %s\n", o.Path, state)
	}
	return nil
}

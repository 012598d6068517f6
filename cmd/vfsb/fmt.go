package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"vfsb/engine/load"
)

func fmtVerb(app *app) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "fmt [FILE…]",
		Short: "Bring HCL files into their canonical layout: the workspace's, or those named",
		Long: `Prints the names of the files that it changes. Only white space changes, and
none within a heredoc: no key does. A file that is not valid HCL stays as it is.
- formats standard input to standard output.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, paths []string) error {
			dir := app.directory
			if len(paths) == 0 {
				root, err := load.FindRoot(dir)
				if err != nil {
					return usageError{err}
				}
				dir, paths = root, load.Files(root)
			}
			f := formatter{dir: dir, check: check, files: map[string]*hcl.File{}}
			for _, name := range paths {
				if err := f.format(name); err != nil {
					return err
				}
			}
			if err := app.diagnoseIn(f.diags, f.printDiagnostics); err != nil {
				return err
			}
			if check && f.changed {
				if stdout.err != nil {
					return stdout.err
				}
				return exitError{exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "only list the files that would change, and exit with 1 if there are any")
	return cmd
}

// A formatter formats files one by one.
type formatter struct {
	dir     string // what names are relative to
	check   bool
	changed bool // some file is, or would be
	diags   hcl.Diagnostics
	files   map[string]*hcl.File // those that diags are about, for snippets
}

func (f *formatter) format(name string) error {
	if name == "-" {
		return f.pipe()
	}
	path := within(f.dir, name)
	text, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, unix.EISDIR) {
			err = fmt.Errorf("%w; name files, or nothing for all of the workspace's", err)
		}
		return usageError{err}
	}
	formatted, changes := f.layout(name, text)
	if !changes {
		return nil
	}
	if !f.check {
		if err := load.WriteFile(path, formatted); err != nil {
			return err
		}
	}
	fmt.Fprintln(stdout, name)
	return nil
}

// pipe formats standard input to standard output.
func (f *formatter) pipe() error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	const name = "<stdin>"
	formatted, changes := f.layout(name, text)
	switch {
	case f.diags.HasErrors():
	case !f.check:
		_, err = stdout.Write(formatted)
	case changes:
		fmt.Fprintln(stdout, name)
	}
	return err
}

// layout is the canonical text, and whether it is another one.
func (f *formatter) layout(name string, text []byte) (formatted []byte, changes bool) {
	formatted, diags := load.Format(name, text)
	if diags.HasErrors() {
		f.diags = append(f.diags, diags...)
		f.files[name] = &hcl.File{Bytes: text}
	}
	changes = !bytes.Equal(formatted, text)
	f.changed = f.changed || changes
	return formatted, changes
}

func (f *formatter) printDiagnostics(w io.Writer, diags hcl.Diagnostics, width uint, color bool) error {
	return hcl.NewDiagnosticTextWriter(w, f.files, width, color).WriteDiagnostics(diags)
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/spf13/cobra"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/load"
)

func patchVerb(app *app) *cobra.Command {
	p := &patcher{app: app}
	var finish, abandon bool
	cmd := &cobra.Command{
		Use:   "patch LABEL",
		Short: "Unpack a package's source to be edited, and make a patch of what was edited",
		Long: `Unpacks the source, with the package's patches applied, into a folder: it is what
the build sees. Edit it; --finish then writes the difference as the package's next
patch, checks that it applies, and names it in package.hcl. The folder stays, for
further patches, until --abandon removes it.`,
		Example: `  vfsb patch //bash:amd64-musl
  $EDITOR edit/bash/shell.c
  vfsb patch //bash:amd64-musl --finish --name quiet-start`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: app.completeLabels,
		RunE: func(cmd *cobra.Command, args []string) error {
			if p.name != "" && !finish {
				return usageError{errors.New("--name goes with --finish")}
			}
			if p.name != "" && !patchName.MatchString(p.name) {
				return usageError{fmt.Errorf("--name %q: use letters, digits, . + - and _, such as fix-build", p.name)}
			}
			return app.with(func(e *engine.Engine) error {
				g, id, err := app.one(e, args[0])
				if err != nil {
					return err
				}
				p.engine, p.graph, p.node = e, g, g.Nodes[id]
				if p.dir == "" {
					p.dir = p.usualDir()
				} else {
					p.dir = within(app.directory, p.dir)
				}
				if p.dir, err = filepath.Abs(p.dir); err != nil {
					return err
				}
				switch {
				case abandon:
					return p.abandon()
				case finish:
					return p.finish(cmd)
				}
				return p.begin(cmd)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.dir, "dir", "", "the `DIR` to edit in (default: edit/PACKAGE in the workspace)")
	f.BoolVar(&finish, "finish", false, "make a patch of what was edited")
	f.StringVar(&p.name, "name", "", "with --finish: the patch's `NAME` (default: changes)")
	f.BoolVar(&abandon, "abandon", false, "remove the folder, with what was edited in it")
	chooseProgress(f, &p.progress)
	cmd.MarkFlagsMutuallyExclusive("finish", "abandon")
	return cmd
}

var patchName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)

// A patcher is one run of patch.
type patcher struct {
	*app
	dir, name, progress string
	engine              *engine.Engine
	graph               *engine.Graph // of node
	node                *engine.Node
}

// patchState is what the edited folder knows of itself.
type patchState struct {
	Label string       `json:"label"`
	Tree  cache.Digest `json:"tree"` // of the source that it is a copy of
}

// begin unpacks the source for editing.
func (p *patcher) begin(cmd *cobra.Command) error {
	if err := p.check(); err != nil {
		return usageError{err}
	}
	if _, err := os.Lstat(p.dir); err == nil {
		return usageError{fmt.Errorf("%s exists; go on editing there and use --finish, or --abandon it, or name another folder with --dir", p.dir)}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return usageError{err}
	}
	source, release, err := p.unpack(cmd)
	if err != nil {
		return err
	}
	defer release()
	if err := source.CopyTo(p.dir, p.stateText(source)); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "The source of %s is in %s, with %d patches applied.\nEdit it, then: vfsb patch %s --finish --name WHAT-IT-DOES\n",
		p.node.Label, p.dir, len(p.node.Step.Patches), p.command())
	return nil
}

// usualDir is where one edits unless --dir says another folder.
func (p *patcher) usualDir() string {
	return filepath.Join(p.engine.Workspace.Root, "edit", p.node.Target.Package.Name)
}

// command is the label, and the folder if it is not the usual one.
func (p *patcher) command() string {
	if p.dir == p.usualDir() {
		return p.node.Label
	}
	return p.node.Label + " --dir " + p.dir
}

// check refuses what --finish could not write a patch for.
func (p *patcher) check() error {
	pkg := p.node.Target.Package
	if p.node.Step != nil && len(p.node.Step.Patches) > len(pkg.Patches) {
		return fmt.Errorf("%s: %s has patches of its own, which come after those of its package; write the next one by hand, or name another target",
			load.Pos(p.node.Target.Range), p.node.Label)
	}
	return nil
}

func (p *patcher) unpack(cmd *cobra.Command) (*engine.PatchedSource, func(), error) {
	show := p.display(cmd.Context(), p.progress, p.graph, nil)
	source, release, err := p.engine.UnpackSource(cmd.Context(), p.node, engine.Options{Notify: show.event})
	show.close()
	var diags hcl.Diagnostics
	if errors.As(err, &diags) {
		err = p.diagnose(p.engine.Workspace, diags)
	}
	return source, release, err
}

// state reads what the edited folder is a copy of.
func (p *patcher) state() (s patchState, err error) {
	text, err := os.ReadFile(filepath.Join(p.dir, engine.PatchState))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, fmt.Errorf("%s is no folder that vfsb patch made; begin with vfsb patch %s", p.dir, p.command())
	case err != nil:
		return s, fmt.Errorf("%s: %w", filepath.Join(p.dir, engine.PatchState), err)
	case s.Label != p.node.Label:
		return s, fmt.Errorf("%s holds the source of %s, not of %s; name that label", p.dir, s.Label, p.node.Label)
	}
	return s, nil
}

func (p *patcher) abandon() error {
	if _, err := p.state(); err != nil {
		return usageError{err}
	}
	return cache.Remove(p.dir)
}

// finish makes a patch of what was edited, and adds it to the package.
func (p *patcher) finish(cmd *cobra.Command) error {
	state, err := p.state()
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return usageError{err}
	}
	source, release, err := p.unpack(cmd)
	if err != nil {
		return err
	}
	defer release()
	edits, err := source.Compare(p.dir)
	if err != nil {
		return err
	}
	edited := len(edits.Paths)+len(edits.Refused) > 0
	if source.Tree != state.Tree && edited {
		return usageError{fmt.Errorf("the source or the patches of %s have changed since %s was made; undo that, or keep your files elsewhere, --abandon the folder and begin again",
			p.node.Label, p.dir)}
	}
	for _, note := range edits.Notes {
		fmt.Fprintln(os.Stderr, "note: "+note)
	}
	if len(edits.Refused) > 0 {
		return usageError{fmt.Errorf("nothing was written:\n  %s", strings.Join(edits.Refused, "\n  "))}
	}
	if !edited {
		fmt.Fprintf(stdout, "Nothing was edited in %s: there is nothing to write.\n", p.dir)
		return p.writeState(source)
	}
	text, err := source.Patch(cmd.Context(), p.dir, edits)
	if err != nil {
		return err
	}
	if err := p.add(text); err != nil {
		return err
	}
	return p.writeState(source) // further edits are on top of this patch
}

func (p *patcher) writeState(source *engine.PatchedSource) error {
	return load.WriteFile(filepath.Join(p.dir, engine.PatchState), p.stateText(source))
}

// stateText is the folder's state while it is a copy of source, edited or not.
func (p *patcher) stateText(source *engine.PatchedSource) []byte {
	text, err := json.Marshal(patchState{p.node.Label, source.Tree})
	if err != nil {
		panic("BUG: " + err.Error()) // strings only
	}
	return append(text, '\n')
}

// add writes the patch beside the package, and names it in package.hcl unless a glob does. For an imported package the
// workspace gets a folder with nothing but patches.
func (p *patcher) add(patch []byte) error {
	pkg := p.node.Target.Package
	dir := filepath.Join(p.engine.Workspace.Root, "packages", pkg.Name)
	present, err := filepath.Glob(filepath.Join(dir, "patches/*.patch"))
	if err != nil {
		return err
	}
	file := nextPatch(append(slices.Clone(pkg.Patches), present...), p.name)
	path := filepath.Join(dir, file)
	undo := func() error { return os.Remove(path) }
	var hclPath string
	if pkg.Folder.Import == "" {
		var others []string
		for _, name := range present {
			if !slices.Contains(pkg.Patches, name) {
				others = append(others, name)
			}
		}
		hclPath = filepath.Join(dir, "package.hcl")
		before, err := os.ReadFile(hclPath)
		if err != nil {
			return err
		}
		after, err := load.AddPatch(pkg.Range.Filename, before, pkg.Name, file, others)
		if err != nil {
			return usageError{err}
		}
		if string(after) == string(before) {
			hclPath = ""
		} else {
			if err := load.WriteFile(hclPath, after); err != nil {
				return err
			}
			undo = func() error { return errors.Join(os.Remove(path), load.WriteFile(hclPath, before)) }
		}
	}
	tmp := path + ".tmp"
	err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(tmp, patch, 0o644))
	if err := errors.Join(err, os.Rename(tmp, path)); err != nil {
		return errors.Join(err, undo())
	}
	// The patch was made on top of all others: it must be the last one.
	ws, diags, err := p.load(p.engine.Store)
	if err != nil {
		return errors.Join(err, undo())
	}
	if diags.HasErrors() || !slices.Equal(ws.Packages[pkg.Name].Patches, append(slices.Clone(pkg.Patches), path)) {
		return usageError{errors.Join(fmt.Errorf("%s would not be applied after all other patches of %s; begin their names with numbers of four digits, as in 0001-name.patch, and finish again", file, pkg.Name), undo())}
	}
	fmt.Fprintln(stdout, path)
	if hclPath != "" {
		fmt.Fprintln(stdout, hclPath)
	}
	fmt.Fprintf(stdout, "Build it: vfsb build %s. The folder %s stays for further patches; vfsb patch %s --abandon removes it.\n", p.node.Label, p.dir, p.command())
	return nil
}

// nextPatch is the name of a patch that comes after those present.
func nextPatch(present []string, name string) string {
	number := 0
	for _, path := range present {
		digits, _, _ := strings.Cut(filepath.Base(path), "-")
		if n, err := strconv.ParseUint(digits, 10, 31); err == nil {
			number = max(number, int(n))
		}
	}
	if name == "" {
		name = "changes"
	}
	return fmt.Sprintf("patches/%04d-%s.patch", number+1, name)
}

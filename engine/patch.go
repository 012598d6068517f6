package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"vfsb/cache"
	"vfsb/engine/action"
	"vfsb/engine/artifact"
	"vfsb/engine/load"
	"vfsb/engine/sandbox"
)

// A PatchedSource is a node's source as its script finds it: unpacked and patched, in a sandbox's folder.
type PatchedSource struct {
	Tree  cache.Digest // of what is in it
	index *cache.Index
	run   *run
}

func (p *PatchedSource) build() string { return filepath.Join(p.run.dir, "build") }
func (p *PatchedSource) src() string   { return filepath.Join(p.build(), "src") }

// UnpackSource unpacks and patches the source of a node with the beginning of its own script. The sandbox has the root of
// the node's stage and nothing else: to look at a source, its cross compiler need not be built. release removes it all.
func (e *Engine) UnpackSource(ctx context.Context, n *Node, o Options) (p *PatchedSource, release func(), err error) {
	err = anew(ctx, o, func() (err error) {
		p, release, err = e.unpackSource(ctx, n, o)
		return err
	})
	return p, release, err
}

func (e *Engine) unpackSource(ctx context.Context, n *Node, o Options) (p *PatchedSource, release func(), err error) {
	script, err := prologue(n)
	if err != nil {
		return nil, nil, err
	}
	g, err := e.stageRoot(n)
	if err != nil {
		return nil, nil, err
	}
	x, err := e.execution(g, o)
	if err != nil {
		return nil, nil, err
	}
	defer x.close()
	if err := x.buildAll(ctx); err != nil {
		return nil, nil, err
	}
	files, err := x.scriptFiles(n)
	if err == nil {
		err = e.Fetcher.Lock.Save()
	}
	if err != nil {
		return nil, nil, &SourceError{err}
	}
	layers := g.closure(g.Roots, runtimeEdge)
	a := &action.Action{Env: scriptEnv(n.Step), Script: script, Files: files, Mounts: []action.Mount{x.mount("/", layers)}}
	x.need(nil, append(fileDigests(a), cache.DigestOf(script)))
	if err := x.pin(); err != nil {
		return nil, nil, err
	}
	if err := x.fetch(ctx, n); err != nil {
		return nil, nil, &SourceError{err}
	}
	for _, id := range layers {
		if err := x.present(ctx, id); err != nil {
			return nil, nil, err
		}
	}
	dir, release, err := e.Store.NewRun(n.Label)
	if err != nil {
		return nil, nil, err
	}
	p = &PatchedSource{run: &run{execution: x, node: n, action: a, dir: dir}}
	if err := p.unpack(ctx); err != nil {
		release()
		return nil, nil, err
	}
	return p, release, nil
}

// stageRoot is the graph of the root of the node's stage.
func (e *Engine) stageRoot(n *Node) (*Graph, error) {
	resolver := load.NewResolver(e.Workspace, e.Exec)
	var roots []load.Config
	for _, edge := range n.Step.Root {
		c, err := resolver.Resolve(edge.Label, n.Platform.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", load.Pos(edge.Range), err)
		}
		roots = append(roots, c)
	}
	g, diags := e.Analyze(roots)
	if diags.HasErrors() {
		return nil, diags
	}
	return g, nil
}

// prologue is the beginning of the node's script, which unpacks and patches: what comes before any other phase.
func prologue(n *Node) ([]byte, error) {
	if n.Step == nil || n.Step.Script == nil || len(n.Step.Sources) == 0 {
		return nil, hcl.Diagnostics{load.Errorf(n.Target.Range, "%s has no source that a script unpacks; name a target that has one", n.Label)}
	}
	at, unpacks := 0, false
	for line := range bytes.Lines(n.Step.Script) {
		if name, ok := bytes.CutPrefix(line, []byte("phase ")); ok {
			switch strings.TrimSpace(string(name)) {
			case "unpack":
				unpacks = true
			case "patch":
			default:
				if unpacks {
					return n.Step.Script[:at], nil
				}
			}
		}
		at += len(line)
	}
	return nil, hcl.Diagnostics{load.Errorf(n.Target.Range,
		"the script of %s has no phase after that of unpacking, so nothing tells where its source is ready; include prologue.sh.j2 in its template, and begin a phase after it", n.Label)}
}

// unpack runs the prologue.
func (p *PatchedSource) unpack(ctx context.Context) (err error) {
	if p.run.spec, err = p.run.sandboxSpec(); err != nil {
		return err
	}
	err = p.run.script(ctx)
	var failed *NodeError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%w\n%s", err, strings.Join(failed.Tail, "\n"))
		return &BuildError{Failures: []Failure{{p.run.node.Label, err}}}
	}
	if err != nil {
		return err
	}
	return p.capture()
}

func (p *PatchedSource) capture() (err error) {
	p.index, p.Tree, err = cache.Capture(p.src(), cache.CaptureOptions{})
	return err
}

// CopyTo copies the tree to the folder dir, which must not exist, with one more file, state: both or nothing.
func (p *PatchedSource) CopyTo(dir string, state []byte) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*")
	if err != nil {
		return err
	}
	defer cache.Remove(tmp) // gone after the rename
	tree, err := artifact.Merge([]artifact.Part{{Label: p.run.node.Label, Index: p.index, Dir: p.src()}}, nil)
	if err != nil {
		return err
	}
	err = errors.Join(tree.WriteTo(tmp), p.chmod(tmp, 0o600), os.Chmod(tmp, 0o755), os.WriteFile(filepath.Join(tmp, PatchState), state, 0o644))
	if err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// chmod gives what lies in a copy of the tree the modes that the script left, and more.
func (p *PatchedSource) chmod(copied string, more os.FileMode) error {
	for i := range p.index.Entries {
		if e := &p.index.Entries[i]; e.Kind == cache.File || e.Kind == cache.Dir {
			if err := os.Chmod(filepath.Join(copied, e.Path), os.FileMode(e.Mode&0o777)|more); err != nil {
				return err
			}
		}
	}
	return nil
}

// PatchState is the file in an edited tree that says what it is a copy of. It is no part of the source.
const PatchState = ".vfsb-patch"

// Edits is what was done to a copy of a source's tree.
type Edits struct {
	Paths   []string // files that a patch can change, add or remove, sorted
	Refused []string // what a patch cannot say, each with its path
	Notes   []string // what a patch leaves out
}

// leftover matches what editors and patch(1) leave behind, and a version control's folder.
var leftover = regexp.MustCompile(`^\.git$|~$|\.(orig|rej)$|^\.#|^\..*\.sw[a-p]$`)

// Compare compares the tree with its edited copy.
func (p *PatchedSource) Compare(edited string) (*Edits, error) {
	c := &comparison{source: p, edited: edited, seen: map[string]bool{}}
	if err := filepath.WalkDir(edited, c.visit); err != nil {
		return nil, err
	}
	for i := range p.index.Entries {
		e := &p.index.Entries[i]
		switch {
		case c.seen[e.Path] || e.Kind == cache.Dir: // a folder goes with what it held
		case e.Kind == cache.File || e.Kind == cache.Hardlink:
			if err := c.file(e.Path, ""); err != nil {
				return nil, err
			}
		default:
			c.refuse(e.Path, "a patch cannot remove what is no file")
		}
	}
	slices.Sort(c.Paths)
	return &c.Edits, nil
}

// A comparison is one run of Compare.
type comparison struct {
	Edits
	source *PatchedSource
	edited string
	seen   map[string]bool // paths of the edited tree
}

func (c *comparison) refuse(path, why string) {
	c.Refused = append(c.Refused, fmt.Sprintf("%s: %s", path, why))
}

// visit looks at one path of the edited tree.
func (c *comparison) visit(full string, d os.DirEntry, err error) error {
	if err != nil || full == c.edited {
		return err
	}
	path := full[len(c.edited)+1:]
	if path == PatchState {
		return nil
	}
	old, had := c.source.index.Lookup(path)
	if !had && leftover.MatchString(filepath.Base(path)) {
		c.Notes = append(c.Notes, path+" is left out: it looks like what an editor or a tool left behind")
		if d.IsDir() {
			return filepath.SkipDir
		}
		return nil
	}
	c.seen[path] = true
	wasFile := had && (old.Kind == cache.File || old.Kind == cache.Hardlink)
	switch {
	case d.IsDir():
		if had && old.Kind != cache.Dir {
			c.refuse(path, "a patch cannot put a folder in the place of something else")
		}
	case d.Type() == os.ModeSymlink:
		target, err := os.Readlink(full)
		if err != nil {
			return err
		}
		if !had || old.Kind != cache.Symlink || old.Link != target {
			c.refuse(path, "a patch cannot make or change a symbolic link; make it in the package's prepare script")
		}
	case !d.Type().IsRegular():
		c.refuse(path, "a patch can only hold files")
	case had && !wasFile:
		c.refuse(path, "a patch cannot put a file in the place of something else")
	default:
		info, err := d.Info()
		if err != nil {
			return err
		}
		if runs := info.Mode()&0o100 != 0; runs != (had && old.Mode&0o100 != 0) {
			c.Notes = append(c.Notes, fmt.Sprintf("%s: its mode %04o is left out: patch(1) sets none; use chmod in the package's prepare script", path, info.Mode().Perm()))
		}
		return c.file(path, full)
	}
	return nil
}

// file compares a file of the tree, if it has one at path, with the edited one at full; "" is none.
func (c *comparison) file(path, full string) (err error) {
	var before, after []byte
	_, had := c.source.index.Lookup(path)
	if had {
		if before, err = os.ReadFile(filepath.Join(c.source.src(), path)); err != nil {
			return err
		}
	}
	if full != "" {
		if after, err = os.ReadFile(full); err != nil {
			return err
		}
	}
	switch {
	case had && full != "" && bytes.Equal(before, after):
	case bytes.IndexByte(before, 0) >= 0 || bytes.IndexByte(after, 0) >= 0:
		c.refuse(path, "is a binary file, which a patch cannot hold; remove it if a build left it, or make it a source of the package")
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '"' || r == '\\' }):
		c.refuse(fmt.Sprintf("%q", path), "a patch cannot hold this name")
	case len(before)+len(after) == 0:
		c.refuse(path, "patch(1) cannot add or remove an empty file")
	default:
		c.Paths = append(c.Paths, path)
	}
	return nil
}

// makePatch writes the difference between src/ and edited/ to changes, one file after the other and without times, and
// applies it to src/ with the options of prologue.sh.j2.
const makePatch = `set -euo pipefail
umask 022
cd /build
: > empty
: > changes
mapfile -d '' -t paths < paths
for path in "${paths[@]}"; do
  old=src/$path new=edited/$path from=a/$path to=b/$path
  if [[ $path == *' '* ]]; then # a tab ends the name
    from+=$'\t' to+=$'\t'
  fi
  if [[ ! -e $old ]]; then
    old=empty from=/dev/null
  fi
  if [[ ! -e $new ]]; then
    new=empty to=/dev/null
  fi
  diff -a -u -L "$from" -L "$to" "$old" "$new" >> changes || [[ $? = 1 ]]
done
cd src
patch -p1 --batch --forward --input=../changes >&2
`

// Patch makes a patch of the edits, in the sandbox, and checks that it turns the tree into the edited copy: the tree is
// that afterwards.
func (p *PatchedSource) Patch(ctx context.Context, edited string, edits *Edits) ([]byte, error) {
	for _, path := range edits.Paths {
		text, err := os.ReadFile(filepath.Join(edited, path))
		if errors.Is(err, os.ErrNotExist) { // removed
			continue
		}
		to := filepath.Join(p.build(), "edited", path)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, text, 0o644)
		}
		if err != nil {
			return nil, err
		}
	}
	// capture has made all of it writable; patch(1) shall find and leave what it does in a build.
	if err := p.chmod(p.src(), 0); err != nil {
		return nil, err
	}
	list := strings.Join(edits.Paths, "\x00") + "\x00"
	if err := os.WriteFile(filepath.Join(p.build(), "paths"), []byte(list), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(p.run.dir, "patch.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	spec := p.run.spec
	spec.Argv, spec.Resume, spec.Stdout, spec.Stderr = []string{"/bin/bash", "-c", makePatch}, true, log, log
	result, err := sandbox.Run(ctx, spec)
	if err != nil {
		return nil, err
	}
	if result.ExitCode != 0 {
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("diff or patch failed:\n%s", text)
	}
	if err := p.capture(); err != nil {
		return nil, err
	}
	rest, err := p.Compare(edited)
	if err != nil {
		return nil, err
	}
	if left := slices.Concat(rest.Paths, rest.Refused); len(left) > 0 {
		return nil, fmt.Errorf("the patch does not give the edited tree; these differ:\n  %s", strings.Join(left, "\n  "))
	}
	return os.ReadFile(filepath.Join(p.build(), "changes"))
}

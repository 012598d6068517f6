package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"vfsb/cache"
	"vfsb/engine"
	"vfsb/engine/artifact"
)

func diffVerb(app *app) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Say in what two outputs differ: files, modes, owners, sizes, an image's configuration",
		Long: `A and B are each a label (what it is as it is declared now), an earlier run of one
(LABEL~1, as vfsb log --list counts them), a layer by its digest or the beginning of
that, a rootfs tarball (plain, gzip, xz or zstd), or an OCI image, as an archive or
as a layout's folder.

+ was added, - removed, ~ changed. Exits with 0 if both are the same, 1 if they
differ, 2 in case of trouble.`,
		Example: `  vfsb diff //bash:amd64-musl~1 //bash:amd64-musl
  vfsb diff -p 0a834fedcb5a 2496d38feb39
  vfsb diff out/alkaline-amd64.tar.zst other.tar.xz`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			if !strings.HasPrefix(prefix, "//") {
				return nil, cobra.ShellCompDirectiveDefault // a file
			}
			return app.completeLabels(cmd, args, prefix)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &differ{app: app, diffOptions: o}
			differ, err := d.run(args[0], args[1])
			var exit exitError
			switch {
			case err != nil && !errors.As(err, &exit):
				return usageError{err} // as diff(1) has it, trouble is 2
			case err == nil && differ:
				return exitError{exitFailed}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.patch, "patch", "p", false, "show the lines that differ in text files, and where others begin to differ")
	f.BoolVar(&o.stat, "stat", false, "print the totals only")
	f.BoolVar(&o.json, "json", false, "print a JSON object a line for each difference, and one with the totals")
	return cmd
}

type diffOptions struct{ patch, stat, json bool }

// A differ is one run of diff, with what its operands need.
type differ struct {
	*app
	diffOptions
	engine  *engine.Engine
	store   *cache.Store
	folders []string // to be removed at the end
}

// run compares two operands, prints in what they differ, and reports whether they do.
func (d *differ) run(a, b string) (differ bool, err error) {
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.open(a, b); err != nil {
		return false, err
	}
	var sides [2]*artifact.Contents
	for i, operand := range []string{a, b} {
		if sides[i], err = d.contents(operand); err != nil {
			return false, err
		}
	}
	difference := artifact.Compare(sides[0], sides[1])
	if d.patch && !d.stat {
		for _, c := range sides {
			if err := d.fetch(c, difference.Changes); err != nil {
				return false, err
			}
		}
	}
	out := bufio.NewWriter(stdout)
	if d.json {
		err = d.printJSON(out, difference)
	} else {
		err = d.print(out, difference, sides)
	}
	return len(difference.Changes)+len(difference.Config) > 0, errors.Join(err, out.Flush())
}

// layerDigest is how a layer can be written: as build --json prints it, or the beginning.
var layerDigest = regexp.MustCompile(`^(?:sha256:)?([0-9a-f]{4,64})(?:/[0-9]+)?$`)

// open opens what the operands need: labels a workspace and a store, digests a store, files neither.
func (d *differ) open(operands ...string) (err error) {
	for _, operand := range operands {
		isLabel := strings.HasPrefix(operand, "//")
		if d.store == nil && (isLabel || !d.isFile(operand)) {
			if d.store, err = d.openStore(); err != nil {
				return err
			}
		}
		if isLabel && d.engine == nil {
			if d.engine, err = d.app.open(d.store); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *differ) close() (err error) {
	if d.store != nil {
		err = d.store.Close()
	}
	for _, dir := range d.folders {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

func (d *differ) isFile(operand string) bool {
	_, err := os.Stat(within(d.directory, operand))
	return !strings.HasPrefix(operand, "//") && err == nil
}

// contents reads an operand.
func (d *differ) contents(operand string) (*artifact.Contents, error) {
	switch m := layerDigest.FindStringSubmatch(operand); {
	case strings.HasPrefix(operand, "//"):
		l, err := d.layerOf(operand)
		if err != nil {
			return nil, err
		}
		return engine.LayerContents(d.store, l)
	case d.isFile(operand):
		return engine.FileContents(within(d.directory, operand), d.folder)
	case m != nil:
		l, err := d.store.FindLayer(m[1])
		if err != nil {
			return nil, err
		}
		return engine.LayerContents(d.store, l)
	}
	return nil, fmt.Errorf("%s: no such file, and neither a label nor a layer's digest", operand)
}

// layerOf is the layer of a label, or of one of its earlier runs.
func (d *differ) layerOf(operand string) (cache.Layer, error) {
	label, back, err := splitRun(operand)
	if err != nil {
		return cache.Layer{}, err
	}
	g, id, err := d.one(d.engine, label)
	if err != nil {
		return cache.Layer{}, err
	}
	if back < 0 {
		r, err := d.engine.Result(g, id)
		return r.Layer, err
	}
	runs, err := nodeRuns(d.engine, g.Nodes[id].Label)
	if err != nil {
		return cache.Layer{}, err
	}
	run, err := nodeRun(runs, back)
	if err != nil || run.Layer != (cache.Layer{}) {
		return run.Layer, err
	}
	for i := back + 1; i < len(runs); i++ {
		if runs[i].Layer != (cache.Layer{}) {
			return cache.Layer{}, fmt.Errorf("run ~%d of %s failed and has no output; the one before it that has one is ~%d", back, label, i)
		}
	}
	return cache.Layer{}, fmt.Errorf("run ~%d of %s failed and has no output; vfsb log --list shows the others", back, label)
}

// folder makes a folder that goes at the end.
func (d *differ) folder() (string, error) {
	dir, err := os.MkdirTemp("", "vfsb-diff-")
	if err == nil {
		d.folders = append(d.folders, dir)
	}
	return dir, err
}

// fetch makes the bytes of the files that changed ready to be opened.
func (d *differ) fetch(c *artifact.Contents, changes []artifact.Change) error {
	var paths []string
	for _, ch := range changes {
		if ch.Bytes() {
			paths = append(paths, ch.Path)
		}
	}
	dir, err := d.folder()
	if err != nil {
		return err
	}
	return c.Fetch(paths, dir)
}

func (d *differ) print(w io.Writer, difference *artifact.Difference, sides [2]*artifact.Contents) error {
	paint := painter(d.colors(os.Stdout))
	for _, c := range difference.Changes {
		if d.stat {
			break
		}
		text := c.String()
		switch text[0] {
		case '+':
			text = paint.green(text)
		case '-':
			text = paint.red(text)
		}
		fmt.Fprintln(w, text)
		if d.patch && c.Bytes() {
			lines, err := compareFiles(sides, c.Path)
			if err != nil {
				return err
			}
			for _, line := range lines {
				fmt.Fprintln(w, "  "+line)
			}
		}
	}
	for _, c := range difference.Config {
		if !d.stat {
			fmt.Fprintf(w, "~ config %s: %s -> %s\n", c.Name, orNone(c.Old), orNone(c.New))
		}
	}
	if t := totals(difference); d.stat || t != (diffTotals{Same: t.Same}) {
		fmt.Fprintln(w, t)
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// diffTotals counts differences. Bytes are those of files.
type diffTotals struct {
	Added        int   `json:"added"`
	AddedBytes   int64 `json:"added_bytes"`
	Removed      int   `json:"removed"`
	RemovedBytes int64 `json:"removed_bytes"`
	Changed      int   `json:"changed"`
	GrownBytes   int64 `json:"grown_bytes"` // of changed files; negative: they shrank
	Config       int   `json:"config"`
	Same         int   `json:"same"`
}

func totals(d *artifact.Difference) diffTotals {
	t := diffTotals{Config: len(d.Config), Same: d.Same}
	for _, c := range d.Changes {
		switch {
		case c.Old == nil:
			t.Added++
			t.AddedBytes += c.New.Size
		case c.New == nil:
			t.Removed++
			t.RemovedBytes += c.Old.Size
		default:
			t.Changed++
			t.GrownBytes += c.New.Size - c.Old.Size
		}
	}
	return t
}

func (t diffTotals) String() string {
	sign, grown := "+", t.GrownBytes
	if grown < 0 {
		sign, grown = "-", -grown
	}
	text := fmt.Sprintf("%d added (%s), %d removed (%s), %d changed (%s%s), %d alike", t.Added, size(t.AddedBytes), t.Removed,
		size(t.RemovedBytes), t.Changed, sign, size(grown), t.Same)
	if t.Config > 0 {
		text += fmt.Sprintf("; %d changed in the configuration", t.Config)
	}
	return text
}

// maxText bounds the files that are compared line by line.
const maxText = 1 << 20

// compareFiles is the lines that differ in two texts, or where other files begin to differ.
func compareFiles(sides [2]*artifact.Contents, path string) ([]string, error) {
	var text [2][]byte
	readers := [2]*bufio.Reader{}
	isText := true
	for i, c := range sides {
		f, err := c.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if text[i], err = io.ReadAll(io.LimitReader(f, maxText+1)); err != nil {
			return nil, err
		}
		isText = isText && len(text[i]) <= maxText && utf8.Valid(text[i]) && bytes.IndexByte(text[i], 0) < 0
		readers[i] = bufio.NewReader(io.MultiReader(bytes.NewReader(text[i]), f))
	}
	if isText {
		split := func(b []byte) []string { return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") }
		if lines, ok := engine.DiffLines(split(text[0]), split(text[1])); ok && len(lines) > 0 {
			return lines, nil
		}
	}
	for at := 0; ; at++ {
		a, errA := readers[0].ReadByte()
		b, errB := readers[1].ReadByte()
		switch {
		case errA != nil && errA != io.EOF:
			return nil, errA
		case errB != nil && errB != io.EOF:
			return nil, errB
		case errA == nil && errB == nil && a == b:
			continue
		}
		return []string{fmt.Sprintf("  differs from byte %d on", at)}, nil
	}
}

// jsonChange is one line of diff --json: a path or, without one, a field of the configuration; the last has the totals.
type jsonChange struct {
	Path   string              `json:"path,omitempty"`
	Change string              `json:"change,omitempty"` // added, removed, changed
	What   []string            `json:"what,omitempty"`   // changed: kind, link, mode, owner, bytes, xattrs
	Old    *artifact.EntryInfo `json:"old,omitempty"`
	New    *artifact.EntryInfo `json:"new,omitempty"`
	Config string              `json:"config,omitempty"`
	Before string              `json:"before,omitempty"`
	After  string              `json:"after,omitempty"`
	Totals *diffTotals         `json:"totals,omitempty"`
}

func (d *differ) printJSON(w io.Writer, difference *artifact.Difference) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	var err error
	line := func(v jsonChange) { err = errors.Join(err, encoder.Encode(v)) }
	for _, c := range difference.Changes {
		if d.stat {
			break
		}
		v := jsonChange{Path: c.Path, Change: "changed", Old: artifact.Info(c.Old), New: artifact.Info(c.New)}
		switch {
		case c.Old == nil:
			v.Change = "added"
		case c.New == nil:
			v.Change = "removed"
		}
		for _, a := range c.Aspects {
			v.What = append(v.What, a.What)
		}
		line(v)
	}
	for _, c := range difference.Config {
		if !d.stat {
			line(jsonChange{Config: c.Name, Before: c.Old, After: c.New})
		}
	}
	t := totals(difference)
	line(jsonChange{Totals: &t})
	return err
}

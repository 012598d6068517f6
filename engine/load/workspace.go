package load

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// FileName is the file at a workspace's root that says what it builds upon.
const FileName = "vfsb.hcl"

// LockFile is where a workspace, and a folder that it imports, has its lock file.
const LockFile = ".vfsb/lock.json"

// Shipped is the import of what the vfsb command carries.
const Shipped = "shipped"

// Carried is what the vfsb command carries. Unpack, which is called where a workspace imports it, returns its folder.
type Carried struct {
	Digest string // of the files, for a workspace's pin
	Unpack func() (dir string, err error)
}

// A Folder holds packages/, profiles/ and templates/.
type Folder struct {
	Dir    string // absolute path
	Import string // as vfsb.hcl writes it; "" for the workspace's own
}

// file is how diagnostics name the file at the relative path: relative to the workspace's root where a user would write
// it so, whole where the folder is vfsb's.
func (f Folder) file(name string) string {
	if f.Import == Shipped {
		return filepath.Join(f.Dir, name)
	}
	return filepath.Join(f.Import, name)
}

// FindRoot is the nearest folder at or above dir that is a workspace: one with a
// vfsb.hcl, or with packages/ and profiles/ of its own.
func FindRoot(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, FileName)); err == nil {
			return d, nil
		}
		if isDir(filepath.Join(d, "packages")) && isDir(filepath.Join(d, "profiles")) {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s: not in a workspace: no folder above it holds %s, or packages/ and profiles/; make one with vfsb init, change into one, or name it with -C", dir, FileName)
		}
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// folders reads vfsb.hcl, if there is one, and finds what it imports.
func (l *loader) folders(shipped Carried) {
	l.ws.Folders = []Folder{{Dir: l.ws.Root}}
	if _, err := os.Stat(filepath.Join(l.ws.Root, FileName)); err != nil {
		return
	}
	file, diags := parse(l.ws.Root, FileName, FileName)
	l.diags = append(l.diags, diags...)
	if file == nil {
		return
	}
	l.ws.files[FileName] = file
	content, diags := file.Body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "workspace"}, {Type: "cache"}, {Type: "exec"}, {Type: "trust"}}})
	l.diags = append(l.diags, diags...)
	for _, b := range content.Blocks.OfType("cache") {
		l.ws.Caches = append(l.ws.Caches, l.cache(b, l.ws.Root))
	}
	for _, b := range content.Blocks.OfType("exec") {
		l.cluster(b, l.ws.Root)
	}
	for _, b := range content.Blocks.OfType("trust") {
		l.trust(b)
	}
	for i, b := range content.Blocks.OfType("workspace") {
		if i > 0 {
			l.errorf(b.DefRange, "a second workspace block; the first is at %s", Pos(content.Blocks.OfType("workspace")[0].DefRange))
			continue
		}
		a, _ := l.content(b.Body, evalContext(nil), []string{"import", "pin"})
		if pin := a.String("pin"); a.Has("pin") && pin != shipped.Digest {
			a.Errorf("pin", "this vfsb carries the packages %s, not %q; use the vfsb that carries those, or change the pin", shipped.Digest, pin)
		}
		for _, name := range a.Strings("import") {
			l.importFolder(a, name, shipped)
		}
		l.diags = append(l.diags, a.Diags...)
	}
}

func (l *loader) importFolder(a *Attrs, name string, shipped Carried) {
	f := Folder{Import: name}
	switch {
	case name == Shipped:
		dir, err := shipped.Unpack()
		if err != nil {
			a.Errorf("import", "%v", err)
			return
		}
		f.Dir = dir
	case filepath.IsAbs(name):
		f.Dir = filepath.Clean(name)
	case strings.HasPrefix(name+"/", "./") || strings.HasPrefix(name+"/", "../"):
		f.Dir = filepath.Join(l.ws.Root, name)
	default:
		a.Errorf("import", "unknown import %q%s; imports are %q and folders, which begin with ./, ../ or /",
			name, strings.Replace(Suggest(name, []string{Shipped}), ";", ",", 1), Shipped)
		return
	}
	if !isDir(f.Dir) {
		a.Errorf("import", "no folder %s for import %q; correct the path, which starts at the workspace's root, or remove it", f.Dir, name)
		return
	}
	if slices.ContainsFunc(l.ws.Folders, func(other Folder) bool { return other.Dir == f.Dir }) {
		a.Errorf("import", "import %q names a folder that counts already; remove it", name)
		return
	}
	if !slices.ContainsFunc([]string{"packages", "profiles", "templates"}, func(sub string) bool { return isDir(filepath.Join(f.Dir, sub)) }) {
		a.Errorf("import", "%s holds no packages/, profiles/ or templates/; import the root of a workspace", f.Dir)
		return
	}
	l.ws.Folders = append(l.ws.Folders, f)
}

// A declFile is a file that counts: no nearer folder has one in its place.
type declFile struct {
	Folder
	name string // relative to the folder
}

// list finds the files of all folders that count. Nearer folders come last, so that of two declarations of one name
// theirs is the one at fault.
func (l *loader) list() (declarations, templates []declFile) {
	taken := map[string]bool{} // files and packages of nearer folders
	for _, f := range l.ws.Folders {
		var names, texts []string
		root := os.DirFS(f.Dir)
		for _, pattern := range []string{"templates/*.hcl", "profiles/*/*.hcl"} {
			found, _ := fs.Glob(root, pattern)
			names = append(names, found...)
		}
		texts, _ = fs.Glob(root, "templates/*.j2")
		isTaken := func(name string) bool {
			was := taken[name]
			taken[name] = true
			return was
		}
		names, texts = slices.DeleteFunc(names, isTaken), slices.DeleteFunc(texts, isTaken)
		packages, _ := fs.Glob(root, "packages/[^.]*")
		for _, dir := range packages {
			if taken[dir] || !isDir(filepath.Join(f.Dir, dir)) {
				continue
			}
			if _, err := fs.Stat(root, dir+"/package.hcl"); err != nil {
				l.patchFolder(f, dir)
				continue
			}
			taken[dir] = true
			names = append(names, dir+"/package.hcl")
			found, _ := fs.Glob(root, dir+"/*.j2")
			texts = append(texts, found...)
		}
		sort.Strings(names)
		of := func(names []string) (list []declFile) {
			for _, name := range names {
				list = append(list, declFile{f, name})
			}
			return list
		}
		declarations, templates = append(of(names), declarations...), append(of(texts), templates...)
	}
	return declarations, templates
}

// patchFolder notes a package folder that holds nothing but patches/: they are added to the package that is imported.
func (l *loader) patchFolder(f Folder, dir string) {
	root := os.DirFS(f.Dir)
	at := hcl.Range{Filename: f.file(dir), Start: hcl.InitialPos, End: hcl.InitialPos}
	entries, _ := fs.Glob(root, dir+"/[^.]*")
	patches, _ := fs.Glob(root, dir+"/patches/*.patch")
	if len(patches) == 0 || !slices.Equal(entries, []string{dir + "/patches"}) {
		l.errorf(at, "%s has no package.hcl; write one, or remove the folder (one with nothing but patches/*.patch adds them to the imported package)", f.file(dir))
		return
	}
	name := path.Base(dir)
	l.patches[name] = append([]patchFolder{{f, at, patches}}, l.patches[name]...)
}

// A patchFolder is patches on an imported package.
type patchFolder struct {
	Folder
	at    hcl.Range
	names []string // relative to the folder, sorted
}

// addPatches appends the patches of patch folders, the nearest last, to the packages that they are for.
func (l *loader) addPatches() {
	for _, name := range sorted(keys(l.patches)) {
		for _, f := range l.patches[name] {
			p := l.ws.Packages[name]
			if p == nil {
				l.errorf(f.at, "patches for the package %q, which nothing declares%s", name,
					orAdd(Suggest(name, keys(l.ws.Packages)), "; write packages/"+name+"/package.hcl, or import a folder that has it"))
				continue
			}
			for _, patch := range f.names {
				same := func(other string) bool { return filepath.Base(other) == path.Base(patch) }
				if slices.ContainsFunc(p.Patches, same) {
					l.errorf(f.at, "%s has the name of a patch that package %q has already; rename it", f.file(patch), name)
					continue
				}
				p.Patches = append(p.Patches, filepath.Join(f.Dir, patch))
			}
		}
	}
}

// TemplateFile is the file of a template, as diagnostics name it; a name that is none, such as that of an inline
// script, is returned as it is.
func (ws *Workspace) TemplateFile(name string) string { return orAdd(ws.templateFiles[name], name) }

package load

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// overridesFile records, a line each as sha256sum prints it, the digest of what was copied, and where to.
const overridesFile = ".vfsb/overrides"

// overridable are the paths that can be overridden.
var overridable = []string{"packages/[^.]*", "profiles/*/*.hcl", "templates/*.hcl", "templates/*.j2"}

// An Override is a package folder, profile file or template of the workspace that counts instead of an imported one.
type Override struct {
	Path     string // relative to the workspace and to the imported folder
	Import   string // that folder, as vfsb.hcl writes it
	Imported string // what is hidden: an absolute path
	Patches  int    // of a folder that only adds patches; 0: the whole is replaced

	Same    bool // both have the same content
	Copied  bool // it was copied by Override
	Changed bool // the imported one is no longer what was copied
}

// Override copies an imported package's folder, such as packages/bash, or a file of profiles/ or templates/, to the same
// path of the workspace, where it counts from then on.
func (ws *Workspace) Override(path string) (Override, error) {
	matches := func(pattern string) bool { ok, _ := filepath.Match(pattern, path); return ok }
	o, ok := ws.imported(path)
	own := filepath.Join(ws.Root, path)
	if !ok || !slices.ContainsFunc(overridable, matches) {
		remedy := ""
		if _, err := os.Lstat(own); err == nil {
			remedy = "; it is this workspace's own: edit it"
		} else if name, ok := strings.CutPrefix(path, "packages/"); ok {
			remedy = Suggest(name, keys(ws.Packages))
		}
		return o, fmt.Errorf("no imported folder has %s%s", path, remedy)
	}
	if names, err := filepath.Glob(filepath.Join(own, "patches", "*.patch")); err == nil && len(names) > 0 && !isFile(filepath.Join(own, "package.hcl")) {
		return o, fmt.Errorf("%s/patches holds patches on the imported package; move them away, and afterwards back, with their names in the new package.hcl", path)
	}
	if _, err := os.Lstat(own); err == nil {
		return o, fmt.Errorf("the workspace has its own %s already; edit that, or remove it first", path)
	}
	digest, err := digestTree(o.Imported)
	if err != nil {
		return o, err
	}
	recorded, err := ws.overridden()
	if err != nil {
		return o, err
	}
	recorded[path] = digest
	if err := ws.record(recorded); err != nil {
		return o, err
	}
	if err := os.MkdirAll(filepath.Dir(own), 0o777); err != nil {
		return o, err
	}
	return o, copyNew(o.Imported, own)
}

// copyNew copies the file or folder from to the new path to, whole or not at all. What is copied can be written to.
func copyNew(from, to string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(to), ".copy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	copied := filepath.Join(tmp, filepath.Base(to))
	if isDir(from) {
		err = os.CopyFS(copied, os.DirFS(from))
	} else if text, readErr := os.ReadFile(from); readErr != nil {
		err = readErr
	} else {
		err = os.WriteFile(copied, text, 0o666)
	}
	if err != nil {
		return err
	}
	return os.Rename(copied, to)
}

// Overrides lists what the workspace overrides, by path.
func (ws *Workspace) Overrides() ([]Override, error) {
	recorded, err := ws.overridden()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, pattern := range overridable {
		found, _ := fs.Glob(os.DirFS(ws.Root), pattern)
		paths = append(paths, found...)
	}
	var list []Override
	for _, path := range paths {
		o, ok := ws.imported(path)
		if !ok {
			continue
		}
		own := filepath.Join(ws.Root, path)
		if isDir(own) && !isFile(filepath.Join(own, "package.hcl")) {
			patches, _ := filepath.Glob(filepath.Join(own, "patches", "*.patch"))
			o.Patches = len(patches)
			list = append(list, o)
			continue
		}
		mine, err := digestTree(own)
		if err != nil {
			return nil, err
		}
		theirs, err := digestTree(o.Imported)
		if err != nil {
			return nil, err
		}
		o.Same = mine == theirs
		o.Copied = recorded[path] != ""
		o.Changed = o.Copied && recorded[path] != theirs
		list = append(list, o)
	}
	return list, nil
}

// imported finds what the nearest imported folder has at path.
func (ws *Workspace) imported(path string) (Override, bool) {
	for _, f := range ws.Folders[1:] {
		at := filepath.Join(f.Dir, path)
		if isFile(filepath.Join(at, "package.hcl")) || isFile(at) && !strings.HasPrefix(path, "packages/") {
			return Override{Path: path, Import: f.Import, Imported: at}, true
		}
	}
	return Override{}, false
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// digestTree is the digest of a file, or of the names and contents of a folder's files.
func digestTree(path string) (string, error) {
	hash := sha256.New()
	err := filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		relative, _ := filepath.Rel(path, name)
		fmt.Fprintf(hash, "%s\x00%d\x00%s", relative, len(text), text)
		return err
	})
	return fmt.Sprintf("%x", hash.Sum(nil)), err
}

var overrideLine = regexp.MustCompile(`^([0-9a-f]{64})  (\S+)$`)

// overridden reads what was copied: digests by path.
func (ws *Workspace) overridden() (map[string]string, error) {
	recorded := map[string]string{}
	text, err := os.ReadFile(filepath.Join(ws.Root, overridesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return recorded, nil
	}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" {
			continue
		}
		m := overrideLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("%s:%d: %q is no digest and path; remove the line", overridesFile, i+1, line)
		}
		recorded[m[2]] = m[1]
	}
	return recorded, err
}

func (ws *Workspace) record(recorded map[string]string) error {
	var b bytes.Buffer
	for _, path := range slices.Sorted(maps.Keys(recorded)) {
		fmt.Fprintf(&b, "%s  %s\n", recorded[path], path)
	}
	path := filepath.Join(ws.Root, overridesFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

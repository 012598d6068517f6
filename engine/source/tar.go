package source

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vfsb/cache"
)

// A member is one entry of a source tar.
type member struct {
	path      string      // relative to the top folder; "" is the top folder itself
	mode      fs.FileMode // kind, and 0755 or 0644
	link      string      // symlink target
	size      int64
	id        string // where write finds the content
	submodule bool   // a folder that is another repository's, at commit id
}

// writeTar writes members, sorted, below the folder top: everything about them that is not content is fixed.
func writeTar(w io.Writer, top string, members []member, write func(io.Writer, member) error) error {
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.path, b.path) })
	tw := tar.NewWriter(w)
	for i, m := range members {
		if i > 0 && m.path == members[i-1].path { // of a link and a folder of one name, files would be unpacked through the link
			return fmt.Errorf("%q: two entries have this name", m.path)
		}
		h := &tar.Header{Name: path.Join(top, m.path), ModTime: time.Unix(cache.Epoch, 0), Mode: int64(m.mode.Perm())}
		switch m.mode.Type() {
		case fs.ModeDir:
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		case fs.ModeSymlink:
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, m.link, 0o777
		default:
			h.Typeflag, h.Size = tar.TypeReg, m.size
		}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		if h.Typeflag == tar.TypeReg {
			if err := write(tw, m); err != nil {
				return fmt.Errorf("%s: %w", m.path, err)
			}
		}
	}
	return tw.Close()
}

// filePerm is the mode of a file in a source tar.
func filePerm(executable bool) fs.FileMode {
	if executable {
		return 0o755
	}
	return 0o644
}

// localName is the name in the sandbox of a source of the workspace.
func (s Spec) localName(folder bool) string {
	if s.Filename == "" && folder {
		return s.filename(s.File) + ".tar"
	}
	return s.filename(s.File)
}

// writeLocal writes the content of a source of the workspace: a file as it is, a folder as a tar with one top folder.
func (s Spec) writeLocal(w io.Writer) error {
	st, err := os.Stat(s.File)
	if err != nil {
		return err
	}
	if st.Mode().IsRegular() {
		return copyFile(w, s.File)
	}
	if !st.IsDir() {
		return fmt.Errorf("%s is neither a file nor a folder", s.File)
	}
	folder, err := filepath.EvalSymlinks(s.File)
	if err != nil {
		return err
	}
	var members []member
	err = filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(folder, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		m := member{path: filepath.ToSlash(rel), id: p, size: info.Size()}
		switch info.Mode().Type() {
		case 0:
			m.mode = filePerm(info.Mode()&0o100 != 0)
		case fs.ModeDir:
			m.mode = fs.ModeDir | 0o755
		case fs.ModeSymlink:
			m.mode = fs.ModeSymlink
			if m.link, err = os.Readlink(p); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s is no file, folder or link", p)
		}
		members = append(members, m)
		return nil
	})
	if err != nil {
		return err
	}
	return writeTar(w, filepath.Base(s.File), members, func(w io.Writer, m member) error { return copyFile(w, m.id) })
}

func copyFile(w io.Writer, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}

// resolveFile reads a source of the workspace and computes its entry.
func (s Spec) resolveFile() (Entry, cache.Digest, error) {
	fail := func(err error) (Entry, cache.Digest, error) {
		return Entry{}, cache.Digest{}, fmt.Errorf("%s: source %s: %w", s.Pos, s.ID, err)
	}
	st, err := os.Stat(s.File)
	if err != nil {
		return fail(err)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.writeLocal(w)) }()
	d, err := cache.DigestReader(r)
	r.Close() // ends the writer in any case
	if err != nil {
		return fail(err)
	}
	if s.SHA256 != "" && d.Hex() != s.SHA256 {
		return fail(fmt.Errorf("%s has sha256 %s, declared is %s; declare what it has, or none", s.File, d.Hex(), s.SHA256))
	}
	return Entry{Origin: FileOrigin, Filename: s.localName(st.IsDir()), SHA256: d.Hex(), Size: d.Size}, d, nil
}

// fetchFile copies a source of the workspace into the store.
func (f *Fetcher) fetchFile(s Spec, d cache.Digest) error {
	w := file{pos: s.Pos, what: "source " + s.ID, sha256: d.Hex(), size: d.Size}
	if _, err := f.adopt(w, s.File, s.writeLocal); err != nil {
		return fmt.Errorf("%s: source %s: did %s change during the build? %w", s.Pos, s.ID, s.File, err)
	}
	return nil
}

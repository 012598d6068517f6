package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// poolRemedy is what to do about a file that has left the archive's pool, as files do at a point release.
const poolRemedy = "give --mirror a folder or archive address that has it, use a shared cache, or declare another origin (url) and update the lock file with `vfsb fetch --update`"

// poolFile is a file of the archive's pool.
type poolFile struct {
	path, sha256 string
	size         int64
}

// aptIndex is a repository's index: the files of its pool by digest, orig tarballs by source package.
type aptIndex struct {
	bySHA256 map[string]poolFile
	origs    map[string][]poolFile
}

// sourceFile matches a tarball of a source package.
var sourceFile = regexp.MustCompile(`^[^/_]+_[^/_]+\.tar\.[a-z0-9]+$`)

// isOrig tells whether a source package's file is its main orig tarball, or all of it if it is Debian's own: not a
// signature, a further component, or what Debian adds.
func isOrig(name string) bool {
	return sourceFile.MatchString(name) && !strings.Contains(name, ".debian.tar.") && !strings.Contains(name, ".orig-")
}

// readIndexes reads the Sources or Packages files in the root's lists folder.
func readIndexes(r *aptRoot, suffix string) (*aptIndex, error) {
	names, err := filepath.Glob(filepath.Join(r.dir, "state/lists/*"+suffix))
	if err != nil {
		return nil, err
	}
	x := &aptIndex{bySHA256: map[string]poolFile{}, origs: map[string][]poolFile{}}
	for _, name := range names {
		in, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		err = x.read(in, suffix == "_Sources")
		in.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	return x, nil
}

// read adds an index file's stanzas. Of Sources only orig tarballs are kept.
func (x *aptIndex) read(in *os.File, sources bool) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	var pkg, dir, field string
	var files []poolFile
	deb := poolFile{}
	flush := func() {
		for _, p := range files {
			p.path = path.Join(dir, p.path)
			if !filepath.IsLocal(p.path) {
				continue
			}
			x.bySHA256[p.sha256] = p
			x.origs[pkg] = append(x.origs[pkg], p)
		}
		if filepath.IsLocal(deb.path) && deb.sha256 != "" {
			x.bySHA256[deb.sha256] = deb
		}
		pkg, dir, field, files, deb = "", "", "", files[:0], poolFile{}
	}
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			flush()
			continue
		}
		if line[0] == ' ' {
			if !sources || field != "Checksums-Sha256" {
				continue
			}
			words := strings.Fields(line)
			if len(words) != 3 || !isOrig(words[2]) {
				continue
			}
			size, err := strconv.ParseInt(words[1], 10, 64)
			if err != nil || !hex64.MatchString(words[0]) {
				return fmt.Errorf("source %s: odd checksum line %q", pkg, line)
			}
			files = append(files, poolFile{path: words[2], sha256: words[0], size: size})
			continue
		}
		var value string
		field, value, _ = strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch field {
		case "Package":
			pkg = value
		case "Directory":
			dir = value
		case "Filename":
			deb.path = value
		case "SHA256":
			deb.sha256 = value
		case "Size":
			deb.size, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	flush()
	return lines.Err()
}

// index returns the index of a suite's sources (kind "deb-src") or packages ("deb"). With force it is fetched again, once
// a run.
func (f *Fetcher) index(ctx context.Context, kind, suite, arch string, components []string, force bool) (*aptIndex, error) {
	m, err := f.aptMachine(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := f.apt.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, err := f.aptRoot(m, kind, suite, arch, components)
	if err != nil {
		return nil, err
	}
	changed, err := f.update(ctx, r, force)
	if err != nil {
		return nil, err
	}
	if x := f.apt.indexes[r.dir]; x != nil && !changed {
		return x, nil
	}
	suffix := "_Packages"
	if kind == "deb-src" {
		suffix = "_Sources"
	}
	x, err := readIndexes(r, suffix)
	if err != nil {
		return nil, err
	}
	if f.apt.indexes == nil {
		f.apt.indexes = map[string]*aptIndex{}
	}
	f.apt.indexes[r.dir] = x
	return x, nil
}

// findOrig looks a source's orig tarball up in the index of its suite. A digest that is not there has it fetched again.
func (f *Fetcher) findOrig(ctx context.Context, s Spec) (poolFile, error) {
	want := s.debianSHA256()
	for _, force := range []bool{f.Update, true} {
		x, err := f.index(ctx, "deb-src", s.Debian.Suite, debianArch(), []string{"main"}, force)
		if err != nil {
			return poolFile{}, fmt.Errorf("%s: source %s: Debian's index of %s: %w", s.Pos, s.ID, s.Debian.Suite, err)
		}
		if p, ok := x.bySHA256[want]; ok {
			return p, nil
		}
		if !force {
			continue
		}
		var has []string
		for _, p := range x.origs[s.Debian.Source] {
			if s.Debian.File == "" || s.Debian.File == path.Base(p.path) {
				has = append(has, fmt.Sprintf("%s, sha256 %s", path.Base(p.path), p.sha256))
			}
		}
		if len(has) == 0 {
			return poolFile{}, fmt.Errorf("%s: source %s: Debian %s has no tarball of a source package %s; declare another suite or source, or a url",
				s.Pos, s.ID, s.Debian.Suite, s.Debian.Source)
		}
		return poolFile{}, fmt.Errorf("%s: source %s: Debian %s has no file of sha256 %s, but\n  %s\n  %s", s.Pos, s.ID,
			s.Debian.Suite, want, strings.Join(has, "\n  "), poolRemedy)
	}
	panic("BUG: unreachable")
}

// resolveDebian makes the lock entry of a source's orig tarball, from the index alone.
func (f *Fetcher) resolveDebian(ctx context.Context, s Spec) (Entry, error) {
	p, err := f.findOrig(ctx, s)
	if err != nil {
		if ctx.Err() != nil {
			return Entry{}, context.Cause(ctx)
		}
		// Without an index, the store or a mirror may still have the file.
		d, getErr := f.get(ctx, s.debianFile(poolFile{size: -1}, nil))
		if getErr != nil {
			return Entry{}, err
		}
		return Entry{Origin: DebianOrigin, Filename: s.filename(s.debianFile(poolFile{}, nil).name), SHA256: d.Hex(), Size: d.Size}, nil
	}
	return Entry{Origin: DebianOrigin, Filename: s.filename(p.path), SHA256: p.sha256, Size: p.size, Path: p.path}, nil
}

// debianFile describes the orig tarball at the archives' addresses to get.
func (s Spec) debianFile(p poolFile, bases []string) file {
	w := file{id: s.ID, pos: s.Pos, what: "source " + s.ID, sha256: s.debianSHA256(), size: p.size, pool: p.path, remedy: poolRemedy}
	switch {
	case p.path != "":
		w.name = path.Base(p.path)
	case s.Debian.File != "":
		w.name = s.Debian.File
	case s.Filename != "":
		w.name = s.Filename
	default:
		w.name = s.Debian.Source + ".orig.tar"
	}
	for _, base := range bases {
		w.urls = append(w.urls, join(base, p.path))
	}
	return w
}

// fetchDebian fetches the orig tarball that the lock file names: at its pool path, else wherever the index now has it.
func (f *Fetcher) fetchDebian(ctx context.Context, s Spec, e Entry) error {
	get := func(p poolFile, bases []string) error {
		w := s.debianFile(p, bases)
		w.sha256 = e.SHA256
		_, err := f.get(ctx, w)
		return err
	}
	return f.fromPool(ctx, s.Debian.Suite, poolFile{e.Path, e.SHA256, e.Size}, get, func() (poolFile, error) { return f.findOrig(ctx, s) })
}

// fromPool gets a file at its recorded path, and if no archive has it there, where find says it is now.
func (f *Fetcher) fromPool(ctx context.Context, suite string, p poolFile, get func(poolFile, []string) error, find func() (poolFile, error)) error {
	if f.Offline {
		return get(p, nil)
	}
	m, err := f.aptMachine(ctx)
	if err != nil {
		if getErr := get(p, nil); getErr != nil {
			return fmt.Errorf("%w\n  %w", getErr, err)
		}
		return nil
	}
	bases := m.bases(suite)
	err = errors.New("no path is recorded")
	if p.path != "" {
		err = get(p, bases)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	var gone *unavailableError
	if p.path != "" && !(errors.As(err, &gone) && gone.notFound) {
		return err
	}
	now, findErr := find()
	if findErr != nil {
		if p.path == "" {
			if getErr := get(p, nil); getErr == nil { // a mirror
				return nil
			}
			return findErr
		}
		return fmt.Errorf("%w\n%w", err, findErr)
	}
	if now.path == p.path {
		return err
	}
	return get(poolFile{now.path, p.sha256, p.size}, bases)
}

package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func (s AptSeed) arch() string {
	if s.Arch == "" {
		return debianArch()
	}
	return s.Arch
}

func (s AptSeed) components() []string {
	if len(s.Components) == 0 {
		return []string{"main"}
	}
	return slices.Sorted(slices.Values(s.Components))
}

func (s AptSeed) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: seed %s: %w", s.Pos, s.ID, fmt.Errorf(format, args...))
}

// ResolveApt returns the packages of a seed, sorted by name: those that the lock file records for this very declaration,
// else what apt resolves with the machine's repositories and nothing installed, which is added to f.Lock.
func (f *Fetcher) ResolveApt(ctx context.Context, s AptSeed) ([]Deb, error) {
	if s.Suite == "" || len(s.Packages) == 0 {
		return nil, s.errorf("wants a suite and packages")
	}
	for _, word := range append([]string{s.Suite, s.arch()}, append(s.components(), s.Packages...)...) {
		if !aptWord.MatchString(word) {
			return nil, s.errorf("%q is not a name that apt knows", word)
		}
	}
	key, fingerprint := s.ID+":"+s.arch(), s.fingerprint()
	if debs, ok := f.Lock.Seed(key, fingerprint); ok && !f.again("seed "+key) {
		return debs, nil
	}
	if f.Offline {
		return nil, s.errorf("%w (--offline), nor in the lock file; run once with the network on, or commit the lock file of someone who did", ErrOffline)
	}
	m, err := f.aptMachine(ctx)
	if err != nil {
		return nil, s.noApt(err)
	}
	debs, err := f.resolveApt(ctx, m, s)
	if err != nil {
		return nil, err
	}
	f.Lock.SetSeed(key, fingerprint, debs)
	f.done("seed " + key)
	return debs, nil
}

// aptWord matches names of packages (with =version or :arch), suites and components; never an option.
var aptWord = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.+~:=_/-]*$`)

// noApt says what to do without apt.
func (s AptSeed) noApt(err error) error {
	return s.errorf("%w\n  an apt seed is resolved with the machine's own apt; here, do one of these:\n"+
		"  declare `image { … }` with an OCI image or rootfs tarball by digest in place of the apt block;\n"+
		"  take the lock file of a machine that has apt, and give --mirror an archive's address or a folder with the packages;\n"+
		"  use a shared cache that has the seed's layer", err)
}

func (f *Fetcher) resolveApt(ctx context.Context, m *machine, s AptSeed) ([]Deb, error) {
	unlock, err := f.apt.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, err := f.aptRoot(m, "deb", s.Suite, s.arch(), s.components())
	if err != nil {
		return nil, s.errorf("%w", err)
	}
	if _, err := f.update(ctx, r, f.Update); err != nil {
		return nil, s.errorf("package index of %s: %w", s.Suite, err)
	}
	release, err := f.Store.Lock(ctx, "apt-"+filepath.Base(r.dir))
	if err != nil {
		return nil, err
	}
	defer release()
	packages := slices.Compact(slices.Sorted(slices.Values(s.Packages)))
	out, err := r.run(ctx, append([]string{"--print-uris", "-y", "--no-install-recommends", "install"}, packages...)...)
	if err != nil {
		return nil, s.errorf("%w", err)
	}
	debs, err := parseURIs(string(out), r.bases)
	if err != nil {
		return nil, s.errorf("apt-get --print-uris: %w", err)
	}
	return debs, nil
}

// parseURIs reads lines of apt-get --print-uris: 'address' name_version_arch.deb size SHA256:hex.
func parseURIs(out string, bases []string) ([]Deb, error) {
	var debs []Deb
	for line := range strings.Lines(out) {
		rest, ok := strings.CutPrefix(line, "'")
		if !ok {
			continue
		}
		uri, rest, _ := strings.Cut(rest, "' ")
		words := strings.Fields(rest)
		if len(words) != 3 {
			return nil, fmt.Errorf("odd line %q", strings.TrimSpace(line))
		}
		sum, ok := strings.CutPrefix(words[2], "SHA256:")
		if !ok {
			return nil, fmt.Errorf("%s has no SHA-256", words[0])
		}
		name, err := url.PathUnescape(strings.TrimSuffix(words[0], ".deb"))
		parts := strings.Split(name, "_")
		if err != nil || len(parts) != 3 {
			return nil, fmt.Errorf("odd file name %q", words[0])
		}
		size, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("odd size in %q", strings.TrimSpace(line))
		}
		d := Deb{Package: parts[0], Version: parts[1], Arch: parts[2], SHA256: sum, Size: size}
		for _, base := range bases {
			if p, ok := strings.CutPrefix(uri, base+"/"); ok {
				if d.Path, err = url.PathUnescape(p); err != nil {
					return nil, err
				}
				d.Path = path.Clean(d.Path)
			}
		}
		if d.Path == "" {
			return nil, fmt.Errorf("%s does not lie in the archive", uri)
		}
		if err := checkLocked(d.SHA256, d.Size, d.Path); err != nil {
			return nil, fmt.Errorf("%s: %w", words[0], err)
		}
		debs = append(debs, d)
	}
	if len(debs) == 0 {
		return nil, errors.New("no packages")
	}
	slices.SortFunc(debs, compareDebs)
	return debs, nil
}

// FetchDeb puts a package of a seed into the store.
func (f *Fetcher) FetchDeb(ctx context.Context, s AptSeed, d Deb) error {
	want, err := d.Digest()
	if err != nil {
		return s.errorf("package %s: %w", d.Package, err)
	}
	if f.Store.HasBlob(want) {
		return nil
	}
	get := func(p poolFile, bases []string) error {
		w := file{id: s.ID + " " + d.Package, pos: s.Pos, what: "seed " + s.ID + ": package " + d.Package, name: path.Base(d.Path),
			sha256: d.SHA256, size: d.Size, pool: p.path,
			remedy: "the archive may have replaced it: resolve again with `vfsb seed update`, give --mirror an archive address or a folder that has it, or use a shared cache (`vfsb seed export` fills one)"}
		for _, base := range bases {
			w.urls = append(w.urls, join(base, p.path))
		}
		_, err := f.get(ctx, w)
		return err
	}
	find := func() (poolFile, error) {
		x, err := f.index(ctx, "deb", s.Suite, s.arch(), s.components(), true)
		if err != nil {
			return poolFile{}, s.errorf("package index of %s: %w", s.Suite, err)
		}
		p, ok := x.bySHA256[d.SHA256]
		if !ok {
			return poolFile{}, s.errorf("package %s %s has left the archive's index of %s", d.Package, d.Version, s.Suite)
		}
		return p, nil
	}
	return f.fromPool(ctx, s.Suite, poolFile{d.Path, d.SHA256, d.Size}, get, find)
}

// fingerprint is the digest of what the seed declares.
func (s AptSeed) fingerprint() string {
	packages, components := slices.Sorted(slices.Values(s.Packages)), s.components()
	b, err := json.Marshal([]any{s.Suite, s.arch(), components, slices.Compact(packages)})
	if err != nil {
		panic("BUG: " + err.Error()) // strings only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Package source gets what a build starts from: source files, Debian packages and images, each known by its SHA-256.
// It is the only user of the network, of git and of apt. It knows the workspace's lock file and puts what it fetched
// into the store; it knows nothing of packages' recipes, of actions or of how a layer is made.
package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"

	"vfsb/cache"
)

// Blobs is the part of the store that this package needs. *cache.Store is one.
type Blobs interface {
	// Dir is the store's folder; partial downloads lie in partial/, apt's private roots in apt/ below it.
	Dir() string
	HasBlob(d cache.Digest) bool
	// FindBlob looks a blob up by the hex of its SHA-256 alone.
	FindBlob(sha256hex string) (cache.Digest, bool)
	OpenBlob(d cache.Digest) (*os.File, error)
	// AdoptFile renames a verified file that lies below Dir into the store.
	AdoptFile(tmp string, d cache.Digest) error
	// NewRun makes a folder below Dir that goes with release, or after this process has died.
	NewRun(name string) (dir string, release func(), err error)
	// Lock waits for a lock between processes.
	Lock(ctx context.Context, name string) (unlock func(), err error)
}

// Origins of a source, as the lock file spells them.
const (
	Upstream     = "upstream" // one of the declared URLs
	DebianOrigin = "debian"   // the distribution's tarball
	GitOrigin    = "git"      // a commit, exported as a tar
	FileOrigin   = "file"     // a file or folder of the workspace; never in the lock file
	Auto         = "auto"     // for Fetcher.Origin: upstream, else Debian
)

// Debian names the orig tarball of a Debian source package, or the only one of a package that is Debian's own.
type Debian struct {
	Suite, Source string
	File          string // the tarball's file name, if the source package has several
	SHA256        string // hex; empty: the same as upstream's
}

// Git names a commit of a repository.
type Git struct {
	URL, Commit string // Commit: the full id, 40 or 64 hex digits
	Submodules  *bool  // whether the tar holds their files or empty folders; nil: a commit that has any is refused
}

func (g *Git) submodules() bool { return g.Submodules != nil && *g.Submodules }

// A Spec is a source as it is declared. Exactly one of File, Git and (URLs, Debian or both) is set.
type Spec struct {
	ID       string // "package/source", the key in the lock file
	Pos      string // file:line of the declaration
	URLs     []string
	SHA256   string // hex, of the file behind URLs (or of File, or of Git's tar, where it may be empty)
	Debian   *Debian
	Git      *Git
	File     string // absolute path of a file or a folder
	Filename string // its name in the sandbox; empty: the last element of the URL, pool path or file
}

// An Entry is what the lock file records of a source. SHA256 and Size name its content.
type Entry struct {
	Origin     string `json:"origin"`
	Filename   string `json:"filename"`
	SHA256     string `json:"sha256"`
	Size       int64  `json:"size"`
	Path       string `json:"path,omitempty"`       // Debian pool path, relative to the archive's root; empty if unknown
	Commit     string `json:"commit,omitempty"`     // Git's
	Submodules bool   `json:"submodules,omitempty"` // the tar holds their files
}

// Digest returns the digest of the entry's content.
func (e Entry) Digest() (cache.Digest, error) { return digest(e.SHA256, e.Size) }

// A Deb is a binary Debian package. Path is its pool path, relative to the archive's root.
type Deb struct {
	Package string `json:"package"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	Path    string `json:"path"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`
}

// Digest returns the digest of the .deb file.
func (d Deb) Digest() (cache.Digest, error) { return digest(d.SHA256, d.Size) }

// An AptSeed is a set of Debian packages and what they depend on, without recommendations.
type AptSeed struct {
	ID, Pos    string
	Suite      string
	Arch       string   // Debian's name; empty: this machine's
	Components []string // empty: main
	Packages   []string
}

// An ImageSeed is a root file system as an image or a tarball.
type ImageSeed struct {
	ID, Pos string
	Ref     string // registry reference, absolute path of an OCI layout (folder or tar), path or URL of a rootfs tarball
	Digest  string // "sha256:<hex>" of the manifest, of the index or of the rootfs tarball; mandatory
	Arch    string // Debian's name, chooses from an index; empty: this machine's
}

// Progress is a note about a download. Total is -1 while it is unknown.
type Progress struct {
	ID, URL     string
	Done, Total int64
	Note        string // a line for people ("retry in 2s: …"); empty for a mere count
	Final       bool   // the file is complete and verified
}

// A Fetcher resolves and fetches sources and seeds. Its fields are set before its first use; its methods may be called
// concurrently. One Fetcher serves one run: it remembers which hosts failed and which indexes it has read.
type Fetcher struct {
	Store   Blobs
	Lock    *Lock
	Mirrors []string // folders or URLs, tried before anything else, by pool path, by digest and by file name
	Offline bool     // no network; folders among Mirrors are still read
	Update  bool     // decide again what the lock file records
	Origin  string   // Auto (or empty), Upstream or DebianOrigin: where sources that are not in the lock file come from
	// Notify is told of progress, from several goroutines; it may be nil.
	Notify func(Progress)
	// Pull, if set, is asked for a digest before the network is; it reports whether the store now has the blob (the
	// shared cache).
	Pull func(ctx context.Context, d cache.Digest) bool

	timing  timing // zero: defaults
	flights flights

	mu      sync.Mutex
	clients map[clientKind]*http.Client
	dead    map[string]error // hosts that could not be reached
	decided map[string]bool  // ids decided again in this run, because of Update
	apt     aptState
}

// timing is the patience of a Fetcher.
type timing struct {
	connect, quick, stall time.Duration // quick: connecting to upstream when Debian is an alternative
	backoff, backoffMax   time.Duration // before the first retry, doubled for each further one
	attempts              int           // without a byte of progress
}

func (t timing) orDefault() timing {
	if t.attempts == 0 {
		return timing{connect: 30 * time.Second, quick: 5 * time.Second, stall: 60 * time.Second,
			backoff: time.Second, backoffMax: time.Minute, attempts: 5}
	}
	return t
}

var (
	hex64  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	commit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// ErrOffline is wrapped by errors for what would need the network when Offline is set.
var ErrOffline = errors.New("not in the store, and the network is switched off")

// digest makes a Digest of its parts.
func digest(sha256hex string, size int64) (cache.Digest, error) {
	return cache.ParseDigest(fmt.Sprintf("%s/%d", sha256hex, size))
}

// check reports what is wrong with the declaration.
func (s Spec) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s: source %s: %s", s.Pos, s.ID, fmt.Sprintf(format, args...))
	}
	kinds := 0
	for _, is := range []bool{s.File != "", s.Git != nil, len(s.URLs) > 0 || s.Debian != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		return bad("wants exactly one of url (or debian), git and file")
	}
	if s.SHA256 != "" && !hex64.MatchString(s.SHA256) {
		return bad("sha256 %q is not 64 lower-case hex digits", s.SHA256)
	}
	if len(s.URLs) > 0 && s.SHA256 == "" {
		return bad("has a url but no sha256; declare the digest of the file that the authors publish")
	}
	for _, raw := range s.URLs {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return bad("url %q is not an http or https address", raw)
		}
	}
	if s.Debian != nil {
		if d := s.debianSHA256(); !hex64.MatchString(d) {
			return bad("debian wants a sha256 of 64 lower-case hex digits, here or in the source block")
		}
		if s.Debian.Suite == "" || s.Debian.Source == "" {
			return bad("debian wants suite and source")
		}
	}
	if s.Git != nil && !commit.MatchString(s.Git.Commit) {
		return bad("commit %q is not a full commit id (40 hex digits); a branch or tag may move", s.Git.Commit)
	}
	if s.Filename != "" && !plainName(s.Filename) {
		return bad("file name %q is not a plain file name", s.Filename)
	}
	return nil
}

func (s Spec) debianSHA256() string {
	if s.Debian.SHA256 != "" {
		return s.Debian.SHA256
	}
	return s.SHA256
}

// accepts reports whether e records this declaration. An entry of an earlier declaration (another digest or commit, an
// origin that is declared no more) is as good as none.
func (s Spec) accepts(e Entry) bool {
	switch e.Origin {
	case Upstream:
		return len(s.URLs) > 0 && e.SHA256 == s.SHA256
	case DebianOrigin:
		return s.Debian != nil && e.SHA256 == s.debianSHA256()
	case GitOrigin:
		return s.Git != nil && e.Commit == s.Git.Commit && e.Submodules == s.Git.submodules() && (s.SHA256 == "" || s.SHA256 == e.SHA256)
	}
	return false
}

// filename is the source's name in the sandbox when it comes from where (a URL or a path).
func (s Spec) filename(where string) string {
	if s.Filename != "" {
		return s.Filename
	}
	if u, err := url.Parse(where); err == nil && u.Scheme != "" {
		where = u.Path
	}
	if name := path.Base(where); plainName(name) {
		return name
	}
	return strings.ReplaceAll(s.ID, "/", "-")
}

// plainName reports whether s can be the last element of a path.
func plainName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00")
}

// Resolve returns the lock file's entry of a source and its digest. If the lock file has none, it decides the origin,
// which may mean fetching the file, and adds the entry to f.Lock; it does not save it. Entries of Origin "file" are
// computed each time and never recorded.
func (f *Fetcher) Resolve(ctx context.Context, s Spec) (Entry, cache.Digest, error) {
	if err := s.check(); err != nil {
		return Entry{}, cache.Digest{}, err
	}
	if s.File != "" {
		return s.resolveFile()
	}
	if e, ok := f.Lock.Source(s.ID, s.accepts); ok && !f.again("source "+s.ID) {
		if s.Filename != "" {
			e.Filename = s.Filename
		}
		d, err := e.Digest()
		return e, d, err
	}
	e, err := f.decide(ctx, s)
	if err != nil {
		return Entry{}, cache.Digest{}, err
	}
	d, err := e.Digest()
	if err != nil {
		return Entry{}, cache.Digest{}, err
	}
	f.Lock.SetSource(s.ID, e)
	f.done("source " + s.ID)
	return e, d, nil
}

// again reports whether Update asks for a new decision about what the lock file records of key.
func (f *Fetcher) again(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Update && !f.decided[key]
}

func (f *Fetcher) done(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.decided == nil {
		f.decided = map[string]bool{}
	}
	f.decided[key] = true
}

// decide chooses the origin of a source that the lock file does not have.
func (f *Fetcher) decide(ctx context.Context, s Spec) (Entry, error) {
	if s.Git != nil {
		return f.resolveGit(ctx, s)
	}
	upstream := len(s.URLs) > 0 && f.Origin != DebianOrigin
	debian := s.Debian != nil && f.Origin != Upstream
	switch {
	case !upstream && !debian && s.Debian == nil:
		upstream = true // the flag names an origin that this source does not have: take the one it has
	case !upstream && !debian:
		debian = true
	}
	if !upstream {
		return f.resolveDebian(ctx, s)
	}
	entry := func(d cache.Digest) Entry {
		return Entry{Origin: Upstream, Filename: s.filename(s.URLs[0]), SHA256: d.Hex(), Size: d.Size}
	}
	if d, ok := f.Store.FindBlob(s.SHA256); ok {
		return entry(d), nil
	}
	d, err := f.get(ctx, s.upstreamFile(-1, debian))
	if err == nil {
		return entry(d), nil
	}
	var sum *ChecksumError
	if !debian || ctx.Err() != nil || errors.As(err, &sum) || cache.NoRoom(err) {
		return Entry{}, err
	}
	e, debErr := f.resolveDebian(ctx, s)
	if debErr != nil {
		return Entry{}, fmt.Errorf("%w\n%w", err, debErr)
	}
	f.note(s.ID, "", fmt.Sprintf("upstream is out of reach, taking Debian's %s", e.Filename))
	return e, nil
}

// upstreamFile describes the source's file at its URLs to get.
func (s Spec) upstreamFile(size int64, quick bool) file {
	w := file{id: s.ID, pos: s.Pos, what: "source " + s.ID, name: s.filename(s.URLs[0]), sha256: s.SHA256, size: size, urls: s.URLs, quick: quick}
	if s.Debian != nil && !quick {
		w.remedy = usualRemedy + ", or have the origin decided anew with `vfsb fetch --update`"
	}
	return w
}

// Fetch puts the content of a source that Resolve returned into the store, from wherever e says. Afterwards the store
// has e's digest.
func (f *Fetcher) Fetch(ctx context.Context, s Spec, e Entry) error {
	if err := s.check(); err != nil {
		return err
	}
	d, err := e.Digest()
	if err != nil {
		return fmt.Errorf("%s: source %s: %w", s.Pos, s.ID, err)
	}
	if f.Store.HasBlob(d) {
		return nil
	}
	switch e.Origin {
	case FileOrigin:
		return f.fetchFile(s, d)
	case GitOrigin:
		if f.pull(ctx, d) {
			return nil
		}
		_, err := f.fetchGit(ctx, s, s.gitTop(e), d.Hex())
		return err
	case DebianOrigin, Upstream:
		return f.fetchEither(ctx, s, e)
	}
	return fmt.Errorf("%s: source %s: the lock file names the unknown origin %q", s.Pos, s.ID, e.Origin)
}

// fetchEither fetches a file from the origin that the lock file names. Where the other
// origin is declared to have the same bytes, it is asked next: the digest decides, not
// where the file came from.
func (f *Fetcher) fetchEither(ctx context.Context, s Spec, e Entry) error {
	upstream := func() error {
		_, err := f.get(ctx, s.upstreamFile(e.Size, s.Debian != nil))
		return err
	}
	debian := func() error { return f.fetchDebian(ctx, s, e) }
	first, second := upstream, debian
	other := s.Debian != nil && s.debianSHA256() == e.SHA256
	if e.Origin == DebianOrigin {
		first, second = debian, upstream
		other = len(s.URLs) > 0 && s.SHA256 == e.SHA256
	}
	err := first()
	var sum *ChecksumError
	if err == nil || !other || ctx.Err() != nil || errors.As(err, &sum) || cache.NoRoom(err) {
		return err
	}
	if again := second(); again != nil {
		return fmt.Errorf("%w\n%w", err, again)
	}
	return nil
}

func (f *Fetcher) notify(p Progress) {
	if f.Notify != nil {
		f.Notify(p)
	}
}

func (f *Fetcher) note(id, url, text string) {
	f.notify(Progress{ID: id, URL: url, Total: -1, Note: text})
}

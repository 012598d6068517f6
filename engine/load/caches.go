package load

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
)

// A Cache is a remote cache, as a cache block of vfsb.hcl or of the user's configuration declares it.
type Cache struct {
	URL                           string
	Push                          bool // mode = "read-write"
	TokenFile, User, PasswordFile string
	CA, Cert, Key                 string // paths of PEM files
	Range                         hcl.Range
}

// Modes of a cache. The zero value of a declaration is CacheRead.
const (
	CacheRead  = "read-only"
	CacheWrite = "read-write"
)

// A Cluster is where actions are executed, as an exec block declares it. The address is that of its cache, too.
type Cluster struct {
	Cache
	Jobs  int  // nodes at once; 0: the usual
	Mixed bool // nodes run on this machine, too
}

// Cache is the cache at an address, as it is declared if it is.
func (ws *Workspace) Cache(url string) Cache {
	if i := slices.IndexFunc(ws.Caches, func(c Cache) bool { return c.URL == url }); i >= 0 {
		return ws.Caches[i]
	}
	return Cache{URL: url}
}

// UserFile is the user's configuration, in the folder that os.UserConfigDir returns.
const UserFile = "vfsb/config.hcl"

// LoadUser adds the caches of the user's configuration, if there is one, before those of the workspace; of two blocks
// with one url the user's counts, and so does the user's exec block.
func (ws *Workspace) LoadUser(dir string) hcl.Diagnostics {
	name := filepath.Join(dir, UserFile)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	file, diags := parse(dir, UserFile, name)
	if file == nil {
		return diags
	}
	ws.files[name] = file
	l := &loader{ws: ws, diags: diags}
	content, diags := file.Body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "cache"}, {Type: "exec"}}})
	l.diags = append(l.diags, diags...)
	for _, b := range content.Blocks.OfType("exec") {
		l.cluster(b, filepath.Dir(name))
	}
	var list []Cache
	seen := map[string]bool{}
	for _, b := range content.Blocks.OfType("cache") {
		c := l.cache(b, filepath.Dir(name))
		list, seen[c.URL] = append(list, c), true
	}
	for _, c := range ws.Caches {
		if !seen[c.URL] {
			list = append(list, c)
		}
	}
	ws.Caches = list
	return l.diags
}

// cache reads a cache block of a file in the folder dir.
func (l *loader) cache(b *hcl.Block, dir string) Cache {
	c, a := l.address(b, dir, "mode")
	switch mode := a.String("mode"); mode {
	case CacheWrite:
		c.Push = true
	case "", CacheRead:
	default:
		a.Errorf("mode", "unknown mode %q; there are %q and %q", mode, CacheRead, CacheWrite)
	}
	l.diags = append(l.diags, a.Diags...)
	return c
}

// cluster reads an exec block. There is one: a second one in a file is a mistake, but the user's replaces the workspace's.
func (l *loader) cluster(b *hcl.Block, dir string) {
	c, a := l.address(b, dir, "jobs", "mixed")
	cluster := &Cluster{Cache: c, Jobs: a.Int("jobs"), Mixed: a.Bool("mixed")}
	if cluster.Jobs < 0 {
		a.Errorf("jobs", "jobs is how many nodes run there at once; write a positive number")
	}
	l.diags = append(l.diags, a.Diags...)
	if old := l.ws.Cluster; old != nil && old.Range.Filename == c.Range.Filename {
		l.errorf(b.DefRange, "a second exec block; the first is at %s", Pos(old.Range))
	}
	l.ws.Cluster = cluster
}

// address reads what cache and exec blocks have in common: where a server is, and how to speak to it.
func (l *loader) address(b *hcl.Block, dir string, further ...string) (Cache, *Attrs) {
	names := append([]string{"url", "token_file", "user", "password_file", "ca", "cert", "key"}, further...)
	a, _ := l.content(b.Body, evalContext(nil), names)
	path := func(name string) string {
		p := a.String(name)
		if p != "" && !filepath.IsAbs(p) {
			p = filepath.Join(dir, p)
		}
		return p
	}
	c := Cache{
		URL: a.String("url"), TokenFile: path("token_file"), User: a.String("user"), PasswordFile: path("password_file"),
		CA: path("ca"), Cert: path("cert"), Key: path("key"), Range: b.DefRange,
	}
	if c.URL == "" {
		l.errorf(b.DefRange, "%s has no url; write url = \"grpc://HOST:PORT\" or another address", b.Type)
	}
	return c, a
}

// trust reads a trust block: the keys of those whose results are believed.
func (l *loader) trust(b *hcl.Block) {
	a, _ := l.content(b.Body, evalContext(nil), []string{"keys"})
	keys := a.Strings("keys")
	if len(keys) == 0 && !a.Diags.HasErrors() {
		l.errorf(b.DefRange, "trust lists no keys; without any no result of a remote cache would be believed: add keys, or remove the block")
	}
	l.ws.Trust, l.ws.TrustRange = append(l.ws.Trust, keys...), b.DefRange
	l.diags = append(l.diags, a.Diags...)
}

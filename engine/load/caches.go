package load

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

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

// UserFile is the user's configuration, in the folder that os.UserConfigDir returns.
const UserFile = "vfsb/config.hcl"

// LoadUser adds the caches of the user's configuration, if there is one, before those of the workspace; of two blocks
// with one url the user's counts.
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
	content, diags := file.Body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "cache"}}})
	l.diags = append(l.diags, diags...)
	var list []Cache
	seen := map[string]bool{}
	for _, b := range content.Blocks {
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
	a, _ := l.content(b.Body, evalContext(nil), []string{"url", "mode", "token_file", "user", "password_file", "ca", "cert", "key"})
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
	switch mode := a.String("mode"); mode {
	case CacheWrite:
		c.Push = true
	case "", CacheRead:
	default:
		a.Errorf("mode", "unknown mode %q; there are %q and %q", mode, CacheRead, CacheWrite)
	}
	l.diags = append(l.diags, a.Diags...)
	if c.URL == "" {
		l.errorf(b.DefRange, "cache has no url; write url = \"grpc://HOST:PORT\" or another address")
	}
	return c
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

package source

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// withLogins adds to requests the name and password that their host has in the user's netrc file, and for Debian's archives in
// apt's auth.conf. A request that a redirect makes gets those of its own host.
type withLogins struct {
	next http.RoundTripper
	all  func() ([]login, error)
}

func (t withLogins) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.User == nil && r.Header.Get("Authorization") == "" {
		all, err := t.all()
		if err != nil {
			return nil, err
		}
		for _, l := range all {
			if l.isFor(r) {
				r = r.Clone(r.Context())
				r.SetBasicAuth(l.user, l.password)
				break
			}
		}
	}
	return t.next.RoundTrip(r)
}

// A login is an entry of such a file. In netrc it is for a host, in auth.conf for [scheme://]host[:port][/path], without a
// scheme https only. Where a redirect leads no login without a scheme is sent in the clear: whoever is on the way could have
// asked for it.
type login struct {
	scheme, host, path string // "": any
	user, password     string
}

func (l login) isFor(r *http.Request) bool {
	return (l.host == r.URL.Host || l.host == r.URL.Hostname()) && (l.scheme == r.URL.Scheme || l.scheme == "" && (r.URL.Scheme == "https" || r.Response == nil)) &&
		strings.HasPrefix(r.URL.Path, l.path)
}

// logins reads the files once, apt's as the machine's configuration names them, if apt asks for it.
func (f *Fetcher) logins(apt bool) func() ([]login, error) {
	return sync.OnceValues(func() (all []login, err error) {
		if apt && f.apt.machine != nil {
			names := []string{f.apt.machine.path("Dir", "Dir::Etc", "Dir::Etc::netrc")}
			more, _ := filepath.Glob(filepath.Join(f.apt.machine.path("Dir", "Dir::Etc", "Dir::Etc::netrcparts"), "*.conf"))
			for _, name := range append(names, more...) {
				list, err := readLogins(name)
				if err != nil {
					return nil, err
				}
				for _, l := range list {
					scheme, rest, ok := strings.Cut(l.host, "://")
					if !ok {
						scheme, rest = "https", l.host
					}
					l.scheme = scheme
					l.host, l.path, _ = strings.Cut(rest, "/")
					l.path = "/" + l.path
					all = append(all, l)
				}
			}
		}
		name := os.Getenv("NETRC")
		if home, err := os.UserHomeDir(); name == "" && err == nil {
			name = filepath.Join(home, ".netrc")
		}
		list, err := readLogins(name)
		return append(all, list...), err
	})
}

// readLogins reads a file that may not be there, or for root only.
func readLogins(name string) (all []login, err error) {
	b, err := os.ReadFile(name)
	if name == "" || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseLogins(string(b)), nil
}

// parseLogins reads words in pairs. A line that begins with # is a comment, and after macdef come lines of a macro until an
// empty one. What is for every host ("default") is left out: it would be told to every host. (Of the libraries for this the
// maintained ones panic on half a pair.)
func parseLogins(text string) (all []login) {
	at, key, macro := -1, "", false
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if macro = macro && len(words) > 0; macro || strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, word := range words {
			switch {
			case key == "" && word == "default":
				at = -1
			case key == "":
				key = word
				continue
			case key == "machine":
				all = append(all, login{host: word})
				at = len(all) - 1
			case key == "macdef":
				macro = true
			case key == "login" && at >= 0:
				all[at].user = word
			case key == "password" && at >= 0:
				all[at].password = word
			}
			key = ""
		}
	}
	return all
}

package source

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseLogins(t *testing.T) {
	got := parseLogins("# machine no login no\nmachine a.example login me password se#cret machine b.example:8080\n\tlogin\n\tyou\naccount x password p\n" +
		"macdef init\nmachine macro.example login x password y\n\ndefault login anonymous password no\nmachine c.example/deep password only\nmachine")
	want := []login{{host: "a.example", user: "me", password: "se#cret"}, {host: "b.example:8080", user: "you", password: "p"}, {host: "c.example/deep", password: "only"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func FuzzParseLogins(f *testing.F) {
	f.Add("machine a login b password c")
	f.Add("machine")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range parseLogins(text) {
			if l.host == "" || strings.ContainsAny(l.host+l.user+l.password, " \t\n") {
				t.Errorf("%+v", l)
			}
		}
	})
}

// TestLogins: a login reaches its host and no other, by redirects, too.
func TestLogins(t *testing.T) {
	b, d := content(30)
	served := func(user, password string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			gotUser, gotPassword, ok := r.BasicAuth()
			if gotUser != user || gotPassword != password || ok != (user != "") {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(b))
		}
	}
	port := func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return u.Host
	}
	closed := serve(t, served("me", "secret"))
	open := serve(t, served("", ""))
	redirected := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, closed, http.StatusFound) })
	leaking := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, open, http.StatusFound) })
	name := filepath.Join(t.TempDir(), "netrc")
	text := "machine " + port(closed) + " login me password secret machine " + port(leaking) + " login other password other default login every password one"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NETRC", name)
	for what, from := range map[string]string{"asked for": closed, "not asked for": open, "not handed on": leaking,
		"in the address": strings.Replace(closed, "http://", "http://me:secret@", 1)} {
		f := newFetcher(t)
		if _, _, err := f.Resolve(t.Context(), urlSpec(d, from)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, _, err := newFetcher(t).Resolve(t.Context(), urlSpec(d, redirected)); err == nil || !strings.Contains(err.Error(), "401 Unauthorized") {
		t.Errorf("what a redirect asks for in the clear: %v", err)
	}
	t.Setenv("NETRC", filepath.Join(t.TempDir(), "none"))
	_, _, err := newFetcher(t).Resolve(t.Context(), urlSpec(d, closed))
	if err == nil || !strings.Contains(err.Error(), "401 Unauthorized; give ~/.netrc the line: machine HOST login NAME password PASSWORD") {
		t.Error(err)
	}
}

func TestLoginIsFor(t *testing.T) {
	for _, c := range []struct {
		login login
		url   string
		from  *http.Response // of the redirect that asks for it
		want  bool
	}{
		{login{host: "a.example"}, "https://a.example/x", &http.Response{}, true},
		{login{host: "a.example"}, "http://a.example/x", &http.Response{}, false},
		{login{scheme: "http", host: "a.example"}, "http://a.example/x", &http.Response{}, true},
		{login{host: "a.example"}, "http://a.example:81/x", nil, true},
		{login{host: "a.example:81"}, "http://a.example:81/x", nil, true},
		{login{host: "a.example:82"}, "http://a.example:81/x", nil, false},
		{login{host: "example"}, "http://a.example/x", nil, false},
		{login{scheme: "https", host: "a.example", path: "/debian/"}, "https://a.example/debian/pool/x", nil, true},
		{login{scheme: "https", host: "a.example", path: "/debian/"}, "http://a.example/debian/pool/x", nil, false},
		{login{scheme: "https", host: "a.example", path: "/debian/"}, "https://a.example/other", nil, false},
	} {
		r, err := http.NewRequest("GET", c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Response = c.from
		if c.login.isFor(r) != c.want {
			t.Errorf("%+v for %s: %v", c.login, c.url, !c.want)
		}
	}
}

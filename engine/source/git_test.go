package source

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vfsb/cache"
)

// run runs git in dir with a fixed identity and returns its output.
func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.test", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// tarList returns "path mode link content" of a stored tar's entries.
func tarList(t *testing.T, f *Fetcher, d cache.Digest) []string {
	t.Helper()
	in, err := f.Store.OpenBlob(d)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var list []string
	for tr := tar.NewReader(in); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != cache.Epoch || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s: time %v owner %d %q", h.Name, h.ModTime, h.Uid, h.Uname)
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %o %s%s", h.Name, h.Mode, h.Linkname, b)))
	}
}

func TestGit(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "tool")
	if err := os.MkdirAll(filepath.Join(repo, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	// Everything here would change the bytes of git archive.
	for name, text := range map[string]string{".gitattributes": "version export-subst\nhidden export-ignore\n*.txt text eol=crlf ident\n", "version": "$Format:%H %d$\n",
		"hidden": "h", "a.txt": "one\n$Id$\n", "sub/run": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(repo, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(repo, "sub/run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/run", filepath.Join(repo, "link")); err != nil {
		t.Fatal(err)
	}
	run(t, repo, "init", "-q")
	run(t, repo, "add", ".")
	run(t, repo, "commit", "-q", "-m", "one")
	first := run(t, repo, "rev-parse", "HEAD")
	run(t, repo, "commit", "-q", "--allow-empty", "-m", "two")
	run(t, repo, "config", "uploadpack.allowAnySHA1InWant", "false") // the branch has moved on: only a full clone serves

	// The user's configuration says where the address leads, and sets what would change an archive's bytes.
	config := filepath.Join(t.TempDir(), "gitconfig")
	text := fmt.Sprintf("[url %q]\n\tinsteadOf = https://git.example.test/\n[core]\n\tautocrlf = true\n[safe]\n\tbareRepository = explicit\n[tar]\n\tumask = 0777\n", filepath.Dir(repo)+"/")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	t.Setenv("GIT_DIR", "/nonexistent") // as a hook would set it

	spec := Spec{ID: "tool/tool", Pos: "p.hcl:2", Git: &Git{URL: "https://git.example.test/tool", Commit: first}}
	f := newFetcher(t)
	e, d, err := f.Resolve(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	top := "tool-" + first
	if want := (Entry{Origin: GitOrigin, Filename: top + ".tar", SHA256: d.Hex(), Size: d.Size, Commit: first}); e != want {
		t.Errorf("entry %+v, want %+v", e, want)
	}
	want := []string{top + "/ 755", top + "/.gitattributes 644 version export-subst\nhidden export-ignore\n*.txt text eol=crlf ident",
		top + "/a.txt 644 one\n$Id$", top + "/hidden 644 h", top + "/link 777 sub/run", top + "/sub/ 755", top + "/sub/run 755 #!/bin/sh",
		top + "/version 644 $Format:%H %d$"}
	if got := tarList(t, f, d); !slices.Equal(got, want) {
		t.Errorf("tar holds %q,\nwant %q", got, want)
	}
	noPartials(t, f)

	t.Run("again elsewhere", func(t *testing.T) {
		other := newFetcher(t)
		other.Lock.SetSource(spec.ID, e)
		if err := other.Fetch(t.Context(), spec, e); err != nil {
			t.Fatal(err)
		}
		storeHas(t, other, readBlob(t, f, d))
	})
	t.Run("moved", func(t *testing.T) {
		if err := os.Symlink("tool", filepath.Join(filepath.Dir(repo), "renamed")); err != nil {
			t.Fatal(err)
		}
		moved := spec
		moved.Git = &Git{URL: "https://git.example.test/renamed", Commit: first}
		for _, update := range []bool{false, true} {
			other := newFetcher(t)
			other.Lock.SetSource(spec.ID, e)
			other.Update = update
			if got, _, err := other.Resolve(t.Context(), moved); err != nil || got != e {
				t.Errorf("%+v %v", got, err)
			}
			if err := other.Fetch(t.Context(), moved, e); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("other bytes than recorded", func(t *testing.T) {
		other, bad := newFetcher(t), e
		bad.SHA256 = sumA
		err := other.Fetch(t.Context(), spec, bad)
		var sum *ChecksumError
		if !errors.As(err, &sum) || !strings.Contains(err.Error(), sumA) || strings.Count(err.Error(), "p.hcl:2") != 1 {
			t.Errorf("error %v", err)
		}
		noPartials(t, other)
	})
	t.Run("mirror", func(t *testing.T) {
		other := newFetcher(t)
		other.Offline = true
		other.Mirrors = []string{t.TempDir()}
		if err := other.Fetch(t.Context(), spec, e); !errors.Is(err, ErrOffline) {
			t.Errorf("error %v", err)
		}
		if err := os.WriteFile(filepath.Join(other.Mirrors[0], e.Filename), readBlob(t, f, d), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := other.Fetch(t.Context(), spec, e); err != nil {
			t.Error(err)
		}
	})
	t.Run("http mirror, new store", func(t *testing.T) {
		other := newFetcher(t)
		content := readBlob(t, f, d)
		other.Mirrors = []string{serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "f", time.Time{}, bytes.NewReader(content))
		})}
		away := spec
		away.Git.URL = "http://127.0.0.1:1/none"
		if err := other.Fetch(t.Context(), away, e); err != nil {
			t.Error(err)
		}
	})
	for name, g := range map[string]Git{
		"unknown commit":     {URL: spec.Git.URL, Commit: strings.Repeat("1", 40)},
		"unknown repository": {URL: "https://git.example.test/nosuch", Commit: first},
		"option":             {URL: "--upload-pack=touch /tmp/x", Commit: first},
	} {
		t.Run(name, func(t *testing.T) {
			spec := spec
			spec.Git = &g
			f := newFetcher(t)
			_, _, err := f.Resolve(t.Context(), spec)
			if err == nil || !strings.HasPrefix(err.Error(), "p.hcl:2: source tool/tool: commit "+g.Commit) {
				t.Errorf("error %v", err)
			}
			noPartials(t, f)
		})
	}
}

func readBlob(t *testing.T, f *Fetcher, d cache.Digest) []byte {
	t.Helper()
	in, err := f.Store.OpenBlob(d)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFileSource(t *testing.T) {
	f := newFetcher(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "config.txt")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := Spec{ID: "p/s", Pos: "p.hcl:2", File: path}
	e, d, err := f.Resolve(t.Context(), spec)
	if err != nil || d != cache.DigestOf([]byte("text")) || e.Filename != "config.txt" || e.Origin != FileOrigin {
		t.Fatalf("%+v %v %v", e, d, err)
	}
	if err := f.Fetch(t.Context(), spec, e); err != nil {
		t.Fatal(err)
	}
	storeHas(t, f, []byte("text"))
	if got := f.Lock.Changed(); len(got) > 0 {
		t.Errorf("recorded: %q", got)
	}
	spec.SHA256 = sumA
	if _, _, err := f.Resolve(t.Context(), spec); err == nil || !strings.Contains(err.Error(), sumA) {
		t.Errorf("wrong digest: %v", err)
	}
	spec.SHA256, spec.File = "", path+"x"
	if _, _, err := f.Resolve(t.Context(), spec); err == nil || !strings.HasPrefix(err.Error(), "p.hcl:2: source p/s: ") {
		t.Errorf("missing file: %v", err)
	}
	spec.File = path
	e, _, err = f.Resolve(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	f2 := newFetcher(t)
	if err := os.WriteFile(path, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f2.Fetch(t.Context(), spec, e); err == nil || !strings.Contains(err.Error(), "change during the build") {
		t.Errorf("changed file: %v", err)
	}
}

func TestFolderSource(t *testing.T) {
	build := func(umask os.FileMode, names []string) string {
		dir := filepath.Join(t.TempDir(), "tree")
		for _, n := range names {
			p := filepath.Join(dir, n)
			if err := os.MkdirAll(filepath.Dir(p), 0o777&^umask); err != nil {
				t.Fatal(err)
			}
			mode := 0o666 &^ umask
			if filepath.Base(n) == "run" {
				mode |= 0o100
			}
			if err := os.WriteFile(p, []byte(n), mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("../away", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	names := []string{"b/run", "b.txt", "a", "b/\xff odd", strings.Repeat("long/", 60) + "x"}
	f := newFetcher(t)
	spec := Spec{ID: "p/s", Pos: "p.hcl:2", File: build(0o022, names)}
	e, d, err := f.Resolve(t.Context(), spec)
	if err != nil || e.Filename != "tree.tar" {
		t.Fatalf("%+v %v", e, err)
	}
	slices.Reverse(names)
	spec.File = build(0o077, names)
	if _, again, err := f.Resolve(t.Context(), spec); err != nil || again != d {
		t.Errorf("the same folder made in another way: %v %v, want %v", again, err, d)
	}
	if err := f.Fetch(t.Context(), spec, e); err != nil {
		t.Fatal(err)
	}
	list := tarList(t, f, d)
	if got := list[:6]; !slices.Equal(got, []string{"tree/ 755", "tree/a 644 a", "tree/b/ 755", "tree/b.txt 644 b.txt", "tree/b/run 755 b/run", "tree/b/\xff odd 644 b/\xff odd"}) {
		t.Errorf("tar holds %q", got)
	}
	if got := list[6]; got != "tree/link 777 ../away" {
		t.Errorf("link %q", got)
	}
	if err := exec.Command("mkfifo", filepath.Join(spec.File, "pipe")).Run(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Resolve(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "pipe is no file") {
		t.Errorf("fifo: %v", err)
	}
}

// TestSubmodules: their files are in the tar if wanted, at any depth; nothing is left out without being said.
func TestSubmodules(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "gitconfig")
	settings := fmt.Sprintf("[url %q]\n\tinsteadOf = https://git.example.test/\n[protocol \"file\"]\n\tallow = always\n", dir+"/")
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	commit := func(name, text string, submodules ...string) string {
		repo := filepath.Join(dir, "group", name)
		if err := os.MkdirAll(repo, 0o700); err != nil {
			t.Fatal(err)
		}
		run(t, repo, "init", "-q")
		if err := os.WriteFile(filepath.Join(repo, name+".txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, s := range submodules {
			run(t, repo, "submodule", "add", "-q", s, "lib/"+filepath.Base(s)+".d")
		}
		run(t, repo, "add", ".")
		run(t, repo, "commit", "-q", "-m", name)
		return run(t, repo, "rev-parse", "HEAD")
	}
	commit("deep", "d")
	commit("middle", "m", filepath.Join(dir, "group/deep"))
	repo := filepath.Join(dir, "group/middle")
	run(t, repo, "config", "-f", ".gitmodules", "submodule.lib/deep.d.url", "../deep")
	run(t, repo, "commit", "-qam", "relative")
	middle := run(t, repo, "rev-parse", "HEAD")
	top := commit("top", "t", filepath.Join(dir, "group/middle"))
	spec := func(submodules *bool) Spec {
		return Spec{ID: "top/top", Pos: "p.hcl:2", Git: &Git{URL: "https://git.example.test/group/top", Commit: top, Submodules: submodules}}
	}

	f := newFetcher(t)
	_, _, err := f.Resolve(t.Context(), spec(nil))
	if err == nil || !strings.Contains(err.Error(), "p.hcl:2: source top/top: commit "+top+" has the submodule lib/middle.d; write submodules = true") {
		t.Error(err)
	}
	e, d, err := f.Resolve(t.Context(), spec(new(false)))
	if err != nil {
		t.Fatal(err)
	}
	prefix := "top-" + top
	if got := strings.Join(tarList(t, f, d), "\n"); e.Submodules || !strings.Contains(got, prefix+"/lib/middle.d/ 755") || strings.Contains(got, "middle.txt") {
		t.Errorf("%+v: %s", e, got)
	}
	all, d, err := f.Resolve(t.Context(), spec(new(true))) // not the one that the lock file has
	if err != nil {
		t.Fatal(err)
	}
	got := tarList(t, f, d)
	for _, want := range []string{"/top.txt 644 t", "/lib/middle.d/ 755", "/lib/middle.d/middle.txt 644 m", "/lib/middle.d/lib/deep.d/ 755", "/lib/middle.d/lib/deep.d/deep.txt 644 d"} {
		if !slices.Contains(got, prefix+want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if !all.Submodules {
		t.Errorf("%+v", all)
	}
	other := newFetcher(t)
	other.Lock.SetSource(spec(nil).ID, all)
	if err := other.Fetch(t.Context(), spec(new(true)), all); err != nil {
		t.Error(err)
	}

	// What a repository names is not fetched from this machine's files, unless the configuration says so.
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(settings, "always", "user")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = newFetcher(t).Resolve(t.Context(), spec(new(true)))
	if err == nil || !strings.Contains(err.Error(), "submodule lib/middle.d: commit "+middle) || !strings.Contains(err.Error(), "transport 'file' not allowed") {
		t.Error(err)
	}
}

// TestGitSilentServer: git is ended when the server says nothing.
func TestGitSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			_, err = io.Copy(io.Discard, conn)
		}
		gone <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	url := "git://" + l.Addr().String() + "/tool"
	_, _, err = newFetcher(t).Resolve(ctx, Spec{ID: "tool/tool", Pos: "p.hcl:2", Git: &Git{URL: url, Commit: strings.Repeat("1", 40)}})
	if err == nil || !strings.Contains(err.Error(), "git fetch: "+url+" sent nothing for 300ms") {
		t.Error(err)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
}

// TestGitSSH: whose ssh is called, how long it may take, and that it does not outlive git.
func TestGitSSH(t *testing.T) {
	dir := t.TempDir()
	repo := filepath.Join(dir, "tool")
	if err := os.Mkdir(repo, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, repo, "init", "-q")
	run(t, repo, "commit", "-q", "--allow-empty", "-m", "one")
	spec := Spec{ID: "tool/tool", Pos: "p.hcl:2", Git: &Git{URL: "ssh://git.example.test" + repo, Commit: run(t, repo, "rev-parse", "HEAD")}}
	config, pid := filepath.Join(dir, "gitconfig"), filepath.Join(dir, "pid")
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	t.Setenv("GIT_SSH_VARIANT", "ssh")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	const serve = `; shift $(($# - 1)); eval "exec $1"`
	for name, c := range map[string]struct{ script, command, config, want string }{
		"asks nothing":   {`echo "called with $*" >&2; exit 1`, "", "", "called with -oBatchMode=yes -oConnectTimeout=30 "},
		"user's":         {`echo "called with $*" >&2; exit 1`, "ssh -v", "", "called with -v "},
		"configured":     {`echo "called with $*" >&2; exit 1`, "", "[core]\n\tsshCommand = ssh -q\n", "called with -q "},
		"has words":      {`printf 'Counting: 1%%\rCounting: 2%%, done.\nPermission denied.\r\n' >&2; exit 1`, "", "", "exit status 128: Permission denied.\n"},
		"no terminal":    {`(: </dev/tty) 2>/dev/null || echo "none" >&2; exit 1`, "", "", "none"},
		"waits":          {`echo $$ >"` + pid + `"; exec sleep 1000`, "", "", "git fetch: " + spec.Git.URL + " sent nothing for 1s"},
		"takes its time": {`for i in 1 2 3 4 5 6; do echo "$i" >&2; sleep 0.5; done` + serve, "", "", ""},
		"works":          {`end=$(($(date +%s) + 4)); while [ $(date +%s) -lt $end ]; do :; done` + serve, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GIT_SSH_COMMAND", c.command)
			if c.command == "" {
				os.Unsetenv("GIT_SSH_COMMAND")
			}
			if err := errors.Join(os.WriteFile(config, []byte(c.config), 0o600), os.WriteFile(filepath.Join(dir, "ssh"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o700)); err != nil {
				t.Fatal(err)
			}
			f := newFetcher(t)
			f.timing.stall = time.Second
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			_, _, err := f.Resolve(ctx, spec)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Error(err)
			}
		})
	}
	b, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	ssh, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", ssh)); err == nil && !strings.Contains(string(b), ") Z ") {
		t.Errorf("ssh is still there: %s", b)
	}
}

func TestSubmoduleURL(t *testing.T) {
	for _, c := range [][3]string{
		{"https://a.example/b/c.git", "../d.git", "https://a.example/b/d.git"},
		{"https://a.example/b/c.git/", "./d.git", "https://a.example/b/c.git/d.git"},
		{"https://a.example/b/c", "../../d", "https://a.example/d"},
		{"git@a.example:c", "../d", "git@a.example:d"},
		{"https://a.example/b", "https://e.example/f", "https://e.example/f"},
	} {
		if got := submoduleURL(c[0], c[1]); got != c[2] {
			t.Errorf("%s from %s is %s, want %s", c[1], c[0], got, c[2])
		}
	}
}

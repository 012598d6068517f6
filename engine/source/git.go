package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"vfsb/cache"
)

// gitName is the name of a repository: the last element of its address, without ".git".
func (s Spec) gitName() string {
	u := strings.TrimSuffix(strings.TrimRight(s.Git.URL, "/"), ".git")
	if i := strings.LastIndexAny(u, "/:"); i >= 0 {
		u = u[i+1:]
	}
	if !plainName(u) || strings.HasPrefix(u, "-") {
		return path.Base(s.ID)
	}
	return u
}

// gitTop is the name of the folder in a commit's tar. What the lock file records keeps its name, and with it its digest,
// when the repository gets another address.
func (s Spec) gitTop(e Entry) string {
	if top, ok := strings.CutSuffix(e.Filename, ".tar"); ok && s.Filename == "" && strings.HasSuffix(top, "-"+s.Git.Commit) {
		return top
	}
	return s.gitName() + "-" + s.Git.Commit
}

// resolveGit makes the lock entry of a commit; to learn its digest it fetches it.
func (f *Fetcher) resolveGit(ctx context.Context, s Spec) (Entry, error) {
	want := s.SHA256
	old, ok := f.Lock.Source(s.ID, s.accepts)
	if want == "" && ok {
		want = old.SHA256 // Update: a commit cannot change
	}
	top := s.gitTop(old)
	d, err := f.fetchGit(ctx, s, top, want)
	if err != nil {
		return Entry{}, err
	}
	name := s.Filename
	if name == "" {
		name = top + ".tar"
	}
	return Entry{Origin: GitOrigin, Filename: name, SHA256: d.Hex(), Size: d.Size, Commit: s.Git.Commit, Submodules: s.Git.submodules()}, nil
}

// fetchGit puts the tar of a commit, with the folder top, into the store. want is its expected SHA-256, or "".
func (f *Fetcher) fetchGit(ctx context.Context, s Spec, top, want string) (cache.Digest, error) {
	w := file{id: s.ID, pos: s.Pos, what: "source " + s.ID, name: top + ".tar", sha256: want, size: -1}
	if want != "" {
		if d, ok := f.Store.FindBlob(want); ok {
			return d, nil
		}
	}
	return f.flights.do(ctx, fmt.Sprintf("git %s %s %v %s %s", s.Git.URL, s.Git.Commit, s.Git.submodules(), top, want), func(ctx context.Context) (cache.Digest, error) {
		unlock, err := f.Store.Lock(ctx, "git-"+s.Git.Commit)
		if err != nil {
			return cache.Digest{}, w.errorf("lock: %w", err)
		}
		defer unlock()
		if want != "" {
			if d, ok := f.Store.FindBlob(want); ok {
				return d, nil
			}
			if d, ok, err := f.fromMirrors(ctx, w); ok || err != nil {
				return d, err
			}
		}
		if f.Offline {
			return cache.Digest{}, w.errorf("%w (--offline)", ErrOffline)
		}
		f.note(s.ID, s.Git.URL, "git fetch "+s.Git.Commit)
		return f.exportGit(ctx, s, top, w)
	})
}

// exportGit fetches a commit into a temporary repository and puts its tree into the store as a tar. The tar is made here
// of the raw objects: git archive's bytes depend on its version, on tar.umask, on line-end settings, on filters and on
// attributes.
func (f *Fetcher) exportGit(ctx context.Context, s Spec, top string, w file) (cache.Digest, error) {
	dir, release, err := f.Store.NewRun("git")
	if err != nil {
		return cache.Digest{}, w.errorf("%w", err)
	}
	defer release()
	g := gitRepo{dir: dir, stall: f.timing.orDefault().stall}
	if err := g.init(ctx, s.Git.Commit); err != nil {
		return cache.Digest{}, w.errorf("%w", err)
	}
	if !g.hasSSH(ctx) {
		g.env = []string{"GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=30"}
	}
	if err := g.fetch(ctx, s.Git.URL, s.Git.Commit); err != nil {
		if ctx.Err() != nil {
			return cache.Digest{}, context.Cause(ctx)
		}
		return cache.Digest{}, w.errorf("commit %s of %s cannot be fetched; check both, or give --mirror a folder that has %s\n  %w", s.Git.Commit,
			s.Git.URL, w.name, err)
	}
	members, err := g.tree(ctx, s.Git.URL, s.Git.Commit, s.Git.Submodules, new(maxSubmodules))
	if err != nil {
		if ctx.Err() != nil {
			return cache.Digest{}, context.Cause(ctx)
		}
		return cache.Digest{}, w.errorf("%w", err)
	}
	d, err := f.adopt(w, s.Git.URL, func(out io.Writer) error {
		blobs, err := g.blobs(ctx)
		if err != nil {
			return err
		}
		err = writeTar(out, top, members, blobs.write)
		if closeErr := blobs.close(); err == nil {
			err = closeErr
		}
		return err
	})
	var sum *ChecksumError
	if errors.As(err, &sum) {
		return cache.Digest{}, err
	}
	if err != nil {
		return cache.Digest{}, w.errorf("%w", err)
	}
	f.notify(Progress{ID: s.ID, URL: s.Git.URL, Done: d.Size, Total: d.Size, Final: true})
	return d, nil
}

// gitRepo is a bare repository in a folder of its own. Submodules' objects are in it, too.
type gitRepo struct {
	dir   string
	env   []string // more than the user's
	stall time.Duration
}

// command prepares git with the user's configuration (credentials, insteadOf), but without prompts, and without the
// variables that a hook or alias of git itself sets.
func (g gitRepo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "gc.auto=0", "-c", "maintenance.auto=false",
		"-c", "core.hooksPath=/dev/null", "-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"}, args...)...)
	cmd.Dir = g.dir
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
			"GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_QUARANTINE_PATH":
		default:
			cmd.Env = append(cmd.Env, v)
		}
	}
	// Where the configuration has safe.bareRepository=explicit, a bare repository must be named.
	cmd.Env = append(cmd.Env, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_DIR="+g.dir)
	cmd.Env = append(cmd.Env, g.env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// maxGitOutput bounds what one git command prints. A tree whose folders are the same few again and again lists without
// end; Linux's lists 9 MB.
const maxGitOutput = 64 << 20

// run runs git and returns its output; an error holds the last lines that it printed.
func (g gitRepo) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := g.command(ctx, args...)
	var out bytes.Buffer
	count := &counter{w: &out, most: maxGitOutput}
	errs := &tail{most: 1000}
	cmd.Stdout, cmd.Stderr = count, errs
	err := cmd.Run()
	switch {
	case count.n > count.most:
		return nil, fmt.Errorf("git %s: prints more than %d bytes; is the repository made to do harm?", args[0], maxGitOutput)
	case err != nil:
		return nil, errs.errorf(args[0], err)
	}
	return out.Bytes(), nil
}

// tail keeps the end of what is written to it.
type tail struct {
	b       []byte
	most    int
	written atomic.Int64
}

// progressLine is what git --progress prints: what it writes over, and how it ends.
var progressLine = regexp.MustCompile(`(?m)^(.*\r)?(.*, done\. *\n)?`)

// errorf is the error of a git command with what it has printed, but for progress.
func (t *tail) errorf(command string, err error) error {
	text := bytes.ReplaceAll(t.b, []byte("\r\n"), []byte("\n")) // ssh's
	return fmt.Errorf("git %s: %w: %s", command, err, bytes.TrimSpace(progressLine.ReplaceAll(text, nil)))
}

func (t *tail) Write(b []byte) (int, error) {
	t.written.Add(int64(len(b)))
	t.b = append(t.b, b...)
	if n := len(t.b); n > t.most {
		t.b = t.b[:copy(t.b, t.b[n-t.most:])]
	}
	return len(b), nil
}

// init makes the repository, for objects with ids like commit.
func (g gitRepo) init(ctx context.Context, commit string) error {
	format := "sha1"
	if len(commit) == 64 {
		format = "sha256"
	}
	_, err := g.run(ctx, "init", "-q", "--bare", "--template=", "--object-format="+format, ".")
	return err
}

// hasSSH reports whether the user says how to call ssh.
func (g gitRepo) hasSSH(ctx context.Context) bool {
	_, err := g.run(ctx, "config", "core.sshCommand")
	return err == nil || os.Getenv("GIT_SSH_COMMAND") != "" || os.Getenv("GIT_SSH") != ""
}

// fetch gets the commit alone, or if the server does not hand out single commits, all branches and tags.
func (g gitRepo) fetch(ctx context.Context, url, commit string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := func() { cancel(fmt.Errorf("git fetch: %s sent nothing for %v", url, g.stall)) }
	shallowErr := g.download(ctx, stalled, "--depth=1", "--", url, commit)
	if shallowErr == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := g.download(ctx, stalled, "--", url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	if _, err := g.run(ctx, "cat-file", "-e", commit+"^{commit}"); err != nil {
		return fmt.Errorf("no branch or tag holds it (%w)", shallowErr)
	}
	return nil
}

// download runs git fetch, and calls stalled when neither the server nor git itself does anything for too long. Git and what
// it starts have a session of their own: it can be ended as a whole, and has no terminal to ask at.
func (g gitRepo) download(ctx context.Context, stalled func(), args ...string) error {
	cmd := g.command(ctx, append([]string{"fetch", "--progress", "--no-tags", "--no-recurse-submodules"}, args...)...)
	errs := &tail{most: 1000}
	cmd.Stderr = errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	runtime.LockOSThread() // with which git would end
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if err == nil {
		ended := make(chan struct{})
		var watch sync.WaitGroup
		watch.Go(func() {
			tick := time.NewTicker(g.stall)
			defer tick.Stop()
			var said, used int64
			for {
				select {
				case <-ended:
					return
				case <-tick.C:
				}
				nowSaid := errs.written.Load()
				nowUsed, working := work(cmd.Process.Pid)
				if !working && nowSaid == said && nowUsed == used {
					stalled()
					return
				}
				said, used = nowSaid, nowUsed
			}
		})
		err = cmd.Wait()
		close(ended)
		watch.Wait()
	}
	if err != nil {
		return errs.errorf("fetch", err)
	}
	return nil
}

// work is the processor time that a process group has used, in the kernel's ticks, and whether one of it runs now or waits
// for a disk.
func work(group int) (ticks int64, working bool) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, _ := os.ReadFile(name)
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // after the name, which may hold anything
		if len(fields) < 15 || fields[2] != strconv.Itoa(group) {
			continue
		}
		working = working || fields[0] == "R" || fields[0] == "D"
		for _, field := range fields[11:15] { // its own and that of its children that have ended
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks += n
		}
	}
	return ticks, working
}

// A repository may have this many submodules, theirs included, and with them this many files.
const maxSubmodules, maxMembers = 1000, 1 << 20

// tree returns the files of a commit of the repository at url and the folders that hold them, those of submodules included if
// wanted, at any depth.
func (g gitRepo) tree(ctx context.Context, url, commit string, wanted *bool, left *int) ([]member, error) {
	members, err := g.list(ctx, commit)
	if err != nil {
		return nil, err
	}
	var subs []member
	for _, m := range members {
		if m.submodule {
			subs = append(subs, m)
		}
	}
	switch {
	case len(subs) == 0 || wanted != nil && !*wanted:
		return members, nil
	case wanted == nil:
		return nil, fmt.Errorf("commit %s has the submodule %s; write submodules = true for its files, or submodules = false for an empty folder", commit, subs[0].path)
	case *left < len(subs):
		return nil, fmt.Errorf("more than %d submodules; is the repository made to do harm?", maxSubmodules)
	}
	*left -= len(subs)
	urls, err := g.submoduleURLs(ctx, url, commit)
	if err != nil {
		return nil, err
	}
	// What a repository names may be fetched by fewer protocols than what the user names: no files of this machine, no commands.
	g.env = append(slices.Clone(g.env), "GIT_PROTOCOL_FROM_USER=0")
	for _, m := range subs {
		from, ok := urls[m.path]
		if !ok {
			return nil, fmt.Errorf("submodule %s has no address in .gitmodules; submodules = false makes an empty folder of it", m.path)
		}
		if err := g.fetch(ctx, from, m.id); err != nil {
			return nil, fmt.Errorf("submodule %s: commit %s of %s cannot be fetched\n  %w", m.path, m.id, from, err)
		}
		below, err := g.tree(ctx, from, m.id, wanted, left)
		if err != nil {
			return nil, fmt.Errorf("submodule %s: %w", m.path, err)
		}
		for _, b := range below {
			if b.path == "" {
				continue // the folder, which is there
			}
			b.path = m.path + "/" + b.path
			if members = append(members, b); len(b.path) > maxPath || len(members) > maxMembers {
				return nil, fmt.Errorf("submodule %s: too many files, or too long paths; is the repository made to do harm?", m.path)
			}
		}
	}
	return members, nil
}

// submoduleURLs returns the addresses of a commit's submodules by their paths.
func (g gitRepo) submoduleURLs(ctx context.Context, url, commit string) (map[string]string, error) {
	out, err := g.run(ctx, "config", "--blob", commit+":.gitmodules", "-z", "--list")
	if err != nil {
		return nil, err
	}
	paths, addresses := map[string]string{}, map[string]string{}
	for line := range strings.SplitSeq(string(out), "\x00") {
		key, value, _ := strings.Cut(line, "\n")
		if name, ok := strings.CutSuffix(key, ".path"); ok {
			paths[name] = value
		} else if name, ok := strings.CutSuffix(key, ".url"); ok {
			addresses[name] = submoduleURL(url, value)
		}
	}
	urls := map[string]string{}
	for name, path := range paths {
		if address := addresses[name]; address != "" {
			urls[path] = address
		}
	}
	return urls, nil
}

// submoduleURL is the address of a submodule, which may be relative to that of what it is in.
func submoduleURL(parent, url string) string {
	base, separator := strings.TrimRight(parent, "/"), "/"
	relative := false
	for {
		if rest, ok := strings.CutPrefix(url, "./"); ok {
			url, relative = rest, true
		} else if rest, ok := strings.CutPrefix(url, "../"); ok {
			url, relative = rest, true
			if i := strings.LastIndexAny(base, "/:"); i >= 0 {
				base, separator = base[:i], base[i:i+1]
			}
		} else if relative {
			return base + separator + url
		} else {
			return url
		}
	}
}

// list returns the files of a commit and the folders that hold them. A submodule is an empty folder.
func (g gitRepo) list(ctx context.Context, commit string) ([]member, error) {
	out, err := g.run(ctx, "ls-tree", "-r", "-t", "-z", "-l", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	members := []member{{mode: fs.ModeDir | 0o755}}
	left := int64(maxSize)
	for line := range strings.SplitSeq(string(out), "\x00") {
		if line == "" {
			continue
		}
		head, name, _ := strings.Cut(line, "\t")
		words := strings.Fields(head)
		if len(words) != 4 || !cleanName(name) {
			return nil, fmt.Errorf("git ls-tree: odd line %.200q; is the repository made to do harm?", line)
		}
		m := member{path: name, id: words[2]}
		if words[3] != "-" { // folders and submodules
			if m.size, err = strconv.ParseInt(words[3], 10, 64); err != nil || m.size < 0 {
				return nil, fmt.Errorf("git ls-tree: odd size in %.200q", line)
			}
		}
		if left -= m.size; left < 0 {
			return nil, fmt.Errorf("%q: with it the files have more than %d bytes; is the repository made to do harm?", name, int64(maxSize))
		}
		switch words[0] {
		case "040000", "160000":
			m.mode, m.submodule = fs.ModeDir|0o755, words[0] == "160000"
		case "120000":
			if m.size > maxPath {
				return nil, fmt.Errorf("%q: the link has %d bytes, the limit is %d", name, m.size, maxPath)
			}
			target, err := g.run(ctx, "cat-file", "blob", m.id)
			if err != nil {
				return nil, err
			}
			m.mode, m.link = fs.ModeSymlink, string(target)
		default:
			m.mode = filePerm(words[0] == "100755")
		}
		members = append(members, m)
	}
	return members, nil
}

// cleanName reports whether a path of a tree means what it says. Trees are text to git: names such as ".." can be in one.
func cleanName(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return len(name) <= maxPath
}

// gitBlobs reads objects through one git process.
type gitBlobs struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (g gitRepo) blobs(ctx context.Context) (*gitBlobs, error) {
	cmd := g.command(ctx, "cat-file", "--batch")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &gitBlobs{cmd, in, bufio.NewReaderSize(out, 64<<10)}, cmd.Start()
}

func (b *gitBlobs) write(w io.Writer, m member) error {
	if _, err := io.WriteString(b.in, m.id+"\n"); err != nil {
		return err
	}
	head, err := b.out.ReadString('\n')
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%s blob %d\n", m.id, m.size); head != want {
		return fmt.Errorf("git cat-file: %q", strings.TrimSpace(head))
	}
	if _, err := io.CopyN(w, b.out, m.size); err != nil {
		return err
	}
	_, err = b.out.Discard(1)
	return err
}

func (b *gitBlobs) close() error {
	b.in.Close()
	_, err := io.Copy(io.Discard, b.out)
	if waitErr := b.cmd.Wait(); err == nil {
		err = waitErr
	}
	return err
}

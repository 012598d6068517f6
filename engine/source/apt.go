package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// aptState is what a Fetcher knows of apt: the machine's configuration and the indexes that it has read.
type aptState struct {
	once, prepare sync.Once
	machine       *machine
	err           error // no apt here

	turn    chan struct{}        // holds one element while apt is in use; guards what follows
	updated map[string]bool      // private roots updated in this run
	indexes map[string]*aptIndex // by private root
}

// lock waits for the right to use apt: one index is fetched and read at a time, and those that wait find it read.
func (a *aptState) lock(ctx context.Context) (unlock func(), err error) {
	a.prepare.Do(func() { a.turn = make(chan struct{}, 1) })
	select {
	case a.turn <- struct{}{}:
		return func() { <-a.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// machine is this machine's apt configuration.
type machine struct {
	conf    []setting // in the order of apt-config dump
	stanzas []stanza
	release string // VERSION_CODENAME of os-release, or ""
}

// setting is one line of apt's configuration. A list's elements have a key that ends in "::".
type setting struct{ key, value string }

// A stanza names a repository: URIs × Suites × Components. options are its further fields, among them Signed-By.
type stanza struct {
	types, uris, suites, components []string
	options                         []setting
}

// aptMachine reads the machine's apt configuration, once.
func (f *Fetcher) aptMachine(ctx context.Context) (*machine, error) {
	f.apt.once.Do(func() { f.apt.machine, f.apt.err = readMachine(context.WithoutCancel(ctx)) })
	return f.apt.machine, f.apt.err
}

func readMachine(ctx context.Context) (*machine, error) {
	cmd := exec.CommandContext(ctx, "apt-config", "dump")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("this machine has no apt: %w", err)
	}
	m := &machine{conf: parseAptConfig(out)}
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
				m.release = strings.Trim(strings.TrimSpace(v), `"`)
			}
		}
	}
	names := []string{m.path("Dir", "Dir::Etc", "Dir::Etc::sourcelist")}
	parts := m.path("Dir", "Dir::Etc", "Dir::Etc::sourceparts")
	if list, err := os.ReadDir(parts); err == nil {
		for _, e := range list { // sorted by name
			names = append(names, filepath.Join(parts, e.Name()))
		}
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // a folder, /dev/null or nothing
		}
		switch filepath.Ext(name) {
		case ".list":
			m.stanzas = append(m.stanzas, parseSourcesList(b)...)
		case ".sources":
			m.stanzas = append(m.stanzas, parseSourcesStanzas(b)...)
		}
	}
	if len(m.stanzas) == 0 {
		return nil, errors.New("this machine's apt configuration names no repository")
	}
	return m, nil
}

// parseAptConfig reads lines `Key "value";`.
func parseAptConfig(b []byte) []setting {
	var conf []setting
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		value, quoted := strings.CutPrefix(strings.TrimSuffix(value, `";`), `"`)
		if ok && quoted {
			conf = append(conf, setting{key, value})
		}
	}
	return conf
}

// get returns the last value of key.
func (m *machine) get(key string) string {
	value := ""
	for _, s := range m.conf {
		if strings.EqualFold(s.key, key) {
			value = s.value
		}
	}
	return value
}

// path joins the values of keys; an absolute value starts anew.
func (m *machine) path(keys ...string) string {
	p := "/"
	for _, key := range keys {
		v := m.get(key)
		if filepath.IsAbs(v) {
			p = v
		} else {
			p = filepath.Join(p, v)
		}
	}
	return p
}

// parseSourcesList reads the one-line format of sources.list(5).
func parseSourcesList(b []byte) []stanza {
	var list []stanza
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
		if kind != "deb" && kind != "deb-src" {
			continue
		}
		s := stanza{types: []string{kind}}
		rest = strings.TrimSpace(rest)
		if after, ok := strings.CutPrefix(rest, "["); ok {
			options, after, ok := strings.Cut(after, "]")
			if !ok {
				continue
			}
			rest = after
			for _, o := range strings.Fields(options) {
				if key, value, ok := strings.Cut(o, "="); ok {
					s.options = append(s.options, setting{strings.TrimSuffix(key, "+"), strings.ReplaceAll(value, ",", " ")})
				}
			}
		}
		words := strings.Fields(rest)
		if len(words) < 2 {
			continue
		}
		s.uris, s.suites, s.components = words[:1], words[1:2], words[2:]
		list = append(list, s)
	}
	return list
}

// parseSourcesStanzas reads the format of *.sources files.
func parseSourcesStanzas(b []byte) []stanza {
	var list []stanza
	for _, fields := range parseControl(string(b)) {
		var s stanza
		enabled := true
		for _, f := range fields {
			switch words := strings.Fields(f.value); strings.ToLower(f.key) {
			case "types":
				s.types = words
			case "uris":
				s.uris = words
			case "suites":
				s.suites = words
			case "components":
				s.components = words
			case "enabled":
				enabled = !slices.Contains([]string{"no", "false", "0", "off", "without", "disable"}, strings.ToLower(strings.TrimSpace(f.value)))
			default:
				s.options = append(s.options, f)
			}
		}
		if enabled && len(s.uris) > 0 && len(s.suites) > 0 {
			list = append(list, s)
		}
	}
	return list
}

// parseControl splits deb822 text into stanzas of fields. A value keeps its continuation lines.
func parseControl(text string) [][]setting {
	var all [][]setting
	var fields []setting
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if len(fields) > 0 {
				all, fields = append(all, fields), nil
			}
		case line[0] == ' ' || line[0] == '\t':
			if len(fields) > 0 {
				fields[len(fields)-1].value += "\n" + line
			}
		default:
			if key, value, ok := strings.Cut(line, ":"); ok {
				fields = append(fields, setting{key, strings.TrimSpace(value)})
			}
		}
	}
	return all
}

// option returns a further field of the stanza.
func (s stanza) option(key string) string {
	for _, o := range s.options {
		if strings.EqualFold(o.key, key) {
			return o.value
		}
	}
	return ""
}

// score tells how likely it is that the stanza's archive has the suite: the suite itself named, then the machine's own
// release, then the looks of a Debian archive. Third-party repositories often use Debian's suite names, hence the rest.
func (s stanza) score(suite, release string) int {
	n := 0
	for _, own := range s.suites {
		base := strings.TrimSuffix(own, "/")
		switch {
		case base == suite:
			n = max(n, 4)
		case isSecurity(base) != isSecurity(suite):
		case base == release || slices.Contains([]string{"stable", "oldstable", "testing", "unstable", "sid"}, base):
			n = max(n, 2)
		}
	}
	if !slices.Contains(s.components, "main") {
		n -= 4
	}
	if by := s.option("Signed-By"); strings.Contains(by, "debian-archive") || by == "" {
		n += 2
	}
	u := strings.TrimRight(s.uris[0], "/")
	if strings.Contains(u, "/debian-security") != isSecurity(suite) {
		n -= 3
	} else if strings.HasPrefix(u[strings.LastIndex(u, "/")+1:], "debian") {
		n += 2
	}
	return n
}

func isSecurity(suite string) bool {
	return strings.HasSuffix(suite, "-security") || strings.HasSuffix(suite, "/updates")
}

// archives returns the machine's stanzas, the likeliest to have the suite first.
func (m *machine) archives(suite string) []stanza {
	list := slices.Clone(m.stanzas)
	slices.SortStableFunc(list, func(a, b stanza) int { return b.score(suite, m.release) - a.score(suite, m.release) })
	return list
}

// bases returns the addresses of the archives, the likeliest to have the suite first, without doubles. Lists of mirrors
// in files are read.
func (m *machine) bases(suite string) []string {
	var list []string
	add := func(u string) {
		switch scheme, _, _ := strings.Cut(u, ":"); scheme {
		case "http", "https", "file", "copy":
			if u = strings.TrimRight(u, "/"); !slices.Contains(list, u) {
				list = append(list, u)
			}
		}
	}
	for _, s := range m.archives(suite) {
		for _, u := range s.uris {
			name, ok := strings.CutPrefix(u, "mirror+file:")
			if !ok {
				add(u)
				continue
			}
			path, _ := localPath("file:" + name)
			b, err := os.ReadFile(path)
			if err != nil {
				continue
			}
			for line := range strings.Lines(string(b)) {
				if words := strings.Fields(line); len(words) > 0 {
					add(words[0])
				}
			}
		}
	}
	return list
}

// proxy is the proxy for the archive: apt's own setting, else the environment's.
func (a *aptState) proxy(r *http.Request) (*url.URL, error) {
	if a.machine != nil {
		key := "Acquire::" + r.URL.Scheme + "::Proxy"
		for _, k := range []string{key + "::" + r.URL.Hostname(), key} {
			switch v := a.machine.get(k); v {
			case "":
			case "DIRECT":
				return nil, nil
			default:
				return url.Parse(v)
			}
		}
	}
	return http.ProxyFromEnvironment(r)
}

// debianArch is Debian's name of this machine's architecture.
func debianArch() string {
	switch runtime.GOARCH {
	case "386":
		return "i386"
	case "arm":
		return "armhf"
	case "ppc64le":
		return "ppc64el"
	}
	return runtime.GOARCH
}

// An aptRoot is a private state folder of apt for one suite, usable by an ordinary user: no configuration, no pins, no
// installed packages of the machine enter it; its repository, keys, proxies and credentials are the machine's.
type aptRoot struct {
	dir, arch string
	bases     []string // of its stanza
}

// kept are the prefixes of the settings that a private root takes from the machine: how to reach and to trust archives.
var kept = []string{"Acquire::http", "Acquire::https", "Acquire::Retries", "Acquire::Check-", "Acquire::Max-FutureTime",
	"Acquire::ForceIPv", "Acquire::Allow", "Acquire::By-Hash", "Acquire::Max-ValidTime"}

// aptRoot makes the private root for a suite below the store. kind is "deb" or "deb-src".
func (f *Fetcher) aptRoot(m *machine, kind, suite, arch string, components []string) (*aptRoot, error) {
	s := m.archives(suite)[0]
	var b strings.Builder
	fmt.Fprintf(&b, "Types: %s\nURIs: %s\nSuites: %s\n", kind, strings.Join(s.uris, " "), suite)
	if len(components) > 0 && !strings.HasSuffix(suite, "/") {
		fmt.Fprintf(&b, "Components: %s\n", strings.Join(components, " "))
	}
	for _, o := range s.options {
		switch strings.ToLower(o.key) {
		case "signed-by", "trusted", "check-valid-until", "check-date", "date-max-future", "valid-until-min", "valid-until-max",
			"allow-insecure", "allow-weak", "allow-downgrade-to-insecure", "inrelease-path", "by-hash":
			fmt.Fprintf(&b, "%s: %s\n", o.key, o.value)
		}
	}
	sources := b.String()
	sum := sha256.Sum256([]byte(sources + arch))
	r := &aptRoot{dir: filepath.Join(f.Store.Dir(), "apt", suiteName(suite)+"-"+hex.EncodeToString(sum[:6])), arch: arch}
	for _, u := range s.uris {
		r.bases = append(r.bases, strings.TrimRight(u, "/"))
	}
	for _, d := range []string{"etc/sources", "etc/none", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(r.dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"etc/sources/archive.sources": sources, "status": "", "apt.conf": m.privateConf(r)} {
		path := filepath.Join(r.dir, name)
		if old, err := os.ReadFile(path); err == nil && string(old) == text {
			continue
		}
		if err := writeAtomic(path, []byte(text)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// suiteName makes a file name of a suite.
func suiteName(suite string) string { return strings.ReplaceAll(suite, "/", "_") }

// privateConf is the apt.conf of a private root. apt reads it first, and it switches off what apt would read next.
func (m *machine) privateConf(r *aptRoot) string {
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s %q;\n", key, value) }
	for _, s := range m.conf {
		if slices.ContainsFunc(kept, func(p string) bool { return strings.HasPrefix(s.key, p) }) {
			set(s.key, s.value)
		}
	}
	etc := []string{"Dir", "Dir::Etc"}
	for _, key := range []string{"Dir::Etc::trusted", "Dir::Etc::trustedparts", "Dir::Etc::netrc", "Dir::Etc::netrcparts"} {
		set(key, m.path(append(etc, key)...))
	}
	for _, key := range []string{"Dir::Etc::main", "Dir::Etc::sourcelist", "Dir::Etc::preferences"} {
		set(key, "/dev/null")
	}
	in := func(key, path string) { set(key, filepath.Join(r.dir, path)) }
	in("Dir::Etc::parts", "etc/none")
	in("Dir::Etc::preferencesparts", "etc/none")
	in("Dir::Etc::sourceparts", "etc/sources")
	in("Dir::State", "state")
	in("Dir::State::lists", "state/lists")
	in("Dir::State::status", "status")
	in("Dir::State::extended_states", "extended_states")
	in("Dir::Cache", "cache")
	in("Dir::Log", "log")
	set("APT::Architecture", r.arch)
	set("APT::Architectures::", r.arch)
	set("APT::Sandbox::User", "")
	set("APT::Install-Recommends", "false")
	set("APT::Update::Error-Mode", "any")
	set("Acquire::Languages", "none")
	set("Acquire::GzipIndexes", "false") // parsed here, as text
	set("Acquire::ForceHash", "SHA256")
	set("Acquire::PDiffs", "false")
	return b.String()
}

// run runs apt-get in the root and returns its output. An error holds apt's own error lines.
func (r *aptRoot) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "APT_CONFIG="+filepath.Join(r.dir, "apt.conf"), "DEBIAN_FRONTEND=noninteractive")
	cmd.WaitDelay = 5 * time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("apt-get %s: %w", args[0], aptError(out.String(), errs.String(), err))
	}
	return out.Bytes(), nil
}

// maxAptLines bounds what is shown of apt's reasons.
const maxAptLines = 20

// aptError is what apt printed about its failure: its error lines, then the indented ones, which give the reasons
// (dependencies that nothing meets, the packages that provide a virtual one).
func aptError(out, errs string, err error) error {
	var lines, reasons []string
	for line := range strings.Lines(errs + "\n" + out) {
		text := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(text, "E: "), strings.HasPrefix(text, "Err:"):
			lines = append(lines, text[3:])
		case text != "" && line[0] == ' ' && len(reasons) < maxAptLines:
			reasons = append(reasons, "\n  "+text)
		}
	}
	if len(lines) == 0 {
		lines = []string{strings.TrimSpace(errs), err.Error()}
	}
	return errors.New(strings.Join(lines, "; ") + strings.Join(reasons, ""))
}

// fresh is how long an index is used before it is fetched again. What is not found in it makes it stale at once.
const fresh = 24 * time.Hour

// update fetches the root's index unless there is a recent one. With force it does so once a run in any case. It
// reports whether the index may have changed. The caller holds f.apt's lock.
func (f *Fetcher) update(ctx context.Context, r *aptRoot, force bool) (bool, error) {
	if f.apt.updated[r.dir] {
		return false, nil
	}
	stamp := filepath.Join(r.dir, "updated")
	st, err := os.Stat(stamp)
	if err == nil && !force && time.Since(st.ModTime()) < fresh {
		return false, nil
	}
	if f.Offline {
		if err == nil {
			return false, nil
		}
		return false, ErrOffline
	}
	unlock, err := f.Store.Lock(ctx, "apt-"+filepath.Base(r.dir))
	if err != nil {
		return false, err
	}
	defer unlock()
	if now, err := os.Stat(stamp); err != nil || st != nil && now.ModTime().Equal(st.ModTime()) { // no other process did it
		f.note("apt", r.bases[0], "fetching the package index into "+filepath.Base(r.dir))
		if _, err := r.run(ctx, "update"); err != nil {
			return false, err
		}
		if err := os.WriteFile(stamp, nil, 0o600); err != nil {
			return false, err
		}
		now := time.Now()
		if err := os.Chtimes(stamp, now, now); err != nil {
			return false, err
		}
	}
	if f.apt.updated == nil {
		f.apt.updated = map[string]bool{}
	}
	f.apt.updated[r.dir] = true
	return true, nil
}

package source

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// finish adds what no archive holds and sets the folders' modes.
func (t *tree) finish(o UnpackOptions) error {
	if t.merged {
		if err := t.mergeLinks(); err != nil {
			return err
		}
	}
	if o.Skeleton {
		if err := t.skeleton(); err != nil {
			return err
		}
	}
	for _, link := range slices.Sorted(maps.Keys(o.Alternatives)) {
		if err := t.alternative(link, strings.Fields(o.Alternatives[link])); err != nil {
			return fmt.Errorf("alternative %s: %w", link, err)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(t.modes)) {
		if err := t.root.Chmod(dir, fileMode(t.modes[dir])); err != nil {
			return err
		}
	}
	return nil
}

// mergeLinks makes /bin, /sbin, /lib, and the other /lib* that exist below /usr, links to there.
func (t *tree) mergeLinks() error {
	for _, name := range slices.Sorted(maps.Keys(mergedNames)) {
		_, err := t.root.Stat("usr/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			if len(name) > len("lib") && name != "sbin" {
				continue
			}
			err = t.folder("usr/" + name)
		}
		if err != nil {
			return err
		}
		if err := t.root.Symlink("usr/"+name, name); err != nil {
			return err
		}
	}
	return nil
}

// alternative makes a link to the first of targets that exists.
func (t *tree) alternative(link string, targets []string) error {
	link = strings.TrimPrefix(link, "/")
	if t.merged {
		link = mergedPath(link)
	}
	for _, target := range targets {
		at := path.Join(path.Dir(link), target)
		if path.IsAbs(target) {
			if at = target[1:]; t.merged {
				at = mergedPath(at)
			}
		}
		if _, err := t.root.Lstat(at); err != nil || at == link {
			continue
		}
		if err := t.folder(path.Dir(link)); err != nil {
			return err
		}
		if err := ignoreMissing(t.root.Remove(link)); err != nil {
			return err
		}
		return t.root.Symlink(target, link)
	}
	return nil
}

// skeleton writes the files that Debian's maintainer scripts would, and that programs look for.
func (t *tree) skeleton() error {
	for dir, mode := range map[string]uint32{"dev": 0o755, "etc": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755, "sys": 0o755,
		"tmp": 0o1777, "var/tmp": 0o1777} {
		if err := t.folder(dir); err != nil {
			return err
		}
		t.modes[dir] = mode
	}
	for name, text := range skeletonFiles {
		if err := t.root.RemoveAll(name); err != nil {
			return err
		}
		if err := t.root.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
		if err := t.root.Chmod(name, 0o644); err != nil {
			return err
		}
	}
	return nil
}

var skeletonFiles = map[string]string{
	"etc/passwd":        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nbin:x:2:2:bin:/bin:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	"etc/group":         "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\nnogroup:x:65534:\n",
	"etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
	"etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
	"etc/shells":        "/bin/sh\n/bin/bash\n",
}

// ToolAlternatives are the links that Debian's update-alternatives would make for the tools of a build.
func ToolAlternatives() map[string]string {
	return map[string]string{
		"usr/bin/awk":      "gawk mawk original-awk",
		"usr/bin/nawk":     "gawk mawk original-awk",
		"usr/bin/cc":       "gcc clang",
		"usr/bin/c++":      "g++ clang++",
		"usr/bin/yacc":     "bison.yacc byacc",
		"usr/bin/which":    "which.gnu which.debianutils",
		"usr/bin/pager":    "less more",
		"usr/bin/lzma":     "xz",
		"usr/bin/unlzma":   "unxz",
		"usr/bin/automake": "automake-1.17 automake-1.16",
		"usr/bin/aclocal":  "aclocal-1.17 aclocal-1.16",
	}
}

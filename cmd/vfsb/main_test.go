package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"vfsb/cache"
	"vfsb/cache/cachetest"
	"vfsb/engine/sandbox"
	"vfsb/engine/source"
)

func TestMain(m *testing.M) {
	sandbox.Init() // the test binary is pid 1 of the sandboxes that its scripts start
	testscript.Main(cleaning{m}, map[string]func(){"vfsb": func() { os.Exit(run()) }})
}

// cleaning is all tests, after which what they have shared goes.
type cleaning struct{ *testing.M }

func (c cleaning) Run() int {
	code := c.M.Run()
	if seedDir != "" {
		os.RemoveAll(seedDir)
	}
	return code
}

// seedDir is the folder of the scripts' seed, once it is made.
var seedDir string

// TestScripts runs every script of testdata/script through the real command, each in
// a workspace and a store of its own, with static programs as the seed.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			vfsb, err := exec.LookPath("vfsb") // that of the scripts
			if err != nil {
				return err
			}
			server := &cachetest.Server{Zstd: true}
			server.Worker = cachetest.RunHere(vfsb, "VFSB_STORE="+filepath.Join(env.WorkDir, "worker"), "VFSB_JOBS=2")
			server.Start(t, "grpc")
			env.Values[cacheServer{}] = server
			env.Setenv("CACHE", server.URL)
			other := &cachetest.Server{}
			other.Start(t, "http")
			env.Setenv("OTHER", other.URL)
			return setUpWorkspace(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"cp-tree": copyTreeCommand, "cache": cacheCommand},
	})
}

// TestInit runs every script of testdata/init, where nothing is a workspace before vfsb init makes it one; tiny/ can be
// imported, and has static programs as the seed.
func TestInit(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/init",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			setEnv(env)
			return writeSeed(filepath.Join(env.WorkDir, "tiny"))
		},
	})
}

const testProfile = `
profile "test" {
  home = "build"
  stage "build" {
    root = ["//seed"]
    vars = { prefix = "/usr", host = platform.triplet }
    env  = { CFLAGS = "-O1" }
  }
}
platform "amd64" {
  profile = "test"
  arch    = "amd64"
  libc    = "musl"
  triplet = "x86_64-test-linux-musl"
}
`

// setUpWorkspace adds to the script's files, and to each of its folders that holds
// packages/, the shipped templates, a profile and the seed.
func setUpWorkspace(env *testscript.Env) error {
	folders := []string{"."}
	entries, err := os.ReadDir(env.WorkDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(env.WorkDir, e.Name(), "packages")); err == nil {
			folders = append(folders, e.Name())
		}
	}
	for _, folder := range folders {
		dir := filepath.Join(env.WorkDir, folder)
		if err := copyTree("../../templates", filepath.Join(dir, "templates")); err != nil {
			return err
		}
		if err := errors.Join(writeFile(filepath.Join(dir, "profiles/test/profile.hcl"), testProfile), writeSeed(dir)); err != nil {
			return err
		}
	}
	setEnv(env)
	return nil
}

func setEnv(env *testscript.Env) {
	env.Setenv("VFSB_STORE", filepath.Join(env.WorkDir, "store"))
	env.Setenv("TERM", "dumb")
	env.Setenv("HOME", env.WorkDir)
}

// writeSeed writes a package seed of static programs into the workspace dir.
func writeSeed(dir string) error {
	seed, digest, err := busyboxSeed()
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "packages/seed/package.hcl"),
		fmt.Sprintf("package \"seed\" {\n  seed {\n    image {\n      ref    = %q\n      digest = %q\n    }\n  }\n}\n", seed, digest))
}

func writeFile(path, text string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644))
}

// busyboxSeed is a rootfs tarball of Debian's static bash and busybox, made once for all scripts.
var busyboxSeed = func() func() (path, digest string, err error) {
	type seed struct{ path, digest string }
	once := sync.OnceValues(func() (seed, error) {
		dir, err := os.MkdirTemp("", "vfsb-seed-")
		if err != nil {
			return seed{}, err
		}
		seedDir = dir
		path := filepath.Join(dir, "seed.tar")
		digest, err := makeBusyboxSeed(dir, path)
		return seed{path, digest}, err
	})
	return func() (string, string, error) {
		s, err := once()
		return s.path, s.digest, err
	}
}()

func makeBusyboxSeed(dir, path string) (digest string, err error) {
	store, err := cache.Open(filepath.Join(dir, "store"))
	if err != nil {
		return "", err
	}
	defer store.Close()
	lock, err := source.OpenLock(filepath.Join(dir, "lock.json"))
	if err != nil {
		return "", err
	}
	f := &source.Fetcher{Store: store, Lock: lock}
	ctx := context.Background()
	seed := source.AptSeed{ID: "busybox", Pos: "main_test.go:1", Suite: "bookworm", Packages: []string{"bash-static", "busybox-static"}}
	debs, err := f.ResolveApt(ctx, seed)
	if err != nil {
		return "", err
	}
	var files []*os.File
	for _, d := range debs {
		if err := f.FetchDeb(ctx, seed, d); err != nil {
			return "", err
		}
		blob, err := d.Digest()
		if err != nil {
			return "", err
		}
		file, err := store.OpenBlob(blob)
		if err != nil {
			return "", err
		}
		defer file.Close()
		files = append(files, file)
	}
	root := filepath.Join(dir, "root")
	if err := errors.Join(os.Mkdir(root, 0o755), source.UnpackDebs(root, files, source.UnpackOptions{Skeleton: true})); err != nil {
		return "", err
	}
	for _, applet := range strings.Fields("ash awk basename cat chmod cp cut dirname echo env expr find grep head ln ls mkdir mktemp mv od printf pwd readlink rm rmdir sed seq sh sleep sort stat tail tar tee test touch tr true uname wc xargs id hostname false dd diff stty") {
		if err := os.Symlink("busybox", filepath.Join(root, "usr/bin", applet)); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	if err := os.Symlink("bash-static", filepath.Join(root, "usr/bin/bash")); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/patch"), []byte(patchWrapper), 0o755); err != nil {
		return "", err
	}
	return tarTree(root, path)
}

// patchWrapper runs busybox's patch, which knows no long options. The shipped packages' tests have GNU's.
const patchWrapper = `#!/bin/bash
args=()
for arg; do
  case $arg in
    --batch) ;;
    --forward) args+=(-N) ;;
    --input=*) args+=(-i "${arg#*=}") ;;
    *) args+=("$arg") ;;
  esac
done
exec busybox patch -E "${args[@]}" # GNU removes what /dev/null takes the place of
`

// tarTree writes the tree as a tar of root's files and returns its digest.
func tarTree(root, path string) (digest string, err error) {
	if out, err := exec.Command("tar", "--owner=0", "--group=0", "--numeric-owner", "-C", root, "-cf", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("tar: %w: %s", err, out)
	}
	b, err := os.ReadFile(path)
	return fmt.Sprintf("sha256:%x", sha256.Sum256(b)), err
}

func copyTree(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(from))
}

// cacheServer is the name of a script's cache among its values.
type cacheServer struct{}

// cache corrupt|forget|down|up has the script's cache server give wrong bytes, lose its layers, fail, or work again.
func cacheCommand(ts *testscript.TestScript, neg bool, args []string) {
	server := ts.Value(cacheServer{}).(*cachetest.Server)
	what := strings.Join(args, " ")
	switch what {
	case "corrupt":
		server.Corrupt(1024)
	case "forget":
		server.Forget(1024)
	case "be forgetful":
		server.Forgetful.Store(true)
	case "down":
		server.Down.Store(true)
	case "up":
		server.Down.Store(false)
	case "one write":
		if n := server.Calls("Write"); n != 1 {
			ts.Fatalf("%d large blobs were written, want 1", n)
		}
	default:
		ts.Fatalf("cache %s: there are corrupt, forget, be forgetful, down, up and one write", what)
	}
}

// cp-tree FROM TO copies a folder.
func copyTreeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cp-tree FROM TO")
	}
	ts.Check(copyTree(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

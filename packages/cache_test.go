package packages

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lonely is what a test finds in its environment when it was started again in namespaces of its own: the command under
// test, and a store with what is to be shared.
const lonely = "VFSB_TEST_LONELY"

// aLibrary is what the tests of caches share: with the seed three real nodes.
var aLibrary = []string{"//zlib:amd64-seed", "//bzip2:amd64-seed"}

// remoteWorker is where Debian keeps the source of Bazel's RemoteWorker, and the classes that it needs.
const (
	remoteWorkerSource = "/usr/src/bazel-bootstrap/src/tools/remote/src/main/java"
	remoteWorkerJar    = "/usr/share/bazel/A-server.jar"
)

// TestRealCaches shares real packages through real servers. It runs in a network namespace in which there is nothing but
// the server: no way to a source, and no way for others to the server, which listens to everyone.
func TestRealCaches(t *testing.T) {
	for _, file := range []string{"/usr/sbin/nginx", remoteWorkerSource, remoteWorkerJar} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("%v: install nginx-extras, bazel-bootstrap and bazel-bootstrap-source", err)
		}
	}
	if os.Getenv(lonely) == "" {
		build(t, store, copyWorkspace(t), aLibrary...)
		alone(t)
		return
	}
	loopbackUp(t)
	classes := t.TempDir()
	for _, c := range []struct {
		name  string
		start func(t *testing.T, config string) *server
	}{
		{"nginx", startNginx},
		{"RemoteWorker", func(t *testing.T, _ string) *server { return startRemoteWorker(t, classes) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.start(t, "")
			push(t, s)
			t.Run("shared", func(t *testing.T) {
				b := newMachine(t)
				list := b.build(t, s, aLibrary...)
				if got := executed(list); got != "" {
					t.Errorf("executed %s, which the cache has", got)
				}
				b.same(t, list)
				if b.seeds() > 0 {
					t.Error("the seed's layer was pulled, which nothing needs")
				}
			})
			t.Run("rebuilt from its sources", func(t *testing.T) { // all of them come from the cache
				b := newMachine(t)
				list := b.build(t, s, "--force", aLibrary[0])
				if got := executed(list); got != "//zlib@seed:amd64-seed" {
					t.Errorf("executed %s, want zlib alone", got)
				}
				b.same(t, list)
			})
			t.Run("killed in the middle", func(t *testing.T) {
				s := c.start(t, "limit_rate 16m;") // which makes sure that it is the middle; RemoteWorker has no such thing
				push(t, s)
				b := newMachine(t).withSources(t)
				go func() {
					for b.importing() == 0 {
						time.Sleep(time.Millisecond)
					}
					s.signal(unix.SIGKILL)
				}()
				list := b.build(t, s, "--pull", "all", "--force", aLibrary[0])
				b.same(t, list)
				if got := executed(list); c.name == "nginx" && !strings.Contains(got, "//seed@") {
					t.Errorf("executed %s, want the seed, too:\n%s", got, b.said)
				}
			})
		})
	}
	t.Run("stopped", func(t *testing.T) {
		s := startNginx(t, "")
		push(t, s)
		b := newMachine(t).withSources(t)
		b.build(t, s, "//seed:amd64-seed") // to unpack it again takes long
		s.signal(unix.SIGSTOP)
		b.same(t, b.build(t, s, aLibrary[0]))
		if strings.Count(b.said, "going on without it") != 1 {
			t.Errorf("it does not say once that it goes on without the cache:\n%s", b.said)
		}
	})
	t.Run("slow", func(t *testing.T) {
		s := startNginx(t, "limit_rate 40k;")
		push(t, s)
		b := newMachine(t).withSources(t)
		list := b.build(t, s, "--force", aLibrary[0]) // zlib needs the seed, whose layer comes too slowly
		b.same(t, list)
		if got := executed(list); !strings.Contains(got, "//seed@seed:amd64-seed") {
			t.Errorf("executed %s, want the seed, too:\n%s", got, b.said)
		}
	})
	t.Run("wrong bytes", func(t *testing.T) {
		s := startNginx(t, "")
		push(t, s)
		b := newMachine(t).withSources(t)
		b.build(t, s, "//seed:amd64-seed")
		s.corrupt(t)
		b.same(t, b.build(t, s, aLibrary[0]))
		if !strings.Contains(b.said, "not what its digest says") {
			t.Errorf("nothing is said of wrong bytes:\n%s", b.said)
		}
	})
	t.Run("full", func(t *testing.T) {
		for _, start := range []func(t *testing.T) *server{
			func(t *testing.T) *server { return startNginx(t, "full") },
			func(t *testing.T) *server { return startRemoteWorker(t, classes, "full") },
		} {
			s := start(t)
			a := &machine{ws: copyWorkspace(t), store: shared()}
			a.same(t, a.build(t, s, "--cache-mode", "read-write", "--force", aLibrary[0]))
			if !strings.Contains(a.said, "not pushed: ") {
				t.Errorf("it does not say that nothing was pushed:\n%s", a.said)
			}
		}
	})
}

// alone runs the test again in a network namespace of its own, and a mount namespace.
func alone(t *testing.T) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=20m")
	cmd.Env = append(os.Environ(), lonely+"="+vfsb+" "+store)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// shared is the store whose results are shared.
func shared() string {
	_, store, _ := strings.Cut(os.Getenv(lonely), " ")
	return store
}

func loopbackUp(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo)
	}
	if err == nil {
		lo.SetUint16(lo.Uint16() | unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A server is a real one, started for one test.
type server struct {
	url  string
	data string // the folder with the blobs
	cmd  *exec.Cmd
}

// start runs the server, in a group of processes of its own, until the test ends, and waits until it listens at port.
func (s *server) start(t *testing.T, port int, name string, args ...string) {
	t.Helper()
	s.cmd = exec.Command(name, args...)
	var out strings.Builder
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.signal(unix.SIGKILL)
		s.cmd.Wait()
	})
	for range 600 {
		c, err := net.Dial("tcp", fmt.Sprintf("localhost:%d", port))
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s does not listen:\n%s", name, out.String())
}

// signal reaches all of the server's processes.
func (s *server) signal(sig syscall.Signal) { unix.Kill(-s.cmd.Process.Pid, sig) }

// freePort is one that nobody listens at: the namespace is the test's alone.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// newData is a folder for blobs, with room for 256 KiB if it is to be full.
func newData(t *testing.T, full bool) string {
	t.Helper()
	dir := t.TempDir()
	if full {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=0777"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	}
	return dir
}

func startNginx(t *testing.T, config string) *server {
	t.Helper()
	port, dir := freePort(t), t.TempDir()
	full := config == "full"
	if full {
		config = ""
	}
	s := &server{url: fmt.Sprintf("http://localhost:%d", port), data: newData(t, full)}
	user := "user root;"
	if os.Getuid() != 0 {
		user = ""
	}
	text := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/errors; %[2]s
events {}
http {
  access_log off; client_body_temp_path %[3]s/body; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen 127.0.0.1:%[4]d;
    root %[3]s/data;
    client_max_body_size 0;
    location / { dav_methods PUT; create_full_put_path on; %[5]s }
  }
}
`, dir, user, s.data, port, config)
	write(t, filepath.Join(dir, "nginx.conf"), text)
	s.start(t, port, "/usr/sbin/nginx", "-e", filepath.Join(dir, "errors"), "-c", filepath.Join(dir, "nginx.conf"))
	return s
}

// startRemoteWorker starts Bazel's RemoteWorker, compiled once into the folder classes.
func startRemoteWorker(t *testing.T, classes string, full ...string) *server {
	t.Helper()
	if entries, _ := os.ReadDir(classes); len(entries) == 0 {
		args := []string{"-nowarn", "-proc:none", "-cp", remoteWorkerJar, "-d", classes}
		filepath.WalkDir(remoteWorkerSource, func(path string, _ fs.DirEntry, _ error) error {
			if strings.HasSuffix(path, ".java") {
				args = append(args, path)
			}
			return nil
		})
		if out, err := exec.Command("javac", args...).CombinedOutput(); err != nil {
			t.Fatalf("javac: %v\n%s", err, out)
		}
	}
	port := freePort(t)
	s := &server{url: fmt.Sprintf("grpc://localhost:%d", port), data: newData(t, len(full) > 0)}
	s.runRemoteWorker(t, classes, port)
	return s
}

// runRemoteWorker starts it, or starts it again with the data that it has.
func (s *server) runRemoteWorker(t *testing.T, classes string, port int) {
	t.Helper()
	cas := filepath.Join(s.data, "cas")
	if err := os.MkdirAll(cas, 0o755); err != nil {
		t.Fatal(err)
	}
	s.start(t, port, "java", "-Xmx1g", "-cp", classes+":"+remoteWorkerJar, "com.google.devtools.build.remote.worker.RemoteWorker",
		fmt.Sprintf("--listen_port=%d", port), "--cas_path="+cas, "--work_path="+t.TempDir(), "--jobs=2")
}

// corrupt changes a byte of every large blob.
func (s *server) corrupt(t *testing.T) {
	t.Helper()
	count := 0
	filepath.WalkDir(s.data, func(path string, d fs.DirEntry, _ error) error {
		info, err := d.Info()
		if err != nil || !d.Type().IsRegular() || info.Size() < 10_000 {
			return nil
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, info.Size()/2); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := f.WriteAt(b, info.Size()/2); err != nil {
			t.Fatal(err)
		}
		count++
		return nil
	})
	if count < 3 {
		t.Fatalf("there are %d large blobs, want more", count)
	}
}

// push pushes what the shared store has.
func push(t *testing.T, s *server) {
	t.Helper()
	args := []string{"--store", shared(), "-C", "..", "--cache", s.url, "--cache-mode", "read-write", "cache", "push"}
	out, err := exec.Command(vfsb, append(args, aLibrary...)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "3 pushed") {
		t.Fatalf("push: %v\n%s", err, out)
	}
}

// A machine has a store and a workspace of its own, and if the test is root's, a user of its own.
type machine struct {
	ws, store string
	mirror    string // a folder with all sources; "": they are out of reach
	user      *syscall.SysProcAttr
	exec      bool   // the server is a cluster
	said      string // by the last build
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{ws: copyWorkspace(t), store: filepath.Join(t.TempDir(), "store")}
	if os.Getuid() != 0 {
		return m
	}
	m.user = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for _, dir := range []string{m.ws, filepath.Dir(m.store)} {
		m.give(t, dir)
	}
	openPath(filepath.Dir(vfsb))
	return m
}

// give makes the folder the machine's user's, and returns it.
func (m *machine) give(t *testing.T, dir string) string {
	t.Helper()
	if m.user != nil {
		openPath(dir)
		filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error { return os.Lchown(path, 65534, 65534) })
	}
	return dir
}

// openPath lets everyone enter the folder, which is the test's.
func openPath(dir string) {
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
}

// withSources gives the machine every source that the shared store has, in a mirror.
func (m *machine) withSources(t *testing.T) *machine {
	t.Helper()
	m.mirror = t.TempDir()
	openPath(m.mirror)
	blobs, _ := filepath.Glob(filepath.Join(shared(), "blobs/*/*"))
	for _, b := range blobs {
		if err := os.Link(b, filepath.Join(m.mirror, filepath.Base(b))); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// build builds with the server as its cache, and returns the events of finished nodes.
func (m *machine) build(t *testing.T, s *server, args ...string) []event {
	t.Helper()
	global := []string{"--store", m.store, "-C", m.ws, "--cache", s.url}
	if m.mirror != "" {
		global = append(global, "--mirror", m.mirror)
	}
	verb := []string{"build", "--json"}
	if m.exec {
		global[5], verb = "none", append(verb, "--exec", s.url)
	}
	cmd := exec.Command(vfsb, slices.Concat(global, verb, args)...)
	cmd.Env = append(os.Environ(), "HOME="+m.ws)
	cmd.SysProcAttr = m.user
	list, said := events(t, cmd)
	m.said = said
	return list
}

// same checks that the layers of the nodes are what the shared store has.
func (m *machine) same(t *testing.T, list []event) {
	t.Helper()
	if len(list) == 0 {
		t.Error("no node was built")
	}
	for _, ev := range list {
		hash, _, _ := strings.Cut(ev.Layer, "/")
		if _, err := os.Stat(filepath.Join(shared(), "layers", hash)); err != nil {
			t.Errorf("%s is not the layer that was shared: %v", ev.Label, err)
		}
		mine := filepath.Join(m.store, "layers", hash)
		if _, err := os.Stat(mine); err != nil {
			continue // not needed
		}
		if out, err := exec.Command("diff", "-r", "--no-dereference", mine, filepath.Join(shared(), "layers", hash)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", ev.Label, err, out)
		}
	}
}

// seeds is how many layers of more than 100 MB there are.
func (m *machine) seeds() int {
	found, _ := filepath.Glob(filepath.Join(m.store, "layers/*/tree/usr/bin/gcc"))
	return len(found)
}

// importing is how many files of layers are there of which the rest is still to come.
func (m *machine) importing() int {
	found, _ := filepath.Glob(filepath.Join(m.store, "run/*/*-import/usr/*"))
	return len(found)
}

package cache

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// CollectOptions say what Collect removes besides what nothing names, and what it keeps in any case.
type CollectOptions struct {
	MaxSize int64     // bytes on disk that the store may hold: what was not used for longest goes first; 0: no bound
	Before  time.Time // what was last used before goes; zero: no bound
	Keep    []Keep
	DryRun  bool // remove nothing
}

// A Keep is what stays, and why.
type Keep struct {
	Reason string
	Layers []Layer
	Blobs  []Digest
}

// A Collection is what Collect removed, or would remove, in that order, and what it kept.
type Collection struct {
	Removed, Kept []Item
	Rest          int64 // bytes on disk of what Collect never removes: journals, and what others keep in the store's folder
}

// An Item is a layer, a blob or the folder of a failed run.
type Item struct {
	Kind   string // "layer", "blob" or "failed run"
	Name   string // path below the store's folder
	Label  string // layers: a node whose output it is, if that is known; failed runs: the node
	Size   int64  // bytes on disk
	Used   time.Time
	Reason string // why it was removed or kept
}

const failedRun = "failed run"

// Reasons of items.
const (
	Unnamed  = "named by nothing"
	Aged     = "not used for long"
	Oversize = "beyond the size, and used before the others"
	InUse    = "in use by a running build or shell"
	LogOfRun = "logs of the last runs"
	ForShell = "for vfsb shell --failed"
	Recent   = "used more recently than what goes"
	Named    = "named by a result, a build or the history"
)

// Collect removes from the store what nothing names any more (no result, no record of the history, no use), and within
// the bounds of o what was not used for longest. Any number of processes may build meanwhile: what they have pinned
// stays. It may be killed at any time: what it removes goes out of the way first, by one rename each. Results stay known
// when their layers go.
func (s *Store) Collect(ctx context.Context, o CollectOptions) (*Collection, error) {
	c, err := s.collect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", s.dir, err)
	}
	return c, nil
}

func (s *Store) collect(ctx context.Context, o CollectOptions) (*Collection, error) {
	one, err := s.lockInternal("collector", unix.LOCK_EX) // two at once would each free the whole excess
	if err != nil {
		return nil, err
	}
	defer one.Close()
	if !o.DryRun {
		// Where there is no room for another copy they stay as they are: what goes makes room.
		for _, err := range []error{s.results.rewrite(1, 1), s.history.rewrite(boundHistory, 1)} {
			if err != nil && !NoRoom(err) {
				return nil, err
			}
		}
	}
	c := &collector{store: s, CollectOptions: o, last: map[string]time.Time{}, labels: map[string]string{}, reasons: map[string]string{}}
	if err := c.survey(ctx); err != nil {
		return nil, err
	}
	if o.DryRun {
		return &c.Collection, c.settle("")
	}
	trash, err := s.trash()
	if err != nil {
		return nil, err
	}
	if err := c.settle(trash); err != nil {
		return nil, errors.Join(err, c.empty(trash))
	}
	return &c.Collection, errors.Join(c.empty(trash), c.forget(), s.discardShipped(), s.syncFS())
}

// trash returns how the paths begin to which what is collected is moved: a folder of this process, or where there is no
// room for one, what a dead process would have left.
func (s *Store) trash() (string, error) {
	dir, err := s.temp("collected")
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if NoRoom(err) {
		return filepath.Join(s.dir, "run", deadPrefix+rand.Text()+"-"), nil
	}
	return dir + "/", err
}

// empty removes what was moved to the trash.
func (c *collector) empty(trash string) error {
	var failures []error
	for i := range c.Removed {
		failures = append(failures, Remove(trash+strconv.Itoa(i)))
	}
	return errors.Join(append(failures, Remove(trash))...)
}

// A collector is one run of Collect.
type collector struct {
	Collection
	CollectOptions
	store *Store
	items []Item

	last    map[string]time.Time // by name: the last use that something tells of
	labels  map[string]string    // of layers, by name
	reasons map[string]string    // why a name is kept
}

// survey lists what there is, with its size: before anything is asked about it, so that what comes meanwhile is no item.
func (c *collector) survey(ctx context.Context) error {
	dir := c.store.dir
	for _, kind := range []struct{ name, glob string }{{failedRun, "failed/*"}, {"layer", "layers/*"}, {"blob", "blobs/??/*"}} {
		for _, name := range c.store.glob(kind.glob) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			path := filepath.Join(dir, name)
			fi, err := os.Lstat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			it := Item{Kind: kind.name, Name: name, Used: fi.ModTime(), Size: diskUsage(path)}
			if kind.name == failedRun {
				it.Label, _ = url.PathUnescape(filepath.Base(path)) // fileName's escapes are URLs'
			}
			c.items = append(c.items, it)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name() {
		case "failed", "layers", "blobs", "run": // what runs is the builds' own
		default:
			c.Rest += diskUsage(filepath.Join(dir, e.Name()))
		}
	}
	return nil
}

// diskUsage is the bytes on disk of path and all below it, as far as they can be read.
func diskUsage(path string) (total int64) {
	seen := map[inode]bool{} // files with several names
	filepath.WalkDir(path, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil {
			return nil
		}
		if i := (inode{uint64(st.Dev), st.Ino}); st.Nlink > 1 && st.Mode&unix.S_IFMT == unix.S_IFREG {
			if seen[i] {
				return nil
			}
			seen[i] = true
		}
		total += st.Blocks * 512
		if err != nil { // a folder that cannot be read
			return fs.SkipDir
		}
		return nil
	})
	return total
}

// settle decides on every item, and moves what goes to paths that begin with trash. Nobody can pin meanwhile: a process that
// needs something has pinned it before, or looks for it afterwards.
func (c *collector) settle(trash string) error {
	l, err := c.store.lockInternal("collect", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer l.Close()
	// The pins come first: who gives up its pins after this has named what it put before, and that is read next.
	pinned, err := c.store.pins()
	if err != nil {
		return err
	}
	if err := c.readNames(); err != nil {
		return err
	}
	total := c.Rest
	for i := range c.items {
		it := &c.items[i]
		total += it.Size
		it.Label = cmp.Or(it.Label, c.labels[it.Name])
		if t := c.last[it.Name]; t.After(it.Used) {
			it.Used = t
		}
	}
	// A failed run's folder comes before the layers that it needs, whose last use is no earlier.
	slices.SortStableFunc(c.items, func(a, b Item) int { return a.Used.Compare(b.Used) })
	var open []Item // what the bounds decide on
	for _, it := range c.items {
		switch it.Reason = c.settled(it, pinned); it.Reason {
		case "":
			open = append(open, it)
		case Unnamed:
			total -= it.Size
			c.Removed = append(c.Removed, it)
		default:
			c.Kept = append(c.Kept, it)
		}
	}
	for _, it := range open {
		switch {
		case it.Used.Before(c.Before):
			it.Reason = Aged
		case c.MaxSize > 0 && total > c.MaxSize:
			it.Reason = Oversize
		default:
			switch {
			case it.Kind == failedRun:
				it.Reason = ForShell
			case c.MaxSize > 0 || !c.Before.IsZero():
				it.Reason = Recent
			default:
				it.Reason = Named
			}
			c.Kept = append(c.Kept, it)
			continue
		}
		total -= it.Size
		c.Removed = append(c.Removed, it)
	}
	if c.DryRun {
		return nil
	}
	for i, it := range c.Removed {
		err := os.Rename(filepath.Join(c.store.dir, it.Name), trash+strconv.Itoa(i))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// settled is the reason for which an item is kept or removed whatever the bounds are, or "".
func (c *collector) settled(it Item, pinned map[string]bool) string {
	_, named := c.last[it.Name]
	switch {
	case pinned[it.Name]:
		return InUse
	case c.reasons[it.Name] != "":
		return c.reasons[it.Name]
	case !named && it.Kind != failedRun:
		return Unnamed
	}
	return ""
}

// readNames reads who names what, and when it was used last.
func (c *collector) readNames() error {
	c.readResults()
	if err := c.readHistory(); err != nil {
		return err
	}
	for _, glob := range []string{"used/*", "failed/*/" + pinsFile} {
		for _, name := range c.store.glob(glob) {
			path := filepath.Join(c.store.dir, name)
			fi, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) { // its node has just been built
				continue
			}
			if err != nil {
				return err
			}
			list, err := readNames(path)
			if err != nil {
				return err
			}
			c.note(fi.ModTime(), list...)
		}
	}
	for _, k := range c.Keep {
		for _, n := range names(k.Layers, k.Blobs) {
			c.reasons[n] = k.Reason
		}
	}
	return nil
}

// note takes down that names were used at a time.
func (c *collector) note(used time.Time, names ...string) {
	for _, n := range names {
		if t, ok := c.last[n]; !ok || used.After(t) {
			c.last[n] = used
		}
	}
}

func (c *collector) readResults() {
	c.store.known.refresh(&c.store.results)
	newest := map[string]time.Time{}
	for r := range c.store.allResults() {
		layer := layerName(r.Layer.Tar)
		c.note(r.Time, layer, blobName(r.Log))
		if t, ok := newest[layer]; !ok || r.Time.After(t) {
			newest[layer], c.labels[layer] = r.Time, r.Label
		}
	}
}

// readHistory takes down what the records name: layers, logs, and whatever went into a key.
func (c *collector) readHistory() error {
	data, err := os.ReadFile(c.store.history.path())
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	lines(data, func(line []byte, _ int) {
		r, err := parseRecord(string(line))
		if err != nil {
			return
		}
		log := blobName(r.Log)
		c.reasons[log] = LogOfRun
		c.note(r.Time, log, layerName(r.Layer.Tar))
		for _, f := range r.Fields {
			if d, err := ParseDigest(f.Value); err == nil {
				c.note(r.Time, layerName(d), blobName(d))
			}
		}
	})
	return nil
}

// forget removes the notes of uses that name nothing that is there. Nobody can note a use meanwhile.
func (c *collector) forget() error {
	l, err := c.store.lockInternal("collect", unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer l.Close()
	there := func(name string) bool {
		_, err := os.Lstat(filepath.Join(c.store.dir, name))
		return err == nil
	}
	for _, name := range c.store.glob("used/*") {
		path := filepath.Join(c.store.dir, name)
		list, err := readNames(path)
		if err == nil && !slices.ContainsFunc(list, there) {
			err = ignore(os.Remove(path), fs.ErrNotExist)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

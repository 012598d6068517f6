package engine

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vfsb/cache"
	"vfsb/engine/load"
)

// A Past is what an earlier build of the same labels from the same files came to.
//
// There is no daemon, and to read and analyze a thousand packages takes a tenth of a second, a hundred thousand half a
// minute. So a build notes in the store, under a name made of the stat of all files, which key and layer each node has.
// If the store still says the same of each, there is nothing to do. It is a short cut for that one case: nothing is ever
// built from what it says, and whatever does not fit leads to the long way.
type Past struct {
	store      *cache.Store
	root, name string
}

// NewPast returns the past of the patterns in the workspace at root, which is made of the folders; nil if it cannot be
// known whether the files are the same.
func NewPast(store *cache.Store, exec load.Exec, root string, folders []load.Folder, patterns []string) *Past {
	var program syscall.Stat_t
	stamp := load.Stamp(folders)
	if stamp == "" || syscall.Stat("/proc/self/exe", &program) != nil {
		return nil
	}
	name := fmt.Sprintf("%d %d %d %v %v %v %q %q %s", program.Dev, program.Ino, program.Size, program.Mtim, program.Ctim, exec, root, patterns, stamp)
	return &Past{store, root, name}
}

// A fate is what became of one node, as a line of a memo says it.
type fate struct {
	label string
	key   cache.Digest // zero: a group
	layer cache.Layer
	check cache.Digest // the key of the guard's check; zero: none
	root  bool         // it is one of what was asked for, groups replaced by their members
	file  string       // what a root is delivered as; "": it is not
}

// remember notes what the build came to.
func (x *execution) remember() error {
	if x.Past == nil {
		return nil
	}
	roots := map[int32]bool{}
	for _, id := range x.members() {
		roots[id] = true
	}
	b := fmt.Appendf(nil, "%q\n", x.useName())
	for _, id := range x.graph.order() {
		n, st := x.graph.Nodes[id], &x.nodes[id]
		f := fate{label: n.Label}
		if n.Step != nil {
			f.key, f.layer, f.root, f.file = st.key, st.result.Layer, roots[id], artifactFile(n)
			if n.Step.Guard != nil {
				f.check = x.checkKey(id)
			}
		}
		b = fmt.Appendf(b, "%s %s %s %s %s %t %s\n", f.label, f.key, f.layer.Tar, f.layer.Index, f.check, f.root, f.file)
	}
	return x.Store.PutMemo(x.Past.name, b)
}

// readFates reads what remember has noted.
func readFates(memo string) (use string, fates []fate, err error) {
	first, rest, _ := strings.Cut(memo, "\n")
	if use, err = strconv.Unquote(first); err != nil {
		return "", nil, err
	}
	fates = make([]fate, 0, strings.Count(rest, "\n"))
	for line := range strings.Lines(rest) {
		line = strings.TrimSuffix(line, "\n")
		word := func() (w string) {
			w, line, _ = strings.Cut(line, " ")
			return w
		}
		digest := func() cache.Digest {
			d, parseErr := cache.ParseDigest(word())
			err = errors.Join(err, parseErr)
			return d
		}
		fates = append(fates, fate{
			label: word(), key: digest(), layer: cache.Layer{Tar: digest(), Index: digest()}, check: digest(),
			root: word() == "true", file: word(),
		})
	}
	return use, fates, err
}

// Recall returns what the build comes to if there is nothing to do, after its events. It returns nil if there may be
// something.
func (p *Past) Recall(o Options) (*Summary, error) {
	if p == nil {
		return nil, nil
	}
	memo, ok := p.store.Memo(p.name)
	if !ok {
		return nil, nil
	}
	use, fates, err := readFates(string(memo))
	if err != nil {
		return nil, nil
	}
	if o.Out == "" {
		o.Out = filepath.Join(p.root, "out")
	}
	x := &execution{Engine: &Engine{Store: p.store}, Options: o, begun: time.Now()}
	x.summary.Count = map[Status]int{}
	stamps := readStamps(o.Out)
	for i := range fates {
		if !x.stands(&fates[i], stamps) {
			return nil, nil
		}
	}
	if known, err := p.store.UsedAgain(use); !known {
		return nil, err
	}
	x.emit(Event{Event: EventStarted, Total: int64(len(fates))})
	for i := range fates {
		f := &fates[i]
		if f.key == (cache.Digest{}) {
			x.emit(Event{Event: EventFinished, Label: f.label, Status: Grouped})
			continue
		}
		x.emit(Event{Event: EventFinished, Label: f.label, Status: Cached, Key: f.key.String(), Layer: f.layer.Tar.String()})
	}
	for i := range fates {
		if f := &fates[i]; f.root {
			x.summary.Roots = append(x.summary.Roots, RootResult{Label: f.label, Layer: f.layer, Dir: p.store.LayerDir(f.layer)})
			if f.file != "" {
				x.delivered(f.label, filepath.Join(o.Out, f.file), stamps[f.file].Size)
			}
		}
	}
	x.summary.Wall = time.Since(x.begun)
	x.emit(Event{Event: EventEnded, Seconds: x.summary.Wall.Seconds()})
	return &x.summary, nil
}

// stands reports whether the store and the output folder still hold what became of the node.
func (x *execution) stands(f *fate, stamps map[string]stamp) bool {
	if f.key == (cache.Digest{}) {
		return true
	}
	result, ok := x.Store.Result(f.key)
	if !ok || result.Layer != f.layer || f.check != (cache.Digest{}) && !x.Store.Checked(f.check) {
		return false
	}
	switch {
	case !f.root:
		return true
	case f.file == "":
		return x.Store.HasLayer(f.layer)
	}
	return stamps[f.file].matches(filepath.Join(x.Out, f.file), f.layer.Tar)
}

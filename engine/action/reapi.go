package action

import (
	"maps"
	"math"
	"path"
	"sort"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"vfsb/cache"
)

// Messages is an action in the words of the Remote Execution API v2: the encoded
// messages, and every small blob that its input root names. Layers and sources are
// named by digest only. Encoding is canonical: fields in order, names sorted.
// https://github.com/bazelbuild/remote-apis/blob/main/build/bazel/remote/execution/v2/remote_execution.proto
type Messages struct {
	Action, Command []byte
	Directories     [][]byte
	Spec, Script    []byte
}

// Key is the digest of the REAPI Action message.
func (a *Action) Key() cache.Digest { return cache.DigestOf(a.Messages().Action) }

// Messages encodes the action.
func (a *Action) Messages() Messages { return a.MessagesFor(nil, 0) }

// MessagesFor encodes the action for a server that wants to know more: properties of the worker's platform, besides those
// that every action asks for, and how long the command may take, 0: as long as the server lets it. With either, the digest
// of the Action message is not the key.
func (a *Action) MessagesFor(properties map[string]string, timeout time.Duration) Messages {
	m := Messages{Spec: a.Spec(), Script: a.Script}

	layers := map[string]cache.Digest{}
	for _, l := range a.Layers() {
		layers[l.Tar.Hex()+".tar"] = l.Tar
	}
	files := map[string]cache.Digest{}
	for _, f := range a.Files {
		files[f.Digest.Hex()] = f.Digest
	}
	root := directory{files: map[string]cache.Digest{"spec": cache.DigestOf(m.Spec)}, folders: map[string]cache.Digest{}}
	if a.Script != nil {
		root.files["script"] = cache.DigestOf(a.Script)
	}
	for name, content := range map[string]map[string]cache.Digest{"layers": layers, "files": files} {
		if len(content) == 0 {
			continue
		}
		encoded := directory{files: content}.encode()
		m.Directories = append(m.Directories, encoded)
		root.folders[name] = cache.DigestOf(encoded)
	}
	sort.Slice(m.Directories, func(i, j int) bool { return string(m.Directories[i]) < string(m.Directories[j]) })
	rootEncoded := root.encode()
	m.Directories = append(m.Directories, rootEncoded)

	platform := a.platform(properties)
	for _, arg := range []string{"vfsb", "run-action"} {
		m.Command = appendString(m.Command, 1, arg)
	}
	// Some workers look for the command in the PATH that it brings, and in no other.
	m.Command = appendBytes(m.Command, 2, property("PATH", "/usr/local/bin:/usr/bin:/bin"))
	// Servers of API 2.0 read output_files, later ones output_paths, and the
	// platform from the command or from the action: both are filled in.
	for _, out := range []string{cache.IndexFile, cache.TarFile} {
		m.Command = appendString(m.Command, 3, out)
	}
	m.Command = appendBytes(m.Command, 5, platform)
	for _, out := range []string{cache.IndexFile, cache.TarFile} {
		m.Command = appendString(m.Command, 7, out)
	}

	m.Action = appendBytes(m.Action, 1, digest(cache.DigestOf(m.Command)))
	m.Action = appendBytes(m.Action, 2, digest(cache.DigestOf(rootEncoded)))
	if timeout > 0 {
		var d []byte
		d = protowire.AppendTag(d, 1, protowire.VarintType)
		d = protowire.AppendVarint(d, uint64(math.Ceil(timeout.Seconds())))
		m.Action = appendBytes(m.Action, 6, d)
	}
	m.Action = appendBytes(m.Action, 10, platform)
	return m
}

// platform is the Platform message: what a worker must be, in the names of the
// Remote Execution API's platform lexicon.
func (a *Action) platform(further map[string]string) []byte {
	isa := map[string]string{"amd64": "x86-64", "arm64": "arm-a64"}[a.Exec]
	if isa == "" {
		isa = a.Exec
	}
	all := map[string]string{"ISA": isa, "OSFamily": "linux"}
	maps.Copy(all, further)
	var b []byte
	for _, name := range sortedKeys(all) {
		b = appendBytes(b, 1, property(name, all[name]))
	}
	return b
}

// property is a Platform.Property or a Command.EnvironmentVariable: both hold name and value.
func property(name, value string) []byte {
	return appendString(appendString(nil, 1, name), 2, value)
}

// A directory is a REAPI Directory of plain files and folders.
type directory struct {
	files, folders map[string]cache.Digest
}

func (d directory) encode() []byte {
	var b []byte
	for _, name := range sortedKeys(d.files) {
		b = appendBytes(b, 1, node(name, d.files[name]))
	}
	for _, name := range sortedKeys(d.folders) {
		b = appendBytes(b, 2, node(name, d.folders[name]))
	}
	return b
}

// node is a FileNode or a DirectoryNode: both begin with name and digest.
func node(name string, d cache.Digest) []byte {
	return appendBytes(appendString(nil, 1, path.Base(name)), 2, digest(d))
}

func digest(d cache.Digest) []byte {
	b := appendString(nil, 1, d.Hex())
	if d.Size != 0 {
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(d.Size))
	}
	return b
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return appendBytes(b, field, []byte(s))
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

package main

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sync"

	lock "vfsb/.vfsb"
	"vfsb/engine/load"
	"vfsb/packages"
	"vfsb/profiles"
	"vfsb/templates"
)

// carried is what this program carries, by the path that it has in a workspace.
var carried = sync.OnceValue(func() map[string][]byte {
	files := map[string][]byte{load.LockFile: lock.JSON}
	for folder, fsys := range map[string]embed.FS{"packages": packages.Files, "profiles": profiles.Files, "templates": templates.Files} {
		err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files[path.Join(folder, name)], err = fsys.ReadFile(name)
			return err
		})
		if err != nil {
			panic("BUG: " + err.Error()) // they lie in the program
		}
	}
	return files
})

// carriedDigest tells two sets of carried files apart.
var carriedDigest = sync.OnceValue(func() string {
	files := carried()
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(hash, "%s\x00%d\x00%s", name, len(files[name]), files[name])
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:8])
})

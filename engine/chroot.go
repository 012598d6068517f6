package engine

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"vfsb/engine/guard"
	"vfsb/engine/load"
	"vfsb/engine/sandbox"
)

// shells are the programs that a root file system is told by, and that are opened in it; the first that it has counts.
var shells = []string{"/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh", "/bin/busybox"}

// RootArch returns the architecture of the root file system in the folder dir, and its shell. Errors call it name.
func RootArch(dir, name string) (arch, shell string, err error) {
	for _, shell := range shells {
		arch, err := programArch(filepath.Join(dir, Inside(dir, shell)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", "", fmt.Errorf("%s in %s is no program of Linux: %w", shell, name, err)
		}
		return arch, shell, nil
	}
	return "", "", fmt.Errorf("%s has none of %s; name a root file system", name, strings.Join(shells, ", "))
}

func programArch(file string) (string, error) {
	if info, err := os.Stat(file); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", errors.New("it is no regular file")
	}
	f, err := elf.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	machine := guard.Machine{Machine: f.Machine, Class: f.Class, Data: f.Data}
	for arch, m := range guard.Machines {
		if m == machine {
			return arch, nil
		}
	}
	return "", fmt.Errorf("programs of %v are not known", machine)
}

// Inside is the path in the root file system dir to which the absolute path leads when dir is the root: links are
// followed, and lead nowhere out of it. What is not there stays as it is.
func Inside(dir, name string) string {
	const maxLinks = 40
	at, rest := "/", strings.Split(path.Clean(name), "/")
	for links := 0; len(rest) > 0; {
		at, rest = path.Join(at, rest[0]), rest[1:]
		target, err := os.Readlink(filepath.Join(dir, at))
		if err != nil || links == maxLinks || at == "/" { // dir may be a link, but is the root
			continue
		}
		links++
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(at), target)
		}
		at, rest = "/", slices.Concat(strings.Split(path.Clean(target), "/"), rest)
	}
	return at
}

// EmulatorOf builds what runs programs of the architecture on this machine, by the first platform that names something.
func (e *Engine) EmulatorOf(ctx context.Context, arch string, o Options) (*sandbox.Emulator, error) {
	for _, name := range slices.Sorted(maps.Keys(e.Workspace.Platforms)) {
		p := e.Workspace.Platforms[name]
		if p.Arch != arch || p.Emulator == nil {
			continue
		}
		config, err := load.NewResolver(e.Workspace, e.Exec).Resolve(p.Emulator.Label, p.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: the emulator of platform %q: %w", load.Pos(p.Range), p.Name, err)
		}
		g, diags := e.Analyze([]load.Config{config})
		if diags.HasErrors() {
			return nil, diags
		}
		var emulator *sandbox.Emulator
		err = anew(ctx, o, func() error {
			x, err := e.execution(g, o)
			if err != nil {
				return err
			}
			defer x.close()
			if err := x.buildAll(ctx); err != nil {
				return err
			}
			if err := x.present(ctx, g.Roots[0]); err != nil {
				return err
			}
			emulator, err = x.emulator(p, g.Roots[0])
			return err
		})
		return emulator, err
	}
	return nil, fmt.Errorf("no platform of this workspace has an emulator for %s programs; add one: emulator = { package = \"//qemu\", program = \"usr/bin/qemu-aarch64-static\" }", arch)
}

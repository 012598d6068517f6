package load

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// A Workspace is everything that a folder, and what it imports, declares.
type Workspace struct {
	Root      string   // absolute path of the workspace's own folder
	Folders   []Folder // that folder, then the imported ones; where they have the same file or package, the first counts
	Packages  map[string]*Package
	Profiles  map[string]*Profile
	Platforms map[string]*Platform // by name
	Kinds     map[string]*Kind     // rule kinds declared as data, by name
	Templates map[string][]byte    // template files by name: those of templates/ by base name, a package's as package/file

	Caches     []Cache  // remote caches, in the order in which they are asked
	Cluster    *Cluster // where actions are executed; nil: here
	Trust      []string // whose results of remote caches are believed; none: everyone's
	TrustRange hcl.Range

	files         map[string]*hcl.File // what was parsed, for snippets in diagnostics
	templateFiles map[string]string    // the files of Templates, as diagnostics name them
}

// A Package is one source, its patches and what is built from it.
type Package struct {
	Name, Dir                           string
	Folder                              Folder // in which Dir lies
	Summary, Version, License, Homepage string
	Profile                             string   // the one profile it belongs to; "": any
	Profiles                            []string // the profiles that it can be built in; empty: all
	Sources                             []*Source
	Patches                             []string // paths, in the order in which they are applied
	Targets                             []*Target
	Range                               hcl.Range
}

// A Source is a file (or tree) from outside, pinned by digest or commit.
type Source struct {
	Name     string
	URLs     []string // upstream, in order of preference
	SHA256   string   // of upstream's file; empty for git and file
	Filename string   // name below /build/sources
	Debian   *DebianSource
	Git      *GitSource
	File     string // path relative to the package's folder
	Range    hcl.Range
}

// DebianSource names the distribution's copy of a source.
type DebianSource struct {
	Suite, Source, File string
	SHA256              string // empty: the same as upstream's
}

// GitSource is a commit of a repository.
type GitSource struct {
	URL, Commit string
	Submodules  *bool // nil: not said
}

// A Target is one block of a package; the rule of its kind reads Body.
type Target struct {
	Package *Package
	Name    string // "" for the package's default target
	Kind    string
	Body    hcl.Body
	Range   hcl.Range // of the block's header
}

// Label is the target's label without stage and platform.
func (t *Target) Label() Label { return Label{Package: t.Package.Name, Target: t.Name} }

// A Profile is a way to build: a list of stages.
type Profile struct {
	Name, Summary string
	Home          string // the stage of targets that name none
	Stages        map[string]*Stage
	StageNames    []string          // in the order of declaration
	Exec          map[string]string // properties of a cluster's workers, besides those that every action asks for
	Range         hcl.Range
}

// A Stage says with which roots, tools and settings a target is built.
// Its attributes are expressions over the platform, evaluated by Workspace.Stage.
type Stage struct {
	Name, Summary     string
	Native            bool     // the root is the platform's own: its programs run the scripts, and deps lie in it
	Root, Tools, Deps []string // labels, resolved at the node's platform
	Vars              map[string]any
	Env               map[string]string
	Guard             *Guard // nil: what the stage makes is not checked
	Range             hcl.Range

	body hcl.Body
}

// A Guard says what the outputs of a stage are checked for: that they are the platform's alone.
type Guard struct {
	Compiler    string            // what the .comment section of compiled code says
	Interpreter string            // of the platform's programs
	LibraryPath []string          // absolute folders in which the platform's loader looks for libraries
	Libraries   []string          // labels of the stage's root whose libraries are the platform's
	Forbidden   map[string]string // absolute paths that exist only during a build, and what they are
	Range       hcl.Range
}

// A Platform is an architecture with a C library, in a profile.
type Platform struct {
	Name, Profile, Arch, Libc string
	Triplet                   string    // GNU triplet of what is built for it
	Machine                   string    // as uname -m says
	KernelArch                string    // ARCH= of linux
	Aliases                   []string  // other names of it
	Emulator                  *Emulator // runs its programs on other machines; nil: nothing does
	Vars                      map[string]any
	Range                     hcl.Range
}

// An Emulator is a program that runs a platform's programs on another machine.
type Emulator struct {
	Label   Label  // of the node whose layer holds it
	Program string // its path in that layer
}

// A Kind is a rule kind declared as data: a template and its attributes.
type Kind struct {
	Name, Summary, Template string
	Contract                int
	Attributes              []KindAttribute
	Range                   hcl.Range
}

// A KindAttribute is one attribute of a rule kind declared as data.
type KindAttribute struct {
	Name, Type, Summary string // Type: string, number, bool, list, map or script
	Default             cty.Value
	Range               hcl.Range
}

// Exec describes the machine that runs the scripts.
type Exec struct{ Arch, Triplet string }

// Runs reports whether the machine runs programs of arch itself. (Not every arm64 machine runs armv7's.)
func (e Exec) Runs(arch string) bool {
	return arch == e.Arch || e.Arch == "amd64" && arch == "i686"
}

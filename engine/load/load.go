package load

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"golang.org/x/sync/errgroup"
)

// Load reads the workspace at root and what it imports. ruleNames are the rule kinds
// that are written in Go; shipped is what vfsb carries. Every error that can be found is
// in the diagnostics; the workspace is whole only if they hold none.
func Load(root string, ruleNames []string, shipped Carried) (*Workspace, hcl.Diagnostics) {
	ws := &Workspace{
		Root: root, Packages: map[string]*Package{}, Profiles: map[string]*Profile{}, Platforms: map[string]*Platform{},
		Kinds: map[string]*Kind{}, Templates: map[string][]byte{}, files: map[string]*hcl.File{}, templateFiles: map[string]string{},
	}
	l := &loader{ws: ws, ruleNames: ruleNames, patches: map[string][]patchFolder{}}
	if l.folders(shipped); l.diags.HasErrors() {
		return ws, l.diags
	}
	if l.read(); l.diags.HasErrors() {
		return ws, l.diags
	}
	l.each("templates/", l.kindFile)
	l.each("profiles/", l.profileFile)
	l.each("packages/", l.packageFile)
	l.addPatches()
	l.check()
	return ws, l.diags
}

// PrintDiagnostics writes each diagnostic with its file, line and snippet.
func (ws *Workspace) PrintDiagnostics(w io.Writer, diags hcl.Diagnostics, width uint, color bool) error {
	sortDiagnostics(diags)
	return hcl.NewDiagnosticTextWriter(w, ws.files, width, color).WriteDiagnostics(diags)
}

func sortDiagnostics(diags hcl.Diagnostics) {
	sort.SliceStable(diags, func(i, j int) bool {
		a, b := diags[i].Subject, diags[j].Subject
		if a == nil || b == nil {
			return a != nil
		}
		if a.Filename != b.Filename {
			return a.Filename < b.Filename
		}
		return a.Start.Line < b.Start.Line
	})
}

// Files lists the HCL files of the workspace at root, relative to it and sorted.
func Files(root string) []string {
	var list []string
	for _, pattern := range []string{"templates/*.hcl", "profiles/*/*.hcl", "packages/*/package.hcl"} {
		names, _ := fs.Glob(os.DirFS(root), pattern)
		list = append(list, names...)
	}
	sort.Strings(list)
	return list
}

type loader struct {
	ws        *Workspace
	ruleNames []string
	files     []declFile               // the parsed files: those of a folder sorted, nearer folders last
	patches   map[string][]patchFolder // by package, the nearest last
	diags     hcl.Diagnostics
}

func (l *loader) errorf(r hcl.Range, format string, args ...any) {
	l.diags = append(l.diags, Errorf(r, format, args...))
}

// read parses every *.hcl file of the workspace, in parallel, and reads the templates.
func (l *loader) read() {
	var templates []declFile
	l.files, templates = l.list()
	files := make([]*hcl.File, len(l.files))
	diags := make([]hcl.Diagnostics, len(l.files))
	var group errgroup.Group
	group.SetLimit(8)
	for i, f := range l.files {
		group.Go(func() error {
			files[i], diags[i] = parse(f.Dir, f.name, f.file(f.name))
			return nil
		})
	}
	group.Wait()
	for i, f := range l.files {
		l.diags = append(l.diags, diags[i]...)
		if files[i] != nil {
			l.ws.files[f.file(f.name)] = files[i]
		}
	}
	for _, f := range templates {
		text, err := os.ReadFile(filepath.Join(f.Dir, f.name))
		if err != nil {
			l.diags = append(l.diags, unreadable(f.file(f.name), err))
			continue
		}
		name := templateName(f.name)
		l.ws.Templates[name], l.ws.templateFiles[name] = text, f.file(f.name)
	}
}

// templateName is how templates call the file: base name in templates/, package/file in packages/.
func templateName(path string) string {
	_, name, _ := strings.Cut(path, "/")
	return name
}

const (
	// maxFile bounds an HCL file: the parser's time grows with the square of the dollar signs in one heredoc.
	maxFile = 1 << 20
	// maxOperators bounds the brackets and operators of one file: what the parser and the evaluation recurse on. Go
	// cannot recover from a stack overflow, and 300,000 of some kinds make one; 10,000 of the worst take a second.
	// Scripts, as heredocs, do not count. What nests deeper than maxNesting is a mistake long before.
	maxOperators = 10_000
	maxNesting   = 200
)

// parse reads the file at dir/path, which diagnostics call name.
func parse(dir, path, name string) (*hcl.File, hcl.Diagnostics) {
	text, err := os.ReadFile(filepath.Join(dir, path))
	if err != nil {
		return nil, hcl.Diagnostics{unreadable(name, err)}
	}
	return parseText(name, text)
}

func unreadable(name string, err error) *hcl.Diagnostic {
	return Errorf(hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}, "%v; make it a file that can be read, or remove it", err)
}

func parseText(name string, text []byte) (*hcl.File, hcl.Diagnostics) {
	if len(text) > maxFile {
		return nil, hcl.Diagnostics{Errorf(hcl.Range{Filename: name, Start: hcl.InitialPos}, "%d bytes in one file, the limit is %d; put scripts into files of their own (NAME.sh.j2)", len(text), maxFile)}
	}
	text = rawHeredocs(text)
	if d := tooComplex(text, name); d != nil {
		return nil, hcl.Diagnostics{d}
	}
	file, diags := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	for _, d := range diags {
		if d.Detail == "" {
			d.Detail = "The file is not valid HCL."
		}
	}
	return file, diags
}

// tooComplex returns an error for a file that passes a limit. The lexer, which does not recurse, tells what is an operator
// and what is text; the bytes are counted first, because most files cannot come near.
func tooComplex(text []byte, name string) *hcl.Diagnostic {
	opening, operators := 0, 0
	for _, c := range text {
		switch c {
		case '(', '[', '{':
			opening++
		case '!', '?', ':', '+', '-', '*', '/', '%', '=', '<', '>', '&', '|':
			operators++
		}
	}
	if opening <= maxNesting && opening+operators <= maxOperators {
		return nil
	}
	tokens, _ := hclsyntax.LexConfig(text, name, hcl.InitialPos)
	depth, count := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit, hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit, hclsyntax.TokenOQuote,
			hclsyntax.TokenCQuote, hclsyntax.TokenOHeredoc, hclsyntax.TokenCHeredoc, hclsyntax.TokenComma, hclsyntax.TokenEqual,
			hclsyntax.TokenDot, hclsyntax.TokenComment, hclsyntax.TokenNewline, hclsyntax.TokenEOF:
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd:
			depth--
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOBrace, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
			count++
		default:
			count++
		}
		if depth > maxNesting {
			return Errorf(t.Range, "brackets are nested more than %d deep; simplify the expression", maxNesting)
		}
		if count > maxOperators {
			return Errorf(t.Range, "more than %d brackets and operators in one file; simplify its expressions, or split the package", maxOperators)
		}
	}
	return nil
}

var heredocStart = regexp.MustCompile(`^[^#"]*=\s*<<-?([A-Za-z_][A-Za-z0-9_-]*)\s*$`)

// rawHeredocs makes the text of every heredoc literal: scripts are full of ${…}
// and %{…}, which HCL would interpolate. Lines keep their numbers.
func rawHeredocs(text []byte) []byte {
	if !strings.Contains(string(text), "<<") {
		return text
	}
	lines := strings.SplitAfter(string(text), "\n")
	marker := ""
	for i, line := range lines {
		if marker == "" {
			if m := heredocStart.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil {
				marker = m[1]
			}
			continue
		}
		if strings.TrimSpace(line) == marker {
			marker = ""
			continue
		}
		line = strings.ReplaceAll(line, "${", "$${")
		lines[i] = strings.ReplaceAll(line, "%{", "%%{")
	}
	return []byte(strings.Join(lines, ""))
}

func (l *loader) each(prefix string, f func(file declFile, body hcl.Body)) {
	for _, file := range l.files {
		if strings.HasPrefix(file.name, prefix) {
			f(file, l.ws.files[file.file(file.name)].Body)
		}
	}
}

// blocks reads a file that holds nothing but blocks of the given types, one label each.
func (l *loader) blocks(body hcl.Body, types ...string) hcl.Blocks {
	schema := &hcl.BodySchema{}
	for _, t := range types {
		schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: t, LabelNames: []string{"name"}})
	}
	content, diags := body.Content(schema)
	l.diags = append(l.diags, diags...)
	return content.Blocks
}

// content reads a block's body with the named attributes and blocks.
func (l *loader) content(body hcl.Body, ctx *hcl.EvalContext, attributes []string, blocks ...hcl.BlockHeaderSchema) (*Attrs, hcl.Blocks) {
	schema := &hcl.BodySchema{Blocks: blocks}
	for _, name := range attributes {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
	}
	content, diags := body.Content(schema)
	l.diags = append(l.diags, diags...)
	return NewAttrs(content.Attributes, ctx), content.Blocks
}

func (l *loader) kindFile(_ declFile, body hcl.Body) {
	for _, b := range l.blocks(body, "rule") {
		k := &Kind{Name: b.Labels[0], Range: b.DefRange}
		a, blocks := l.content(b.Body, evalContext(nil), []string{"summary", "template", "contract"},
			hcl.BlockHeaderSchema{Type: "attribute", LabelNames: []string{"name"}})
		k.Summary, k.Template, k.Contract = a.String("summary"), a.String("template"), a.Int("contract")
		l.diags = append(l.diags, a.Diags...)
		if _, ok := l.ws.Templates[k.Template]; !ok && !a.Diags.HasErrors() {
			l.errorf(b.DefRange, "rule %q has no template %q; write templates/%s", k.Name, k.Template, k.Template)
		}
		if slices.Contains(l.ruleNames, k.Name) {
			l.errorf(b.DefRange, "rule %q is built in; choose another name", k.Name)
		}
		if old := l.ws.Kinds[k.Name]; old != nil {
			l.errorf(b.DefRange, "duplicate rule %q; it is declared at %s", k.Name, Pos(old.Range))
		}
		for _, ab := range blocks {
			l.kindAttribute(k, ab)
		}
		l.ws.Kinds[k.Name] = k
	}
}

func (l *loader) kindAttribute(k *Kind, b *hcl.Block) {
	a, _ := l.content(b.Body, evalContext(nil), []string{"type", "default", "summary"})
	attr := KindAttribute{Name: b.Labels[0], Type: a.String("type"), Summary: a.String("summary"), Range: b.DefRange}
	if a.Has("default") {
		attr.Default = a.Value("default")
	}
	l.diags = append(l.diags, a.Diags...)
	zero, ok := map[string]cty.Value{
		"string": cty.StringVal(""), "script": cty.StringVal(""), "number": cty.NumberIntVal(0), "bool": cty.False,
		"list": cty.EmptyTupleVal, "map": cty.EmptyObjectVal,
	}[attr.Type]
	if !ok {
		l.errorf(b.DefRange, "attribute %q of rule %q has type %q; types are string, number, bool, list, map and script", attr.Name, k.Name, attr.Type)
	}
	if attr.Default == cty.NilVal {
		attr.Default = zero
	}
	for _, other := range k.Attributes {
		if other.Name == attr.Name {
			l.errorf(b.DefRange, "duplicate attribute %q of rule %q; it is declared at %s", attr.Name, k.Name, Pos(other.Range))
		}
	}
	k.Attributes = append(k.Attributes, attr)
}

func (l *loader) profileFile(_ declFile, body hcl.Body) {
	for _, b := range l.blocks(body, "profile", "platform") {
		if b.Type == "platform" {
			l.platform(b)
		} else {
			l.profile(b)
		}
	}
}

func (l *loader) profile(b *hcl.Block) {
	p := &Profile{Name: b.Labels[0], Stages: map[string]*Stage{}, Range: b.DefRange}
	a, blocks := l.content(b.Body, evalContext(nil), []string{"summary", "home", "exec_properties"}, hcl.BlockHeaderSchema{Type: "stage", LabelNames: []string{"name"}})
	p.Summary, p.Home, p.Exec = a.String("summary"), a.String("home"), a.StringMap("exec_properties")
	l.diags = append(l.diags, a.Diags...)
	for _, sb := range blocks {
		s := &Stage{Name: sb.Labels[0], Range: sb.DefRange, body: sb.Body}
		if old := p.Stages[s.Name]; old != nil {
			l.errorf(sb.DefRange, "duplicate stage %q; it is declared at %s", s.Name, Pos(old.Range))
		}
		p.Stages[s.Name] = s
		p.StageNames = append(p.StageNames, s.Name)
	}
	if p.Stages[p.Home] == nil {
		l.errorf(b.DefRange, "profile %q has no stage %q; set home to one of %s", p.Name, p.Home, strings.Join(p.StageNames, ", "))
	}
	if old := l.ws.Profiles[p.Name]; old != nil {
		l.errorf(b.DefRange, "duplicate profile %q; it is declared at %s", p.Name, Pos(old.Range))
	}
	l.ws.Profiles[p.Name] = p
}

func (l *loader) platform(b *hcl.Block) {
	a, _ := l.content(b.Body, evalContext(nil), []string{"profile", "arch", "libc", "triplet", "machine", "kernel_arch", "aliases", "emulator", "vars"})
	p := &Platform{
		Name: b.Labels[0], Profile: a.String("profile"), Arch: a.String("arch"), Libc: a.String("libc"), Triplet: a.String("triplet"),
		Machine: a.String("machine"), KernelArch: a.String("kernel_arch"), Aliases: a.Strings("aliases"), Range: b.DefRange,
	}
	p.Vars, _ = a.Any("vars").(map[string]any)
	for _, name := range []string{"name", "arch", "libc", "triplet", "machine", "kernel_arch", "emulated"} {
		if _, taken := p.Vars[name]; taken {
			a.Errorf("vars", "vars of platform %q hold %s, which every platform has; choose another name", p.Name, name)
		}
	}
	if a.Has("emulator") {
		p.Emulator = emulator(a)
	}
	l.diags = append(l.diags, a.Diags...)
	for _, name := range []string{"profile", "arch", "triplet"} {
		if !a.Has(name) {
			l.errorf(b.DefRange, "platform %q lacks %s; add it", p.Name, name)
		}
	}
	if old := l.ws.Platforms[p.Name]; old != nil {
		l.errorf(b.DefRange, "duplicate platform %q; it is declared at %s", p.Name, Pos(old.Range))
	}
	l.ws.Platforms[p.Name] = p
}

// emulator reads emulator = { package = LABEL, program = PATH }.
func emulator(a *Attrs) *Emulator {
	fields := a.StringMap("emulator")
	label, err := ParseLabel(fields["package"])
	program := path.Clean(strings.TrimPrefix(fields["program"], "/"))
	if err != nil || len(fields) != 2 || !filepath.IsLocal(program) {
		a.Errorf("emulator", "emulator is not understood; write emulator = { package = \"//qemu\", program = \"usr/bin/qemu-aarch64-static\" }")
	}
	return &Emulator{Label: label, Program: program}
}

func (l *loader) packageFile(f declFile, body hcl.Body) {
	folder := path.Base(path.Dir(f.name))
	blocks := l.blocks(body, "package")
	if len(blocks) == 0 {
		l.errorf(hcl.Range{Filename: f.file(f.name), Start: hcl.InitialPos, End: hcl.InitialPos}, "no package is declared here; write package %q { … }, or remove the file", folder)
	}
	for _, b := range blocks {
		if b.Labels[0] != folder {
			l.errorf(b.DefRange, "package %q lies in the folder packages/%s; name both alike", b.Labels[0], folder)
			continue
		}
		if old := l.ws.Packages[folder]; old != nil {
			l.errorf(b.DefRange, "duplicate package %q; it is declared at %s", folder, Pos(old.Range))
			continue
		}
		l.ws.Packages[folder] = l.pkg(f.Folder, path.Dir(f.name), b)
	}
}

func (l *loader) pkg(f Folder, dir string, b *hcl.Block) *Package {
	p := &Package{Name: b.Labels[0], Folder: f, Dir: filepath.Join(f.Dir, dir), Range: b.DefRange}
	kinds := append(slices.Clone(l.ruleNames), keys(l.ws.Kinds)...)
	// Headers differ in their labels (none or one), which a schema cannot say: the
	// syntax tree is asked instead, and the schema only reports unknown names.
	schema := &hcl.BodySchema{}
	for _, name := range []string{"summary", "version", "license", "homepage", "profile", "profiles", "patches"} {
		schema.Attributes = append(schema.Attributes, hcl.AttributeSchema{Name: name})
	}
	native := b.Body.(*hclsyntax.Body)
	for _, block := range native.Blocks {
		if block.Type != "source" && !slices.Contains(kinds, block.Type) {
			imports := ""
			if len(l.ws.Kinds) == 0 {
				imports = "; to have more, write import = [\"shipped\"] into the workspace block of vfsb.hcl"
			}
			l.errorf(block.DefRange(), "unknown rule kind %q%s; kinds are %s%s", block.Type, strings.Replace(Suggest(block.Type, kinds), ";", ",", 1), strings.Join(sorted(kinds), ", "), imports)
		}
	}
	attributesOnly := &hclsyntax.Body{Attributes: native.Attributes, SrcRange: native.SrcRange, EndRange: native.EndRange}
	content, diags := attributesOnly.Content(schema)
	l.diags = append(l.diags, diags...)

	a := NewAttrs(content.Attributes, evalContext(map[string]any{"name": p.Name}))
	p.Summary, p.Version, p.License, p.Homepage = a.String("summary"), a.String("version"), a.String("license"), a.String("homepage")
	p.Profile, p.Profiles = a.String("profile"), a.Strings("profiles")
	for _, pattern := range a.Strings("patches") {
		p.Patches = append(p.Patches, l.glob(p, pattern, a.Range("patches"))...)
	}
	l.diags = append(l.diags, a.Diags...)

	ctx := evalContext(map[string]any{"name": p.Name, "version": p.Version})
	targets := map[string]*Target{}
	for _, block := range native.Blocks {
		header := block.DefRange()
		label := ""
		switch len(block.Labels) {
		case 0:
		case 1:
			label = block.Labels[0]
			if !isName(label) {
				l.errorf(header, "%q is not a name; use letters, digits, . + - and _", label)
			}
		default:
			l.errorf(header, "%s has %d labels; at most one, its name, is wanted", block.Type, len(block.Labels))
			continue
		}
		if block.Type == "source" {
			l.source(p, label, block.Body, header, ctx)
			continue
		}
		t := &Target{Package: p, Name: label, Kind: block.Type, Body: block.Body, Range: header}
		if old := targets[label]; old != nil {
			l.errorf(header, "duplicate target %s; it is declared at %s, so give one of them another name", t.Label(), Pos(old.Range))
			continue
		}
		targets[label] = t
		p.Targets = append(p.Targets, t)
	}
	return p
}

func (l *loader) glob(p *Package, pattern string, r hcl.Range) []string {
	if !filepath.IsLocal(pattern) {
		l.errorf(r, "%q leads out of the package's folder; patches lie beside package.hcl", pattern)
		return nil
	}
	names, err := fs.Glob(os.DirFS(p.Dir), pattern)
	if err != nil || (len(names) == 0 && !strings.ContainsAny(pattern, "*?[")) {
		l.errorf(r, "no file %q in %s; add it, or remove the name", pattern, p.Name)
	}
	for i, name := range names {
		names[i] = filepath.Join(p.Dir, name)
	}
	return names
}

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)
var hexCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

func (l *loader) source(p *Package, label string, body hcl.Body, header hcl.Range, ctx *hcl.EvalContext) {
	a, _ := l.content(body, ctx, []string{"url", "urls", "sha256", "debian", "git", "commit", "submodules", "file", "filename"})
	s := &Source{Name: label, Filename: a.String("filename"), SHA256: a.String("sha256"), URLs: a.Strings("urls"), File: a.String("file"), Range: header}
	if s.Name == "" {
		s.Name = p.Name
	}
	if a.Has("url") {
		s.URLs = append([]string{a.String("url")}, s.URLs...)
	}
	for _, u := range s.URLs {
		if parsed, err := url.Parse(u); err != nil || parsed.Scheme == "" {
			a.Errorf("url", "%q is not a URL", u)
		} else if s.Filename == "" {
			s.Filename = path.Base(parsed.Path)
		}
	}
	if a.Has("debian") {
		s.Debian = l.debian(a)
	}
	if a.Has("git") {
		s.Git = &GitSource{URL: a.String("git"), Commit: a.String("commit")}
		if a.Has("submodules") {
			s.Git.Submodules = new(a.Bool("submodules"))
		}
		if !hexCommit.MatchString(s.Git.Commit) {
			l.errorf(header, "source %q: commit is %q; pin a git source by its full 40-digit commit", s.Name, s.Git.Commit)
		}
	}
	if a.Has("submodules") && s.Git == nil {
		a.Errorf("submodules", "submodules are a git source's; give git and commit, or leave it out")
	}
	if s.File != "" {
		if !filepath.IsLocal(s.File) {
			a.Errorf("file", "%q leads out of the package's folder; file sources lie beside package.hcl", s.File)
		} else if _, err := os.Stat(filepath.Join(p.Dir, s.File)); errors.Is(err, fs.ErrNotExist) {
			l.errorf(a.Range("file"), "source %q: no file %q beside package.hcl; add it", s.Name, s.File)
		}
		if s.Filename == "" {
			s.Filename = path.Base(s.File)
		}
	}
	l.diags = append(l.diags, a.Diags...)
	switch {
	case s.Git == nil && s.File == "" && len(s.URLs) == 0 && s.Debian == nil:
		l.errorf(header, "source %q has no origin; give url, git, file or debian", s.Name)
	case len(s.URLs) > 0 && s.SHA256 == "":
		l.errorf(header, "source %q has no sha256; add the digest that upstream publishes: sha256 = \"…\"", s.Name)
	case s.Debian != nil && s.SHA256 == "" && s.Debian.SHA256 == "":
		l.errorf(header, "source %q has no sha256; add it to the debian origin", s.Name)
	}
	if s.SHA256 != "" && !hexDigest.MatchString(s.SHA256) {
		l.errorf(a.Range("sha256"), "source %q: sha256 is not 64 lower-case hex digits; correct it", s.Name)
	}
	for _, old := range p.Sources {
		if old.Name == s.Name {
			l.errorf(header, "duplicate source %q; it is declared at %s", s.Name, Pos(old.Range))
		}
	}
	p.Sources = append(p.Sources, s)
}

func (l *loader) debian(a *Attrs) *DebianSource {
	d := &DebianSource{}
	fields := map[string]*string{"suite": &d.Suite, "source": &d.Source, "file": &d.File, "sha256": &d.SHA256}
	for name, value := range a.StringMap("debian") {
		field := fields[name]
		if field == nil {
			a.Errorf("debian", "debian has no attribute %q%s; attributes are suite, source, file and sha256", name, strings.Replace(Suggest(name, keys(fields)), ";", ",", 1))
			continue
		}
		*field = value
	}
	if d.SHA256 != "" && !hexDigest.MatchString(d.SHA256) {
		a.Errorf("debian", "debian.sha256 is not 64 lower-case hex digits; correct it")
	}
	if d.Suite == "" || d.Source == "" {
		a.Errorf("debian", "debian lacks suite or source; write debian = { suite = \"trixie\", source = \"zlib\" }")
	}
	return d
}

// check looks at what names other declarations.
func (l *loader) check() {
	ws := l.ws
	for _, name := range sorted(keys(ws.Platforms)) {
		if p := ws.Platforms[name]; ws.Profiles[p.Profile] == nil {
			l.errorf(p.Range, "platform %q is of the unknown profile %q; profiles are %s", name, p.Profile, strings.Join(sorted(keys(ws.Profiles)), ", "))
		}
	}
	folded := map[string]*Package{}
	for _, name := range sorted(keys(ws.Packages)) {
		p := ws.Packages[name]
		if other := folded[strings.ToLower(name)]; other != nil {
			if p.Folder.Import != "" {
				p, other = other, p
			}
			l.errorf(p.Range, "package %q differs from %q at %s in case only; give it another name, or the very same one to take the other's place", p.Name, other.Name, Pos(other.Range))
		}
		folded[strings.ToLower(name)] = p
		for _, profile := range append([]string{p.Profile}, p.Profiles...) {
			if profile != "" && ws.Profiles[profile] == nil {
				l.errorf(p.Range, "package %q is of the unknown profile %q; profiles are %s", name, profile, strings.Join(sorted(keys(ws.Profiles)), ", "))
			}
		}
	}
}

// Pos is "file:line" of a range.
func Pos(r hcl.Range) string { return fmt.Sprintf("%s:%d", r.Filename, r.Start.Line) }

func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	sort.Strings(list)
	return list
}

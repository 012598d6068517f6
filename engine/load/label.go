// Package load reads a workspace: packages, profiles, platforms, rule kinds and
// templates, written in HCL, into declarations that point back to file and line.
// It resolves labels. It does not know what a rule does with its attributes.
package load

import (
	"fmt"
	"strings"
)

// A Label names a node: //package[/target][@stage][:platform]. A Label with
// empty Stage or Platform is not resolved yet: the stage defaults to the target's
// home stage, the platform to the machine's own. Target is empty for the
// package's default target.
type Label struct {
	Package, Target, Stage, Platform string
}

// String is the label in its canonical spelling; ParseLabel reads it back.
func (l Label) String() string {
	s := "//" + l.Package
	if l.Target != "" {
		s += "/" + l.Target
	}
	if l.Stage != "" {
		s += "@" + l.Stage
	}
	if l.Platform != "" {
		s += ":" + l.Platform
	}
	return s
}

// ParseLabel reads one label. The error says which part is wrong and what it may hold.
func ParseLabel(s string) (Label, error) {
	p, err := ParsePattern(s)
	if err != nil {
		return Label{}, err
	}
	if p.Recursive {
		return Label{}, fmt.Errorf("%q is a pattern; a label is wanted here, such as //zlib", s)
	}
	l := p.Label
	switch len(p.Platforms) {
	case 0:
	case 1:
		l.Platform = p.Platforms[0]
	default:
		return Label{}, fmt.Errorf("%q names several platforms; one is wanted here", s)
	}
	return l, nil
}

// A Pattern names any number of nodes: //..., //gcc/..., //stage1:{arm64,riscv64}.
type Pattern struct {
	Label     Label    // Platform is empty
	Recursive bool     // the label ended in "...": all targets of Package, or of all packages
	Platforms []string // none: the machine's own
}

// ParsePattern reads a label or a pattern.
func ParsePattern(s string) (Pattern, error) {
	var p Pattern
	rest, ok := strings.CutPrefix(s, "//")
	if !ok {
		return p, fmt.Errorf("%q is not a label: labels start with //, such as //zlib or //gcc/cross:amd64-musl", s)
	}
	rest, platforms, hasPlatform := strings.Cut(rest, ":")
	if hasPlatform {
		list := []string{platforms}
		if inner, ok := strings.CutPrefix(platforms, "{"); ok {
			inner, ok = strings.CutSuffix(inner, "}")
			if !ok {
				return p, fmt.Errorf("%q: a list of platforms ends in }", s)
			}
			list = strings.Split(inner, ",")
		}
		for _, name := range list {
			if !isName(name) {
				return p, fmt.Errorf("%q: %q is not a platform's name (letters, digits, - and _)", s, name)
			}
		}
		p.Platforms = list
	}
	rest, stage, hasStage := strings.Cut(rest, "@")
	if hasStage {
		if !isName(stage) {
			return p, fmt.Errorf("%q: %q is not a stage's name", s, stage)
		}
		p.Label.Stage = stage
	}
	if rest == "..." {
		p.Recursive = true
		return p, nil
	}
	pkg, target, hasTarget := strings.Cut(rest, "/")
	if hasTarget && target == "..." {
		p.Recursive = true
		target, hasTarget = "", false
	}
	if !isName(pkg) {
		return p, fmt.Errorf("%q: %q is not a package's name (letters, digits, . + - and _)", s, pkg)
	}
	if hasTarget && !isName(target) {
		return p, fmt.Errorf("%q: %q is not a target's name (letters, digits, . + - and _)", s, target)
	}
	p.Label.Package, p.Label.Target = pkg, target
	return p, nil
}

// isName reports whether s can name a package, target, stage or platform.
func isName(s string) bool {
	if s == "" || s[0] == '.' || s[0] == '-' || s[0] == '+' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_', c == '+':
		default:
			return false
		}
	}
	return true
}

// Suggest returns `; did you mean "x"?` for the candidate nearest to got, or "".
func Suggest(got string, candidates []string) string {
	best, bestDistance := "", 3
	for _, c := range candidates {
		if d := distance(got, c); d < bestDistance && d < len(got) {
			best, bestDistance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the Levenshtein distance of a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

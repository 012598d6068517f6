package load

import (
	"bytes"
	"fmt"
	"path"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// AddPatch returns the text of a package's file name, edited so that its attribute patches covers a new file. others
// are the patch files beside the package that it does not name. The text comes back as it is if a glob covers file
// already. What is not new stays as it was written.
func AddPatch(name string, text []byte, pkg, file string, others []string) ([]byte, error) {
	body, err := packageBody(name, text, pkg)
	if err != nil {
		return nil, err
	}
	var edited []byte
	switch attr := body.Attributes["patches"]; {
	case attr == nil:
		pattern := "patches/*.patch"
		if ok, _ := path.Match(pattern, file); !ok || len(others) > 0 { // the glob would take them in, too
			pattern = file
		}
		edited = insertLine(text, lineFor(body), fmt.Sprintf("  patches = [%q]\n", pattern))
	case covers(attr.Expr, file):
		return text, nil
	default:
		list, ok := attr.Expr.(*hclsyntax.TupleConsExpr)
		if !ok {
			return nil, fmt.Errorf("%s: patches is no plain list; add %q to it", Pos(attr.Expr.Range()), file)
		}
		edited = appendTo(text, list, file)
	}
	now, err := packageBody(name, edited, pkg)
	if err != nil || now.Attributes["patches"] == nil || !covers(now.Attributes["patches"].Expr, file) {
		return nil, fmt.Errorf("%s: no place for a line was found; add patches = [%q] to package %q", name, file, pkg)
	}
	return edited, nil
}

func packageBody(name string, text []byte, pkg string) (*hclsyntax.Body, error) {
	parsed, diags := parseText(name, text)
	if diags.HasErrors() {
		return nil, diags
	}
	for _, b := range parsed.Body.(*hclsyntax.Body).Blocks {
		if b.Type == "package" && len(b.Labels) == 1 && b.Labels[0] == pkg {
			return b.Body, nil
		}
	}
	return nil, fmt.Errorf("%s: package %q is not declared here", name, pkg)
}

// covers reports whether one of the globs in the list matches file.
func covers(list hcl.Expression, file string) bool {
	v, diags := list.Value(evalContext(nil))
	if diags.HasErrors() || v.IsNull() || !v.CanIterateElements() {
		return false
	}
	for it := v.ElementIterator(); it.Next(); {
		_, glob := it.Element()
		if glob.Type() == cty.String && glob.IsKnown() && !glob.IsNull() {
			if ok, _ := path.Match(glob.AsString(), file); ok {
				return true
			}
		}
	}
	return false
}

// lineFor is the number of the line after which an attribute is added: that of the last source, else of the last
// attribute, else of the header.
func lineFor(body *hclsyntax.Body) int {
	line := body.SrcRange.Start.Line
	for _, a := range body.Attributes {
		line = max(line, a.SrcRange.End.Line)
	}
	for _, b := range body.Blocks {
		if b.Type == "source" {
			line = max(line, b.CloseBraceRange.Start.Line)
		}
	}
	return line
}

// insertLine inserts a line after line number n.
func insertLine(text []byte, n int, line string) []byte {
	lines := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join([][]byte{bytes.Join(lines[:n], nil), []byte(line), bytes.Join(lines[n:], nil)}, nil)
}

// appendTo adds a name to a list. What the parser saw differs from text within heredocs only: lines have the same
// numbers, and this one the same bytes.
func appendTo(text []byte, list *hclsyntax.TupleConsExpr, name string) []byte {
	at, what := list.OpenRange.End, fmt.Sprintf("%q", name)
	if n := len(list.Exprs); n > 0 {
		at, what = list.Exprs[n-1].Range().End, ", "+what
	}
	seen := rawHeredocs(text)
	column := at.Byte - (bytes.LastIndexByte(seen[:at.Byte], '\n') + 1)
	lines := bytes.SplitAfter(text, []byte("\n"))
	line := lines[at.Line-1]
	lines[at.Line-1] = bytes.Join([][]byte{line[:column], []byte(what), line[column:]}, nil)
	return bytes.Join(lines, nil)
}
